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
    mean = np.empty(3)
    for n in range(d.shape[0]):
        m, pairs, total, gaps = 0, 0, 0.0, 0.0
        mean[:] = 0.0
        for v in range(V):
            if used[n, v] and m < limit:
                chosen[m] = v
                m += 1
        for i in range(m):
            for k in range(i):
                a, b = chosen[i], chosen[k]
                cosine, along_a, along_b = 0.0, 0.0, 0.0
                for x in range(3):
                    cosine += d[n, a, x] * d[n, b, x]
                    along_a += d[n, a, x] * (centres[b, x] - centres[a, x])
                    along_b += d[n, b, x] * (centres[b, x] - centres[a, x])
                sin2 = 1.0 - cosine * cosine
                if sin2 < 1e-8:
                    continue
                s, q = (along_a - cosine * along_b) / sin2, (cosine * along_a - along_b) / sin2
                gap = 0.0
                for x in range(3):
                    pa, pb = centres[a, x] + s * d[n, a, x], centres[b, x] + q * d[n, b, x]
                    points[pairs, x] = 0.5 * (pa + pb)
                    mean[x] += sin2 * points[pairs, x]
                    gap += 0.25 * (pa - pb) ** 2
                weights[pairs] = sin2
                total += sin2
                gaps += sin2 * gap
                pairs += 1
        if pairs == 0:
            spread[n] = np.nan
            continue
        for k in range(pairs):
            for x in range(3):
                gaps += weights[k] * (points[k, x] - mean[x] / total) ** 2
        spread[n] = np.sqrt(gaps / total)


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
