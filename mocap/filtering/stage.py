"""The filter stage: outliers out, short gaps filled, trajectories smoothed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.filtering.butterworth import low_pass
from mocap.filtering.gaps import Array, Mask, fill, fillable, neighbours
from mocap.filtering.grid import Grid, grids
from mocap.filtering.outliers import hampel_outliers
from mocap.filtering.settings import FilterMethod, FilterSettings
from mocap.skeleton import identify
from mocap.types import Source, Trajectories3D

_log = logging.getLogger(__name__)

# Standard deviation per axis of a sample that came without a covariance, metres.
_UNKNOWN_STD = 0.05
# The error of a lifted joint lasts, as its estimate leans on the frames and joints around it: this
# long (seconds), its samples count as one. Measured on made-up takes: correlation 0.5 after 0.13 s,
# none after 0.27 s, and as much again for what it shares with the triangulated joints.
_LIFTED_ERROR_S = 0.5
# A lifted joint is placed by the triangulated ones around it, in time and along the body: what it adds
# to the certainty of the result is this share of what it adds to the estimate.
_LIFTED_CREDIT = 0.25


def filter_trajectories(trajectories: Trajectories3D, settings: FilterSettings) -> Trajectories3D:
    """Smooth trajectories with short gaps filled.

    Parameters
    ----------
    trajectories : Trajectories3D
        As triangulated and lifted.
    settings : FilterSettings

    Returns
    -------
    Trajectories3D
        Same frames, persons and joints. Filled samples and removed outliers have source
        INTERPOLATED, a covariance that grows towards the middle of the gap, no reprojection
        error and no views; TRIANGULATED and LIFTED samples keep their flag, reprojection error
        and consistency. Gaps longer than `max_gap_s`, and jumps of `frames` longer than that, stay
        open: nothing is filtered across them.

    Notes
    -----
    The covariance is that of the estimate for independent errors; with errors that last
    over many frames (a detector's bias) it is too small. Those of lifted joints are known to last,
    and count as fewer samples.
    """
    if settings.smoother is FilterMethod.NONE or not trajectories.positions.size:
        return trajectories
    shape = trajectories.source.shape
    positions = np.empty((*shape, 3), np.float32)
    covariance = np.empty((*shape, 3, 3), np.float32)
    source = np.empty(shape, np.uint8)
    prepared = [_prepare(grid, settings) for grid in grids(trajectories, settings.max_gap_s)]
    for part, (x, cov) in zip(prepared, _smooth(prepared, settings, trajectories.joint_names), strict=True):
        rows, index = part.grid.rows, part.grid.index
        kept = (len(rows), *shape[1:])
        positions[rows] = x[index].reshape(*kept, 3)
        covariance[rows] = cov[index].reshape(*kept, 3, 3)
        source[rows] = part.source[index].reshape(kept)
    outliers = sum(int(part.removed) for part in prepared)
    filled = source == Source.INTERPOLATED
    new = filled & (trajectories.source != Source.INTERPOLATED) | (source == Source.MISSING)
    _log.info("filtered: %d outliers removed, %d samples interpolated", outliers, int(filled.sum()))
    return replace(
        trajectories,
        positions=positions,
        covariance=covariance,
        source=source,
        reprojection_error=np.where(new, np.nan, trajectories.reprojection_error),
        consistency=np.where(new, np.nan, trajectories.consistency),
        views_used=np.where(new, np.uint64(0), trajectories.views_used),
    )


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A grid with outliers out and short gaps filled for a start."""

    grid: Grid
    positions: Array
    covariance: Array
    valid: Mask
    present: Mask
    source: NDArray[np.uint8]
    removed: int


def _prepare(grid: Grid, settings: FilterSettings) -> _Prepared:
    max_gap = int(settings.max_gap_s * grid.rate + 1e-9)
    valid = np.asarray(np.isfinite(grid.positions).all(-1))
    prior = known_covariance(grid.covariance, valid)
    prior[grid.source == Source.LIFTED] *= max(1.0, _LIFTED_ERROR_S * grid.rate)
    removed = _outliers(grid, prior, valid, settings) if settings.hampel else np.zeros_like(valid)
    valid = valid & ~removed
    near = neighbours(valid)
    target = fillable(valid, near, max_gap)
    present = valid | target
    x = fill(np.where(valid[..., None], grid.positions, np.nan), valid, target, near)
    cov = _gap_covariance(x, prior, target, near.before, near.after, present)
    source = np.where(target, Source.INTERPOLATED, np.where(valid, grid.source, Source.MISSING)).astype(np.uint8)
    return _Prepared(grid, x, cov, valid, present, source, int(removed.sum()))


def _smooth(
    parts: list[_Prepared], settings: FilterSettings, joint_names: tuple[str, ...]
) -> list[tuple[Array, Array]]:
    """Smoothed positions and covariance of every part; NaN where nothing is present."""
    if settings.smoother is FilterMethod.BUTTERWORTH:
        cutoff = settings.butterworth_cutoff_hz
        out = []
        for p in parts:
            x, cov = low_pass(p.positions, p.covariance, p.present, p.grid.rate, cutoff, settings.order)
            cov[~p.present] = np.nan
            out.append((x, cov))
        return out
    from mocap.filtering.map_smoother import smooth

    lengths = [len(p.valid) for p in parts]
    x, cov = smooth(
        np.concatenate([p.positions for p in parts]),
        np.concatenate([p.covariance for p in parts]),
        np.concatenate([p.valid for p in parts]),
        np.concatenate([p.present for p in parts]),
        np.repeat([1 / p.grid.rate for p in parts], lengths),
        np.repeat(np.arange(len(parts)), lengths),
        _bones(joint_names),
        len(joint_names),
        settings.bones,
        np.concatenate([np.where(p.source == Source.LIFTED, _LIFTED_CREDIT, 1.0) for p in parts]),
    )
    ends = np.cumsum(lengths)[:-1]
    return list(zip(np.split(x, ends), np.split(cov, ends), strict=True))


def _bones(joint_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Int [B, 2]: bones of a known skeleton; none of an unknown one."""
    try:
        return identify(joint_names).bone_index
    except DataError:
        _log.debug("unknown skeleton: joints are smoothed each on its own")
        return np.empty((0, 2), np.int64)


def known_covariance(covariance: Array, valid: Mask) -> Array:
    """Covariances [N, S, 3, 3] without holes: a valid sample that came without one gets a wide one."""
    usable = np.isfinite(covariance).all((-1, -2)) & valid
    return np.where(usable[..., None, None], covariance, np.eye(3) * _UNKNOWN_STD**2)


def _outliers(grid: Grid, covariance: Array, valid: Mask, settings: FilterSettings) -> Mask:
    window = max(5, 2 * int(settings.hampel_window_s * grid.rate / 2) + 1)
    if len(valid) < window:
        return np.zeros_like(valid)
    near = neighbours(valid)
    bounded = ~valid & (near.before >= 0) & (near.after < len(valid))
    x = fill(grid.positions, valid, bounded, near)
    return hampel_outliers(x, covariance, valid, window, settings.hampel_threshold)


def _gap_covariance(
    x: Array,
    covariance: Array,
    target: Mask,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    present: Mask,
) -> Array:
    """Covariance in filled gaps: of the two ends, plus what an unseen acceleration could do.

    A body that accelerates by `a` between the ends lies off the chord by a tau_1 tau_2 / 2 (tau:
    time to either end); `a` is the series' own RMS second difference.
    """
    out = covariance.copy()
    row, series = np.nonzero(target)
    if not len(row):
        return out
    second = x[2:] - 2 * x[1:-1] + x[:-2]
    seen = present[2:] & present[1:-1] & present[:-2]
    square = np.where(seen[..., None], np.nan_to_num(second) ** 2, 0).sum((0, 2))
    per_axis = square / np.maximum(3 * seen.sum(0), 1)
    a, b = before[row, series], after[row, series]
    u = ((row - a) / (b - a))[:, None, None]
    ends = (1 - u) ** 2 * covariance[a, series] + u**2 * covariance[b, series]
    off = per_axis[series] * (0.5 * (row - a) * (b - row)) ** 2
    out[row, series] = ends + off[:, None, None] * np.eye(3)
    return out
