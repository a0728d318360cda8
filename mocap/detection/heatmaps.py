"""From heatmaps to points: four ways, batched, each map decoded independently of the others.

Sources: A. Newell et al., Stacked Hourglass Networks (ECCV 2016), section 3.3 (quarter offset);
F. Zhang et al., Distribution-Aware Coordinate Representation (CVPR 2020), eq. 3-9 (DARK); X. Sun et
al., Integral Human Pose Regression (ECCV 2018), eq. 4 (soft-argmax). The error any unbiased decoder
must have: S. Kay, Estimation Theory (1993), section 3.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from mocap.detection.decoders import DecoderName, DecoderSettings
from mocap.errors import SettingsError

_SMALLEST = 1e-10
_FARTHEST = 1.5
_WIDEST = 8.0


@dataclass(frozen=True, eq=False)
class Peaks:
    """What was read from heatmaps [..., H, W].

    Attributes
    ----------
    points : float [..., 2]
        x, y in cells; the centre of the first cell is (0, 0).
    score : float [...]
        The map's value at its highest cell.
    covariance : float [..., 2, 2]
        Shape of the peak, cells^2: a lone peak of the trained width has peak_sigma^2, doubt widens it.
    """

    points: torch.Tensor
    score: torch.Tensor
    covariance: torch.Tensor


def decode_heatmaps(heatmaps: torch.Tensor, settings: DecoderSettings) -> Peaks:
    """The peak of each heatmap.

    Parameters
    ----------
    heatmaps : float [..., H, W]
        H, W >= 3.
    settings : DecoderSettings
    """
    leading, (height, width) = heatmaps.shape[:-2], heatmaps.shape[-2:]
    maps = heatmaps.reshape(-1, height, width).float()
    smooth = blur(maps, settings.peak_sigma)
    # What smoothing does to a peak's width is known, and taken out again.
    widened = settings.peak_sigma**2
    taylor, spread = osculate(smooth, _highest(smooth), widened)
    match settings.method:
        case DecoderName.ARGMAX:
            points = _highest(maps).to(maps.dtype)
        case DecoderName.QUARTER:
            points = _quarter(maps, _highest(maps))
        case DecoderName.DARK:
            points = taylor
        case DecoderName.SOFT:
            points, spread = _soft(maps, settings.temperature)
    score = maps.flatten(1).amax(1)
    return Peaks(
        points.reshape(*leading, 2), score.reshape(leading), spread.reshape(*leading, 2, 2)
    )  # fmt: skip


def blur(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    """Maps [n, H, W] convolved with a Gaussian of unit sum; zero outside.

    Shifted sums rather than a convolution: exactly the same whatever else is in the batch.
    """
    reach = max(1, math.ceil(3 * sigma))
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    total = sum(weights)
    for axis in (-1, -2):
        padding = (reach, reach) if axis == -1 else (0, 0, reach, reach)
        padded, length = functional.pad(maps, padding), maps.shape[axis]
        result = torch.zeros_like(maps)
        for k, weight in enumerate(weights):
            result.add_(padded.narrow(axis, k, length), alpha=weight / total)
        maps = result
    return maps


def _highest(maps: torch.Tensor) -> torch.Tensor:
    """Column and row [n, 2] of the highest cell."""
    index = maps.flatten(1).argmax(1)
    return torch.stack([index % maps.shape[-1], index // maps.shape[-1]], -1)


def _around(maps: torch.Tensor, cells: torch.Tensor, of: torch.Tensor | None = None) -> torch.Tensor:
    """The 3x3 cells [m, 3, 3] round the given ones, which must not lie on the border."""
    reach = torch.arange(-1, 2, device=maps.device)
    rows, columns = cells[:, 1, None] + reach, cells[:, 0, None] + reach
    of = torch.arange(len(maps), device=maps.device) if of is None else of
    return maps[of[:, None, None], rows[:, :, None], columns[:, None, :]]


def _inner(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Cells moved off the border by one where they lie on it."""
    limit = torch.tensor([maps.shape[-1] - 2, maps.shape[-2] - 2], device=maps.device)
    return torch.minimum(cells.clamp_min(1), limit)


