"""A recording's samples on an even time grid, and back: whole, or a window of it at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.persistence import Persistence
from mocap.rows import Rows
from mocap.timeline import segments
from mocap.types import Source, Trajectories3D

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """One continuous part of a recording on an even time grid.

    Attributes
    ----------
    start : int
        Row of the recording that is the part's first.
    index : int [T']
        Place of each of its rows on the grid, from 0.
    rate : float
        Grid steps per second.
    """

    start: int
    index: NDArray[np.int64]
    rate: float

    @property
    def length(self) -> int:
        """Number of grid steps."""
        return int(self.index[-1]) + 1


@dataclass(frozen=True)
class Window:
    """Grid steps [start, stop) of a part, worked on with those of [low, high) around them."""

    part: int
    start: int
    stop: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Grid:
    """Grid steps [low, high) of a part, one person; steps N without a sample are gaps (NaN).

    Attributes
    ----------
    rows : slice
        Rows of the recording in it; `index` (int [T']) are their places on the grid.
    rate : float
        Grid steps per second.
    positions : float64 [N, J, 3] m
    covariance : float64 [N, J, 3, 3] m2
        NaN where unknown.
    source : uint8 [N, J]
    views : uint64 [N, J]
        Bits of the views each sample was made from.
    persistence : Persistence
        How the samples' errors hang together in time.
    """

    rows: slice
    index: NDArray[np.int64]
    rate: float
    positions: Array
    covariance: Array
    source: NDArray[np.uint8]
    views: NDArray[np.uint64]
    persistence: Persistence


def continuous_parts(frames: NDArray[np.int64], fps: float, max_gap_s: float) -> list[Part]:
    """The continuous parts of a recording (see `mocap.timeline.segments`), each with an even grid.

    The step is the largest that meets every frame number, so that a recording of every second
    frame is one at half the rate rather than one that is half gaps.
    """
    parts = []
    for s in segments(frames, max_gap=int(max_gap_s * fps + 1e-9)):
        numbers = frames[s]
        step = int(np.gcd.reduce(np.diff(numbers))) if len(numbers) > 1 else 1
        parts.append(Part(s.start, (numbers - numbers[0]) // step, fps / step))
    return parts


def windows(parts: list[Part], size: int, context_s: float) -> list[list[Window]]:
    """All grid steps in batches of at most `size` steps (context not counted), in order.

    What fits into one batch is one window per part without any context: there is nothing beyond.
    """
    batches: list[list[Window]] = [[]]
    room = size
    for k, part in enumerate(parts):
        context = int(np.ceil(context_s * part.rate))
        start = 0
        while start < part.length:
            if room == 0:
                batches.append([])
                room = size
            stop = min(part.length, start + room)
            batches[-1].append(Window(k, start, stop, max(0, start - context), min(part.length, stop + context)))
            room -= stop - start
            start = stop
    return batches


def rows_of_window(part: Part, window: Window) -> slice:
    """Rows of the recording in a window and its context."""
    first, last = np.searchsorted(part.index, (window.low, window.high))
    return slice(part.start + int(first), part.start + int(last))


def cut(trajectories: Trajectories3D, part: Part, window: Window, person: int, offset: int = 0) -> Grid:
    """One person's samples in a window and its context; `offset` is the recording's row that the record begins with."""
    whole = rows_of_window(part, window)
    index = part.index[whole.start - part.start : whole.stop - part.start] - window.low
    rows = slice(whole.start - offset, whole.stop - offset)
    n, joints = window.high - window.low, trajectories.positions.shape[2]
    positions = np.full((n, joints, 3), np.nan)
    covariance = np.full((n, joints, 3, 3), np.nan)
    source = np.full((n, joints), Source.MISSING, np.uint8)
    views = np.zeros((n, joints), np.uint64)
    views[index] = trajectories.views_used[rows, person]
    positions[index] = trajectories.positions[rows, person]
    covariance[index] = trajectories.covariance[rows, person]
    source[index] = trajectories.source[rows, person]
    return Grid(whole, index, part.rate, positions, covariance, source, views, trajectories.persistence)


def read_together(
    source: Rows[Trajectories3D], wanted: Sequence[slice], most: int
) -> Iterator[tuple[Trajectories3D, int]]:
    """Of each span of rows, in order, a record that holds it and the row that this record begins with.

    Spans that lie within `most` rows are read at once: where numbers jump often, each part is only some rows.
    """
    first = 0
    while first < len(wanted):
        low, last = wanted[first].start, first + 1
        while last < len(wanted) and wanted[last].stop - low <= most:
            last += 1
        record = source.read(slice(low, wanted[last - 1].stop))
        for _ in range(first, last):
            yield record, low
        first = last


@dataclass(frozen=True, eq=False)
class Survey:
    """What a first look over a recording says.

    Attributes
    ----------
    acceleration2 : float64 [P, J]
        Mean square of second differences per axis, m2 per grid step^4; of seen samples only.
    there : bool [T, P]
        Whether the person has any joint.
    """

    acceleration2: Array
    there: NDArray[np.bool_]


def survey(source: Rows[Trajectories3D], parts: list[Part], chunk: int) -> Survey:
    """Look over a recording, `chunk` rows at a time."""
    P, J = source.head.source.shape[1:]
    there = np.zeros((len(source.frames), P), bool)
    total, count = np.zeros((P, J)), np.zeros((P, J))
    looks = [
        (part.start + first, part.index[first : first + chunk + 2])
        for part in parts
        for first in range(0, len(part.index), chunk)
    ]
    spans = [slice(low, low + len(index)) for low, index in looks]
    for (low, index), (seen, offset) in zip(looks, read_together(source, spans, chunk), strict=True):
        rows = slice(low - offset, low - offset + len(index))
        there[low : low + len(index)] = (seen.source[rows] != Source.MISSING).any(-1)
        if len(index) < 3:
            continue
        x = seen.positions[rows].astype(float)
        even = (np.diff(index)[1:] == 1) & (np.diff(index)[:-1] == 1)
        second = (x[2:] - 2 * x[1:-1] + x[:-2])[even]
        known = np.isfinite(second).all(-1)
        total += np.where(known[..., None], np.nan_to_num(second) ** 2, 0).sum((0, 3))
        count += 3 * known.sum(0)
    return Survey(total / np.maximum(count, 1), there)
