"""Peaks of heatmaps that show several people: candidates for joints, and pairing them one to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mocap.detection.heatmaps import blur, osculate

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Up to K peaks of each heatmap, best first.

    Attributes
    ----------
    points : float [n, J, K, 2]
        x, y in cells.
    cells : int [n, J, K, 2]
        Column and row of the highest cell.
    score : float [n, J, K]
        The map's value there; 0 where there is no further peak.
    sigma : float [n, J, K]
        Width of the peak per axis, cells.
    """

    points: torch.Tensor
    cells: torch.Tensor
    score: torch.Tensor
    sigma: torch.Tensor


@dataclass(frozen=True, eq=False)
class Assembled:
    """People put together from candidates, best first; as many slots as the fullest picture needs.

    Attributes
    ----------
    points : float64 [n, P, J, 2]
        NaN where a joint was not found.
    score : float64 [n, P, J]
        0 there.
    sigma : float64 [n, P, J]
        Width of the peak, in units of the points; NaN there.
    """

    points: Floats
    score: Floats
    sigma: Floats


def find_peaks(heatmaps: torch.Tensor, count: int, threshold: float, sigma: float) -> Candidates:
    """Local maxima of each heatmap.

    Parameters
    ----------
    heatmaps : float [n, J, H, W]
    count : int
        At most so many per map (K).
    threshold : float
        Lowest value of a peak.
    sigma : float
        Standard deviation of the smoothing before, cells; nothing within this distance is a second peak.
    """
    n, joints, height, width = heatmaps.shape
    maps = heatmaps.reshape(-1, height, width).float()
    smooth = blur(maps, sigma)
    window = 2 * max(1, round(sigma)) + 1
    highest = functional.max_pool2d(smooth[:, None], window, 1, window // 2)[:, 0]
    value = functional.max_pool2d(maps[:, None], 3, 1, 1)[:, 0]
    there = (smooth >= highest) & (value >= threshold)
    ranked = torch.where(there, value, torch.zeros_like(value)).flatten(1)
    score, index = ranked.topk(min(count, height * width), dim=1)
    cells = torch.stack([index % width, index // width], -1)
    of = torch.arange(len(maps), device=maps.device).repeat_interleave(cells.shape[1])
    points, covariance = osculate(smooth, cells.reshape(-1, 2), sigma**2, of)
    shape = (n, joints, cells.shape[1])
    spread = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
    return Candidates(points.reshape(*shape, 2), cells.reshape(*shape, 2), score.reshape(shape), spread.reshape(shape))


def at_cells(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Values [n, J, K] of maps [n, J, H, W] at cells [n, J, K, 2] (column, row)."""
    index = cells[..., 1] * maps.shape[-1] + cells[..., 0]
    return maps.flatten(2).gather(2, index)


def greedy_pairs(gain: Floats) -> NDArray[np.int64]:
    """One-to-one pairs, always the best that is left, for many problems at once.

    Parameters
    ----------
    gain : float [m, A, B]
        -inf where a pair is impossible.

    Returns
    -------
    int64 [m, A]
        The partner in B, -1 for none.
    """
    problems, a, b = gain.shape
    partner = np.full((problems, a), -1)
    left = gain.copy()
    for _ in range(min(a, b)):
        best = left.reshape(problems, -1).argmax(1)
        row, column = best // b, best % b
        some = np.flatnonzero(left[np.arange(problems), row, column] > -np.inf)
        if not len(some):
            break
        partner[some, row[some]] = column[some]
        left[some, row[some]] = -np.inf
        left[some, :, column[some]] = -np.inf
    return partner


def collect(chosen: NDArray[np.int64], candidates: Candidates, *, fewest: int, least: float) -> Assembled:
    """People from the candidates that were chosen for them.

    Parameters
    ----------
    chosen : int64 [n, G, J]
        Which candidate is the joint of a group; -1 for none.
    candidates : Candidates
    fewest : int
        Joints without which a group is nobody.
    least : float
        Lowest mean score of a person's joints.
    """
    found = chosen >= 0
    pick = np.maximum(chosen, 0).transpose(0, 2, 1)
    score = np.take_along_axis(candidates.score.cpu().double().numpy(), pick, 2).transpose(0, 2, 1) * found
    sigma = np.take_along_axis(candidates.sigma.cpu().double().numpy(), pick, 2).transpose(0, 2, 1)
    points = np.take_along_axis(candidates.points.cpu().double().numpy(), pick[..., None], 2).transpose(0, 2, 1, 3)
    number = found.sum(-1)
    good = (number >= fewest) & (score.sum(-1) >= least * np.maximum(number, 1))
    order = np.argsort(-np.where(good, score.sum(-1), -1.0), axis=1, kind="stable")
    order = order[:, : max(1, int(good.sum(1).max(initial=0)))]
    good, found, score, sigma = (
        np.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), 1) for x in (good, found, score, sigma)
    )
    points = np.take_along_axis(points, order[..., None, None], 1)
    there = found & good[..., None]
    return Assembled(
        np.where(there[..., None], points, np.nan), np.where(there, score, 0.0), np.where(there, sigma, np.nan)
    )