def _quarter(maps: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    inner = _inner(maps, cells)
    near = _around(maps, inner)
    step = torch.stack([near[:, 1, 2] - near[:, 1, 0], near[:, 2, 1] - near[:, 0, 1]], -1).sign()
    return cells + 0.25 * step * (cells == inner)


def osculate(
    smooth: torch.Tensor, cells: torch.Tensor, widened: float, of: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Maximum and covariance of the Gaussian that osculates maps at given cells.

    Parameters
    ----------
    smooth : float [n, H, W]
    cells : int [m, 2]
        Column and row.
    widened : float
        Variance (cells^2) that smoothing added; it is taken out of the covariance.
    of : int [m], optional
        The map of each cell; one cell per map by default.

    Returns
    -------
    points : float [m, 2]
    covariance : float [m, 2, 2]
    """
    inner = _inner(smooth, cells)
    log = _around(smooth, inner, of).clamp_min(_SMALLEST).log()
    dx, dy = (log[:, 1, 2] - log[:, 1, 0]) / 2, (log[:, 2, 1] - log[:, 0, 1]) / 2
    dxx = log[:, 1, 2] - 2 * log[:, 1, 1] + log[:, 1, 0]
    dyy = log[:, 2, 1] - 2 * log[:, 1, 1] + log[:, 0, 1]
    dxy = (log[:, 2, 2] - log[:, 2, 0] - log[:, 0, 2] + log[:, 0, 0]) / 4
    determinant = dxx * dyy - dxy**2
    peaked = (determinant > _SMALLEST) & (dxx < 0) & (dyy < 0)
    safe = torch.where(peaked, determinant, torch.ones_like(determinant))
    # Minus the inverse Hessian.
    shape = torch.stack([-dyy, dxy, dxy, -dxx], -1).reshape(-1, 2, 2) / safe[:, None, None]
    step = (shape @ torch.stack([dx, dy], -1)[..., None])[..., 0]
    sound = peaked & (step.abs().amax(-1) <= _FARTHEST) & (cells == inner).all(-1)
    points = torch.where(sound[:, None], inner + step, cells.to(step.dtype))
    identity = torch.eye(2, device=smooth.device, dtype=shape.dtype)
    shape = torch.where(peaked[:, None, None], shape - widened * identity, _WIDEST**2 * identity)
    return points, _bounded(shape, 1 / 12, _WIDEST**2)


def _bounded(covariance: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Symmetric matrices [n, 2, 2] with their eigenvalues brought into a range.

    In closed form: the iteration of `torch.linalg.eigh` need not give the same bits in another batch.
    """
    mean = (covariance[:, 0, 0] + covariance[:, 1, 1]) / 2
    half, cross = (covariance[:, 0, 0] - covariance[:, 1, 1]) / 2, covariance[:, 0, 1]
    radius = torch.sqrt(half**2 + cross**2)
    largest, smallest = (mean + radius).clamp(low, high), (mean - radius).clamp(low, high)
    scale = torch.where(radius > 0, (largest - smallest) / (2 * radius.clamp_min(_SMALLEST)), torch.zeros_like(radius))
    middle, half, cross = (largest + smallest) / 2, half * scale, cross * scale
    return torch.stack([middle + half, cross, cross, middle - half], -1).reshape(-1, 2, 2)


def soft_argmax(heatmaps: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean [..., 2] (x, y in cells) of the softmax of maps [..., H, W]: `SOFT`, to be trained through."""
    points, _ = _soft(heatmaps.flatten(0, -3), temperature)
    return points.reshape(*heatmaps.shape[:-2], 2)


def _soft(maps: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [n, 2] and covariance [n, 2, 2] of the softmax of the maps over their own maximum."""
    n, height, width = maps.shape
    top = maps.flatten(1).amax(1).clamp_min(_SMALLEST)
    share = (maps.flatten(1) / (temperature * top[:, None])).softmax(1).reshape(n, height, width)
    columns = torch.arange(width, device=maps.device, dtype=maps.dtype)
    rows = torch.arange(height, device=maps.device, dtype=maps.dtype)
    x, y = (share.sum(1) * columns).sum(-1), (share.sum(2) * rows).sum(-1)
    dx, dy = columns - x[:, None], rows - y[:, None]
    xx, yy = (share.sum(1) * dx**2).sum(-1), (share.sum(2) * dy**2).sum(-1)
    xy = (share * dx[:, None, :] * dy[:, :, None]).sum((1, 2))
    covariance = torch.stack([xx, xy, xy, yy], -1).reshape(n, 2, 2)
    return torch.stack([x, y], -1), _bounded(covariance, 1 / 12, _WIDEST**2)


def centre_bound(noise: float, amplitude: float, sigma: float) -> float:
    """Cramer-Rao bound: least standard deviation per axis of a peak's centre, cells.

    Parameters
    ----------
    noise : float
        Standard deviation of each cell's independent normal noise.
    amplitude, sigma : float
        Of the Gaussian peak, which lies well inside the map; sigma in cells, at least about 0.8 so that sums
        over cells are integrals. The bound is the same whether or not the amplitude is known.

    Notes
    -----
    Fisher information A^2 / s^2 * sum ((x - c) / sigma^2)^2 exp(-|x - c|^2 / sigma^2) = pi A^2 / (2 s^2).
    """
    if not sigma > 0.5:
        raise SettingsError("the peak is too narrow for the bound", expected="sigma > 0.5", found=f"{sigma}")
    return noise / amplitude * math.sqrt(2 / math.pi)
