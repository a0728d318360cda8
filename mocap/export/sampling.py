"""A take at the even times of a file: gaps in the frame numbers closed, other frame rates."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline, Slerp

from mocap.types import Source

_log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

# Missing frames up to this long (seconds) are interpolated so that time stays exact.
_MAX_FILL_S = 1.0

# Fewer samples than this in a row are interpolated linearly.
_MIN_SPLINE = 4

_LEAST_DIRECT_FIRST = np.array([Source.MISSING, Source.INTERPOLATED, Source.LIFTED, Source.TRIANGULATED])
_RANK = np.argsort(_LEAST_DIRECT_FIRST)


@dataclass(frozen=True, eq=False)
class Sampling:
    """Where a file's samples lie in a take.

    Attributes
    ----------
    fps : float
        Of the samples.
    frame_time : float
        Seconds from one sample to the next.
    times : float64 [T]
        Of the take's frames, from 0, long jumps shortened to one step.
    wanted : float64 [N]
        Times of the file's samples.
    row : int [N]
        The last frame at or before each sample.
    part : float64 [N]
        How far towards the next frame it is, 0 to 1.
    parts : tuple of slice
        Runs of frames without a long jump.
    smooth : bool
        Whether samples between frames are splined (another rate) or interpolated linearly (gaps).
    """

    fps: float
    frame_time: float
    times: Array
    wanted: Array
    row: Ints
    part: Array
    parts: tuple[slice, ...]
    smooth: bool

    @property
    def exact(self) -> bool:
        """Whether every sample is a frame of the take."""
        return not self.part.any()

    @property
    def after(self) -> Ints:
        """The frame at or after each sample."""
        return self.row + (self.part > 0)


def sampling(frames: Ints, fps: float, rate: float = 0.0) -> Sampling:
    """Even samples of a take.

    Parameters
    ----------
    frames : int [T]
        Frame numbers, increasing.
    fps : float
    rate : float
        Frame rate of the file; 0: the largest even step of the take's frame numbers.
    """
    jumps = np.diff(frames)
    small = jumps <= 1 + _MAX_FILL_S * fps
    step = int(np.gcd.reduce(jumps[small])) if small.any() else 1
    if not small.all():
        first = int(np.flatnonzero(~small)[0])
        _log.warning(
            "this format cannot hold jumps of time: %d left out, the first between frames %d and %d",
            int((~small).sum()), frames[first], frames[first + 1],
        )  # fmt: skip
    at = np.concatenate([[0], np.cumsum(np.where(small, jumps // step, 1))]).astype(np.float64)
    ends = np.concatenate([[0], np.flatnonzero(~small) + 1, [len(frames)]])
    parts = tuple(slice(int(a), int(b)) for a, b in zip(ends[:-1], ends[1:], strict=True))
    if rate:
        frame_time, times = 1 / rate, at * step / fps
        # A sample that rounding puts just past the last frame is that frame.
        wanted = np.arange(int(np.floor(times[-1] * rate * (1 + 1e-12) + 1e-9)) + 1) / rate
    else:
        frame_time, times = step / fps, at
        wanted = np.arange(int(at[-1]) + 1, dtype=np.float64)
    row = np.clip(np.searchsorted(times, wanted + 1e-9 * max(1.0, times[-1]), side="right") - 1, 0, len(frames) - 1)
    span = times[np.minimum(row + 1, len(frames) - 1)] - times[row]
    part = np.divide(wanted - times[row], span, out=np.zeros(len(wanted)), where=span > 0)
    part = np.where(np.abs(part) < 1e-6, 0.0, part)
    return Sampling(rate or fps / step, frame_time, times, wanted, row, part, parts, bool(rate))


def sample_rotations(rotations: Array, s: Sampling) -> Array:
    """Rotations [N, B, 3, 3] at the samples, from quaternions [T, B, 4].

    Frames themselves come out as they are. Between them: slerp, and where the frame rate changes a
    spline with continuous angular velocity (SciPy's RotationSpline).
    """
    if s.exact:
        return Rotation.from_quat(rotations[s.row].reshape(-1, 4)).as_matrix().reshape(len(s.row), -1, 3, 3)
    out = np.empty((len(s.row), rotations.shape[1], 3, 3))
    for b in range(rotations.shape[1]):
        turns = Rotation.from_quat(rotations[:, b])
        at = np.clip(s.wanted, s.times[0], s.times[-1])
        out[:, b] = Slerp(s.times, turns)(at).as_matrix()
        for run, rows in _splined(s):
            out[rows, b] = RotationSpline(s.times[run], turns[run])(s.wanted[rows]).as_matrix()
    return out


def sample_values(values: Array, s: Sampling) -> Array:
    """Values [N, ...] at the samples, from [T, ...]: linear, and cubic where the frame rate changes."""
    part = s.part.reshape(-1, *(1,) * (values.ndim - 1))
    before = values[s.row]
    out = np.where(part > 0, (1 - part) * before + part * values[s.after], before)
    for run, rows in _splined(s):
        out[rows] = CubicSpline(s.times[run], values[run])(s.wanted[rows])
    return out


def sample_sources(source: NDArray[np.uint8], s: Sampling) -> NDArray[np.uint8]:
    """Flags [N, ...] at the samples: between frames the less direct of the two, at best interpolated in gaps."""
    worst = np.minimum(_RANK[source[s.row]], _RANK[source[s.after]])
    if not s.smooth:
        between = (s.part > 0).reshape(-1, *(1,) * (source.ndim - 1))
        worst = np.where(between, np.minimum(worst, _RANK[Source.INTERPOLATED]), worst)
    return _LEAST_DIRECT_FIRST[worst].astype(np.uint8)


def _splined(s: Sampling) -> list[tuple[slice, Ints]]:
    """Runs of frames that a spline is laid through, with the samples between the frames of each."""
    if not s.smooth:
        return []
    runs = []
    for run in s.parts:
        if run.stop - run.start >= _MIN_SPLINE:
            rows = np.flatnonzero((s.part > 0) & (s.row >= run.start) & (s.after < run.stop))
            runs.append((run, rows))
    return runs
