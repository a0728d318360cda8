"""Results to look at, whole in memory or read from their file as they are needed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mocap.errors import StorageError
from mocap.storage.chunks import read_chunks
from mocap.storage.hdf5 import read_frames
from mocap.types import Source, Trajectories3D

Array = NDArray[np.float64]

# Rows read at once, the least before them for trails, parts kept.
_PART, _BEFORE, _KEPT = 1024, 512, 4
_TRAIL_S = 4.0  # the longest that can be chosen while looking
_SAMPLES = 32
_APART_S = 0.5


@dataclass(frozen=True, eq=False)
class Moment:
    """Row `row` of `part`, which holds some rows before it too."""

    part: Trajectories3D
    row: int


class Clip(ABC):
    """A result of any length.

    Attributes
    ----------
    frames : int64 [T]
        Frame numbers.
    fps : float
    person_ids : int64 [P]
    joint_names : tuple of str
    """

    def __init__(self, frames: NDArray[np.int64], like: Trajectories3D) -> None:
        self.frames, self.fps = frames, like.fps
        self.person_ids, self.joint_names = like.person_ids, like.joint_names

    def __len__(self) -> int:
        return len(self.frames)

    @abstractmethod
    def at(self, t: int) -> Moment:
        """The result around row `t`.

        Raises
        ------
        StorageError
            The file is damaged or gone.
        """

    def row_of(self, frame: int) -> int | None:
        """The row of a frame number, None where there is none."""
        k = int(np.searchsorted(self.frames, frame))
        return k if k < len(self.frames) and self.frames[k] == frame else None

    @property
    @abstractmethod
    def sample(self) -> Array:
        """Positions [N, P, J, 3] of rows from all over the take, metres."""

    @property
    @abstractmethod
    def joints_present(self) -> NDArray[np.int64]:
        """How many joints each row [T] shows."""

    @property
    @abstractmethod
    def row_error(self) -> Array:
        """Mean reprojection error of each row [T], px; NaN where it has none."""

    def worst(self, count: int = 10) -> list[int]:
        """The rows that fit the cameras worst, the worst first, half a second apart."""
        error = np.nan_to_num(self.row_error, nan=-1.0)
        out: list[int] = []
        for t in np.argsort(-error, kind="stable"):
            if error[t] <= 0 or len(out) == count:
                break
            if all(abs(int(self.frames[t] - self.frames[k])) >= _APART_S * self.fps for k in out):
                out.append(int(t))
        return out


class MemoryClip(Clip):
    """A result in memory."""

    def __init__(self, trajectories: Trajectories3D) -> None:
        super().__init__(trajectories.frames, trajectories)
        self._whole = trajectories

    def at(self, t: int) -> Moment:
        """The whole result, at row `t`."""
        return Moment(self._whole, t)

    @cached_property
    def sample(self) -> Array:
        """All positions."""
        return self._whole.positions.astype(np.float64)

    @cached_property
    def joints_present(self) -> NDArray[np.int64]:
        """How many joints each row [T] shows."""
        return np.asarray((self._whole.source != Source.MISSING).sum((1, 2)))

    @cached_property
    def row_error(self) -> Array:
        """Mean reprojection error of each row [T], px; NaN where it has none."""
        return _row_mean(self._whole.reprojection_error)


class FileClip(Clip):
    """A result in its HDF5 file; only the parts that are looked at are read, and a few of them kept.

    Parameters
    ----------
    path : Path
        An artifact that holds Trajectories3D.
    trail_s : float
        How far back trails will reach, s; 4 s can always be had.

    Raises
    ------
    StorageError
        Missing or damaged file, or another kind of record.
    """

    def __init__(self, path: Path, trail_s: float = 0.0) -> None:
        self._path = path
        self._parts: OrderedDict[int, tuple[int, Trajectories3D]] = OrderedDict()
        # Checks the kind and version, and raises what `mocap run` would repair.
        head = read_frames(path, Trajectories3D, 0, 0)
        super().__init__(np.asarray(self._dataset("frames"), np.int64), head)
        self._before = max(_BEFORE, math.ceil(max(_TRAIL_S, trail_s) * self.fps))

    def at(self, t: int) -> Moment:
        """The part around row `t`."""
        number = t // _PART
        if number not in self._parts:
            first, last = max(0, number * _PART - self._before), min(len(self.frames), (number + 1) * _PART)
            span = int(self.frames[first]), int(self.frames[last - 1]) + 1
            self._parts[number] = first, read_frames(self._path, Trajectories3D, *span)
            while len(self._parts) > _KEPT:
                self._parts.popitem(last=False)
        self._parts.move_to_end(number)
        first, part = self._parts[number]
        return Moment(part, t - first)

    @cached_property
    def sample(self) -> Array:
        """Positions of at most 32 stretches of 16 rows."""
        starts = np.unique(np.linspace(0, max(len(self.frames) - 16, 0), _SAMPLES).astype(int))
        parts = [self._dataset("positions", int(a), int(a) + 16) for a in starts]
        return np.concatenate(parts).astype(np.float64)

    @cached_property
    def joints_present(self) -> NDArray[np.int64]:
        """How many joints each row [T] shows."""
        return self._over_rows("source", lambda x: (x != Source.MISSING).sum((1, 2))).astype(np.int64)

    @cached_property
    def row_error(self) -> Array:
        """Mean reprojection error of each row [T], px; NaN where it has none."""
        return self._over_rows("reprojection_error", _row_mean)

    def _over_rows(self, name, reduce) -> Array:  # type: ignore[no-untyped-def]
        step = 16 * _PART
        parts = [reduce(self._dataset(name, a, a + step)) for a in range(0, len(self.frames), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _dataset(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.generic]:
        """Rows of one dataset."""
        try:
            with h5py.File(self._path, "r") as file:
                dataset = file[name]
                return read_chunks(dataset, 0, slice(start, len(dataset) if stop is None else stop))
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise StorageError(
                "the artifact is damaged", found=str(error), where=str(self._path),
                hint="run `mocap run` again; a damaged artifact is made anew",
            ) from error  # fmt: skip


def as_clip(result: Trajectories3D | Clip) -> Clip:
    """A clip as it is, a result in memory as one."""
    return result if isinstance(result, Clip) else MemoryClip(result)


def _row_mean(error: NDArray[np.float32]) -> Array:
    flat = error.reshape(len(error), -1).astype(np.float64)
    there = np.isfinite(flat)
    count = there.sum(1)
    return np.where(count > 0, np.where(there, flat, 0.0).sum(1) / np.maximum(count, 1), np.nan)
