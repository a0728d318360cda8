"""Records along time, read and made a span of rows at a time: what keeps long takes out of memory.

A row is a frame's place in the recording, from 0. `Rows` is what is read from, in memory (`MemoryRows`) or on
disk (`mocap.storage.rows.StoredRows`); `Pieces` is what is made: consecutive parts of one record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mocap.arrays import Record, array_specs

R = TypeVar("R", bound=Record)
# Rows read at a time to take some of them.
_SPAN = 1024

R_co = TypeVar("R_co", bound=Record, covariant=True)


class Rows(Protocol[R_co]):
    """A record of which spans of rows are read."""

    @property
    def head(self) -> R_co:
        """The record without any frame: its labels, rates and all that has no time axis."""

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frame numbers [T]."""

    def read(self, rows: slice) -> R_co:
        """The rows from `rows.start` to `rows.stop`, both given."""


@dataclass(frozen=True, eq=False)
class Pieces(Generic[R]):
    """A record that is made piece by piece.

    Attributes
    ----------
    length : int
        Number of rows of the whole.
    pieces : iterator of records
        In order, without gaps; the last ends with row `length`. Can be used once.
    """

    length: int
    pieces: Iterator[R]


@dataclass(frozen=True, eq=False)
class MemoryRows(Generic[R]):
    """The rows of a record in memory."""

    record: R

    @property
    def head(self) -> R:
        """The record without any frame."""
        return self.read(slice(0, 0))

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frame numbers [T]."""
        frames: NDArray[np.int64] = self.record.frames  # type: ignore[attr-defined]
        return frames

    def read(self, rows: slice) -> R:
        """Some of the rows."""
        return take(self.record, rows)


def take(record: R, rows: slice | NDArray[np.int64]) -> R:
    """Some rows of a record, in order."""
    specs = array_specs(type(record))
    parts: dict[str, Any] = {
        name: getattr(record, name)[(slice(None),) * spec.dims.index("T") + (rows,)]
        for name, spec in specs.items()
        if "T" in spec.dims
    }
    return replace(record, **parts)  # type: ignore[type-var]


def pick(source: Rows[R], index: NDArray[np.int64]) -> R:
    """The rows `index`, which must increase; those near each other are read together."""
    if not len(index):
        return source.head
    starts = [0]
    for k, row in enumerate(index.tolist()):
        if row - index[starts[-1]] >= _SPAN:
            starts.append(k)

    def part(rows: NDArray[np.int64]) -> R:
        return take(source.read(slice(int(rows[0]), int(rows[-1]) + 1)), rows - rows[0])

    return join(Pieces(len(index), (part(rows) for rows in np.split(index, starts[1:]))))


def join(whole: Pieces[R]) -> R:
    """The pieces as one record in memory; it is filled as they come, so that they are not all held twice."""
    arrays: dict[str, NDArray[Any]] = {}
    first: R | None = None
    done = 0
    for piece in whole.pieces:
        axes = {name: spec.dims.index("T") for name, spec in array_specs(type(piece)).items() if "T" in spec.dims}
        values = {name: getattr(piece, name) for name in axes}
        rows = next(values[name].shape[axis] for name, axis in axes.items())
        if first is None:
            first = piece
            for name, axis in axes.items() if rows < whole.length else ():
                shape = values[name].shape
                arrays[name] = np.empty((*shape[:axis], whole.length, *shape[axis + 1 :]), values[name].dtype)
        for name, target in arrays.items():
            target[(slice(None),) * axes[name] + (slice(done, done + rows),)] = values[name]
        done += rows
    if first is None or done != whole.length:
        raise ValueError(f"pieces of {done} rows where {whole.length} were announced")
    return replace(first, **arrays) if arrays else first  # type: ignore[type-var]


def spans(length: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows that cover `length` rows."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
