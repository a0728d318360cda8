"""Batched weighted DLT and its refinement in torch: differentiable, on the CPU or a GPU."""

from __future__ import annotations

import torch

from calibration.projection import Lenses, project_with_jacobian, undistort
from mocap.triangulation.consistency import pair_mean, view_pairs

# Metres: view pairs that agree better than this agree by chance.
_LEAST_SPREAD = 1e-3


def weighted_dlt(lenses: Lenses, keypoints: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted linear triangulation on undistorted rays.

    Parameters
    ----------
    lenses : Lenses
        Torch arrays of the V cameras.
    keypoints : float [V, ..., 2]
        Raw image coordinates, px; NaN where not seen.
    weights : float [V, ...]
        Weight of each observation's two equations; 0 where not seen.

    Returns
    -------
    float [..., 3]
        World points, metres; NaN where fewer than two views count or the rays are parallel.

    Notes
    -----
    Hartley & Zisserman 12.2, inhomogeneous form: each view gives u (r3 x + t3) - (r1 x + t1) = 0
    and its like in v; the 3x3 normal equations are solved in closed form, which (unlike an SVD) has
    a gradient everywhere and runs as one batch. The equations of a ray are scaled by
    1 / sqrt(1 + u^2 + v^2), so that they measure distance from the ray.
    """
    xy = undistort(lenses, keypoints)
    V = keypoints.shape[0]
    flat, w = xy.reshape(V, -1, 2), weights.reshape(V, -1)
    seen = torch.isfinite(flat).all(-1) & (w > 0)
    flat = torch.where(seen[..., None], flat, torch.zeros_like(flat))
    w = torch.where(seen, w, torch.zeros_like(w)) / (1 + flat.square().sum(-1))
    R, t = lenses.R[:, None], lenses.t[:, None]
    rows = flat[..., None] * R[:, :, 2:3] - R[:, :, :2]  # [V, N, 2, 3]
    right = t[..., :2] - flat * t[..., 2:3]  # [V, N, 2]
    H = torch.einsum("vn,vnij,vnik->njk", w, rows, rows)
    g = torch.einsum("vn,vnij,vni->nj", w, rows, right)
    points, solvable = solve3(H, g)
    solvable = solvable & (seen.sum(0) >= 2)
    points = torch.where(solvable[:, None], points, torch.full_like(points, float("nan")))
    return points.reshape(*keypoints.shape[1:-1], 3)


def refine(
    lenses: Lenses,
    keypoints: torch.Tensor,
    weights: torch.Tensor,
    points: torch.Tensor,
    steps: int = 3,
    consistency: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gauss-Newton on the reprojection error with the full lens model.

    Parameters
    ----------
    lenses, keypoints : as in `weighted_dlt`
    weights : float [V, ...]
        Inverse variance of each observation, px^-2; 0 where not seen.
    points : float [..., 3]
        Start, world, metres.
    steps : int
    consistency : float
        Weight of the multi-view consistency term: the result is drawn to the mean of what the view
        pairs say on their own, with this many times the precision that their spread shows. Off by
        default, as it does not help: view pairs hold nothing that the reprojection error does not weigh
        better. Errors on the geometry benchmark (tests/benchmarks/geometry.py) are 5.01 / 16.53 / 46.39 mm
        without it, the same with weight 0.1, and 5.01 / 16.55 / 46.44 mm with weight 1.

    Returns
    -------
    points : float [..., 3], metres
    covariance : float [..., 3, 3], m2
        (sum of J^T W J)^-1 at the result; the consistency term, made of the same pixels, adds no certainty.
    """
    V = keypoints.shape[0]
    pixels, w = keypoints.reshape(V, -1, 2), weights.reshape(V, -1)
    x = points.reshape(-1, 3)
    pull, precision = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    if consistency > 0:
        pull, square = pair_mean(view_pairs(lenses, pixels, w))
        precision = (consistency / square.clamp(min=_LEAST_SPREAD**2))[:, None]
        precision = torch.where(square[:, None] > 0, precision, torch.zeros_like(precision))
    eye = torch.eye(3, dtype=x.dtype, device=x.device)
    for _ in range(steps):
        H, g = _normal_equations(lenses, pixels, w, x)
        step, _ = solve3(H + precision[..., None] * eye, g + precision * (x - pull))
        x = x - step
    H, _ = _normal_equations(lenses, pixels, w, x)
    covariance, solvable = inverse3(H)
    bad = torch.full_like(x, float("nan"))
    x = torch.where(solvable[:, None], x, bad)
    covariance = torch.where(solvable[:, None, None], covariance, bad[..., None])
    return x.reshape(points.shape), covariance.reshape(*points.shape, 3)


def _normal_equations(
    lenses: Lenses, pixels: torch.Tensor, w: torch.Tensor, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    projected, J = project_with_jacobian(lenses, x)
    r = projected - pixels
    live = (w > 0) & torch.isfinite(r).all(-1)
    r = torch.where(live[..., None], r, torch.zeros_like(r))
    J = torch.where(live[..., None, None], J, torch.zeros_like(J))
    w = torch.where(live, w, torch.zeros_like(w))
    return torch.einsum("vn,vnij,vnik->njk", w, J, J), torch.einsum("vn,vnij,vni->nj", w, J, r)


def inverse3(H: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse of symmetric matrices [N, 3, 3] in closed form, and bool [N] where it exists."""
    a, b, c, d, e, f = H[:, 0, 0], H[:, 0, 1], H[:, 0, 2], H[:, 1, 1], H[:, 1, 2], H[:, 2, 2]
    m00, m01, m02 = d * f - e * e, c * e - b * f, b * e - c * d
    m11, m12, m22 = a * f - c * c, b * c - a * e, a * d - b * b
    det = a * m00 + b * m01 + c * m02
    solvable = det > 1e-12 * (a + d + f) ** 3
    det = torch.where(solvable, det, torch.ones_like(det))
    rows = [torch.stack(r, -1) for r in ((m00, m01, m02), (m01, m11, m12), (m02, m12, m22))]
    return torch.stack(rows, -2) / det[:, None, None], solvable


def solve3(H: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Solution [N, 3] of symmetric systems H x = g, and bool [N] where it exists (else 0)."""
    inverse, solvable = inverse3(H)
    x = torch.einsum("nij,nj->ni", inverse, g)
    return torch.where(solvable[:, None], x, torch.zeros_like(x)), solvable
