"""How far the 3D points that different views give are apart: a score per joint and a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from calibration.projection import Lenses

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@njit(cache=True, error_model="numpy", nogil=True)
def pair_spread(
    centres: Array,
    d: Array,
    used: Bools,
    limit: int,
    spread: Array,
) -> None:
    """Spread of the points that single view pairs give, for N joints.

    Parameters
    ----------
    centres : float64 [V, 3]
        Camera centres, metres.
    d : float64 [N, V, 3]
        Unit ray directions.
    used : bool [N, V]
    limit : int
        At most this many used views per joint are paired (in order).
    spread : float64 [N]
        Result, metres; NaN with fewer than two used views.

    Notes
    -----
    The same number as `consistency_loss` takes the mean of: over all pairs, the root of the
    variance of the two nearest points of the two rays, weighted by sin^2 of the angle between
    them (a nearly parallel pair says little about depth).
    """
    V = centres.shape[0]
    points, weights, chosen = np.empty((limit * limit, 3)), np.empty(limit * limit), np.empty(V, np.int64)
    for n in range(d.shape[0]):
        m, pairs, total, gaps = 0, 0, 0.0, 0.0
        x = y = z = 0.0
        for v in range(V):
            if used[n, v] and m < limit:
                chosen[m] = v
                m += 1
        for i in range(m):
            for k in range(i):
                sin2, gap = _pair_point(centres, d, n, chosen[i], chosen[k], points, pairs)
                if sin2 < 1e-8:
                    continue
                x, y, z = x + sin2 * points[pairs, 0], y + sin2 * points[pairs, 1], z + sin2 * points[pairs, 2]
                weights[pairs] = sin2
                total += sin2
                gaps += sin2 * gap
                pairs += 1
        if pairs == 0:
            spread[n] = np.nan
            continue
        x, y, z = x / total, y / total, z / total
        for k in range(pairs):
            away = (points[k, 0] - x) ** 2 + (points[k, 1] - y) ** 2 + (points[k, 2] - z) ** 2
            gaps += weights[k] * away
        spread[n] = np.sqrt(gaps / total)


@njit(cache=True, error_model="numpy", inline="always")
def _pair_point(
    centres: Array, d: Array, n: int, a: int, b: int, points: Array, row: int
) -> tuple[float, float]:  # fmt: skip
    """The point of rays a and b of joint n, into points[row]: sin^2 of their angle, a quarter of their distance^2."""
    p, q, r = centres[b, 0] - centres[a, 0], centres[b, 1] - centres[a, 1], centres[b, 2] - centres[a, 2]
    cosine = d[n, a, 0] * d[n, b, 0] + d[n, a, 1] * d[n, b, 1] + d[n, a, 2] * d[n, b, 2]
    along_a = d[n, a, 0] * p + d[n, a, 1] * q + d[n, a, 2] * r
    along_b = d[n, b, 0] * p + d[n, b, 1] * q + d[n, b, 2] * r
    sin2 = 1.0 - cosine * cosine
    s, t = (along_a - cosine * along_b) / sin2, (cosine * along_a - along_b) / sin2
    gap = 0.0
    for i in range(3):
        pa, pb = centres[a, i] + s * d[n, a, i], centres[b, i] + t * d[n, b, i]
        points[row, i] = 0.5 * (pa + pb)
        gap += 0.25 * (pa - pb) ** 2
    return sin2, gap


def consistency_loss(
    lenses: Lenses, keypoints: torch.Tensor, confidence: torch.Tensor, *, smoothing: float = 1e-6
) -> torch.Tensor:
    """Multi-view consistency loss: mean distance between the 3D estimates that view pairs give.

    Parameters
    ----------
    lenses : Lenses
        Torch arrays of the V cameras.
    keypoints : float [V, ..., 2]
        Raw image coordinates of the same joints in every view, px; NaN where not seen.
    confidence : float [V, ...]
        Weight of each observation; 0 where not seen. A pair weighs the product of its two times
        sin^2 of the angle between its rays.
    smoothing : float
        Metres under the square root, so that the gradient exists at perfect agreement.

    Returns
    -------
    Scalar tensor, metres. Zero if no joint is seen by two views.

    Notes
    -----
    What it is: for each joint the root of the weighted variance of the nearest points of all ray
    pairs about their mean, averaged over joints; differentiable with respect to keypoints,
    confidence and the cameras. It needs no 3D truth, so it can train a detector or calibrate its
    confidence (weights of views that disagree fall).

    What it is not: a measure of accuracy. It is zero for any set of points that agree, so an error
    all views share (a joint placed too deep in the body, a whole skeleton mirrored in every view,
    a wrong scale of the rig) does not show, and weights that go to zero make it vanish: a user who
    trains confidences with it must normalise or anchor them. It weighs metres, not pixels, so far
    cameras count more than a likelihood would let them.
    """
    import torch

    pairs = view_pairs(lenses, keypoints, confidence)
    _, square = pair_mean(pairs)
    live = pairs.weight.sum(0) > 0
    spread = torch.sqrt(square + smoothing**2)
    return torch.where(live, spread, torch.zeros_like(spread)).sum() / live.sum().clamp(min=1)


@dataclass(frozen=True, eq=False)
class ViewPairs:
    """What every pair of V views says of N joints by itself; Q = V (V - 1) / 2 pairs, torch tensors.

    Attributes
    ----------
    views : int [2, Q]
    points : float [2, Q, N, 3]
        The nearest points of the two rays, world, metres; each is its own view's estimate.
    depth : float [2, Q, N]
        Their distance from the two cameras, metres.
    weight : float [Q, N]
        Product of the confidences times sin^2 of the angle between the rays; 0 where the pair says nothing.
    """

    views: torch.Tensor
    points: torch.Tensor
    depth: torch.Tensor
    weight: torch.Tensor


def view_pairs(lenses: Lenses, keypoints: torch.Tensor, confidence: torch.Tensor) -> ViewPairs:
    """The 3D estimates of all view pairs; parameters as of `consistency_loss`, joints flattened."""
    import torch

    from calibration.projection import rays

    seen = torch.isfinite(keypoints).all(-1) & (confidence > 0)
    clean = torch.where(seen[..., None], keypoints, torch.zeros_like(keypoints))
    origin, direction = rays(lenses, clean)
    seen = seen & torch.isfinite(direction).all(-1)
    V = keypoints.shape[0]
    direction = torch.where(seen[..., None], direction, torch.zeros_like(direction)).reshape(V, -1, 3)
    weight = torch.where(seen, confidence, torch.zeros_like(confidence)).reshape(V, -1)
    a, b = torch.triu_indices(V, V, 1, device=keypoints.device)
    da, db = direction[a], direction[b]
    base = (origin[b] - origin[a])[:, None]
    cosine, along_a, along_b = (da * db).sum(-1), (da * base).sum(-1), (db * base).sum(-1)
    sin2 = 1 - cosine * cosine
    w = weight[a] * weight[b] * sin2
    solvable = (w > 0) & (sin2 > 1e-8)
    safe = torch.where(solvable, sin2, torch.ones_like(sin2))
    depth = torch.stack([(along_a - cosine * along_b) / safe, (cosine * along_a - along_b) / safe])
    points = torch.stack([origin[a][:, None] + depth[0, ..., None] * da, origin[b][:, None] + depth[1, ..., None] * db])
    return ViewPairs(torch.stack([a, b]), points, depth, torch.where(solvable, w, torch.zeros_like(w)))


def pair_mean(pairs: ViewPairs) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean [N, 3] m of the pairs' points, and their mean square distance from it [N] m2."""
    import torch

    total = pairs.weight.sum(0)
    share = pairs.weight / torch.where(total > 0, total, torch.ones_like(total))
    middle = pairs.points.mean(0)
    mean = (share[..., None] * middle).sum(0)
    squares = (middle - mean).square().sum(-1) + (pairs.points[0] - pairs.points[1]).square().sum(-1) / 4
    return mean, (share * squares).sum(0)
