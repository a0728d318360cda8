"""A recording's samples on an even time grid, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.timeline import segments
from mocap.types import Source, Trajectories3D

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """One continuous part of a recording, resampled to a constant step without inventing samples.

    Series S are persons x joints. Grid steps N without a sample are gaps (NaN).

    Attributes
    ----------
    rows : int [T']
        Rows of the recording this part holds; `index` (int [T']) are their places on the grid.
    rate : float
        Grid steps per second.
    positions : float64 [N, S, 3] m
    covariance : float64 [N, S, 3, 3] m2
        NaN where unknown.
    source : uint8 [N, S]
    """

    rows: NDArray[np.int64]
    index: NDArray[np.int64]
    rate: float
    positions: Array
    covariance: Array
    source: NDArray[np.uint8]


def grids(trajectories: Trajectories3D, max_gap_s: float) -> list[Grid]:
    """The continuous parts of a recording (see `mocap.timeline.segments`), each on an even grid.

    The step is the largest that meets every frame number, so that a recording of every second
    frame is one at half the rate rather than one that is half gaps.
    """
    frames = trajectories.frames
    parts = segments(frames, max_gap=int(max_gap_s * trajectories.fps + 1e-9))
    return [_grid(trajectories, np.arange(s.start, s.stop)) for s in parts]


def _grid(trajectories: Trajectories3D, rows: NDArray[np.int64]) -> Grid:
    frames = trajectories.frames[rows]
    step = int(np.gcd.reduce(np.diff(frames))) if len(rows) > 1 else 1
    index = (frames - frames[0]) // step
    n, series = int(index[-1]) + 1, trajectories.positions.shape[1] * trajectories.positions.shape[2]
    positions = np.full((n, series, 3), np.nan)
    covariance = np.full((n, series, 3, 3), np.nan)
    source = np.full((n, series), Source.MISSING, np.uint8)
    positions[index] = trajectories.positions[rows].reshape(len(rows), series, 3)
    covariance[index] = trajectories.covariance[rows].reshape(len(rows), series, 3, 3)
    source[index] = trajectories.source[rows].reshape(len(rows), series)
    return Grid(rows, index, trajectories.fps / step, positions, covariance, source)
