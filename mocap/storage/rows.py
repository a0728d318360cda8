"""Records on disk a span of rows at a time: read so, and written as they are made."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from mocap.arrays import Record, array_specs
from mocap.rows import Pieces, join
from mocap.storage.atomic import atomic_path
from mocap.storage.chunks import write_chunks
from mocap.storage.hdf5 import Provenance, create_dataset, read_rows, write_attributes, write_record

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class StoredRows(Generic[R]):
    """The rows of a record on disk (see `mocap.rows.Rows`); only the chunks that hold them are read.

    Parameters
    ----------
    path : Path
    kind : type
        Of the record.
    """

    path: Path
    kind: type[R]

    @cached_property
    def head(self) -> R:
        """The record without any frame."""
        return self.read(slice(0, 0))

    @cached_property
    def frames(self) -> NDArray[np.int64]:
        """Frame numbers [T]."""
        with h5py.File(self.path, "r") as file:
            return np.asarray(file["frames"][()], np.int64)

    def read(self, rows: slice) -> R:
        """Some of the rows.

        Raises
        ------
        StorageError
            As `mocap.storage.hdf5.read_record`.
        """
        return read_rows(self.path, self.kind, rows)


def write_pieces(path: Path, whole: Pieces[R], provenance: Provenance | None = None) -> None:
    """Write a record atomically while it is made; memory holds some pieces at a time.

    A record of one piece is written as `write_record` does. Longer ones are written chunk by chunk: other bytes,
    equal content, and equal bytes for equal pieces.

    Raises
    ------
    StorageError
        The folder cannot be written or the disk is full; nothing stays in that case, nor when a piece cannot
        be made.
    """
    pieces = iter(whole.pieces)
    first = next(pieces)
    if _rows(first) == whole.length:
        write_record(path, join(Pieces(whole.length, chain([first], pieces))), provenance)
        return
    with atomic_path(path) as temporary, _Guarded(temporary) as target:
        try:
            _write(target, chain([first], pieces), first, whole.length, provenance)
        except Exception:
            target.check()  # what HDF5 says of a file that lost a write is not why
            raise
        target.check()


def _write(
    target: _Guarded, pieces: Iterator[R], first: R, length: int, provenance: Provenance | None
) -> None:  # fmt: skip
    """Write pieces, of which `first` tells all but the length, to an open file."""
    with h5py.File(target, "w", libver="v110", track_order=False) as file:
        write_attributes(file, first, provenance)
        columns = _columns(file, first, length)
        written = 0
        for piece in pieces:
            written += _rows(piece)
            _add(columns, piece)
            target.check()
        if written != length:
            raise ValueError(f"pieces of {written} rows where {length} were announced")
        for column in columns:
            column.flush(last=True)


def _rows(record: Record) -> int:
    return len(record.frames)  # type: ignore[attr-defined]


@dataclass(eq=False)
class _Column:
    """A dataset that grows along an axis, chunk by chunk; `held` are rows that do not fill a chunk yet."""

    name: str
    dataset: h5py.Dataset
    axis: int
    held: list[NDArray[Any]]
    done: int = 0

    def flush(self, last: bool = False) -> None:
        """Write the chunks that are full, or all there is."""
        count = sum(part.shape[self.axis] for part in self.held)
        if self.dataset.chunks is None:
            if last:
                self.dataset[...] = np.concatenate(self.held, self.axis)
            return
        length = self.dataset.chunks[self.axis]
        full = count if last else count - count % length
        if not full:
            return
        rows = np.concatenate(self.held, self.axis)
        before = (slice(None),) * self.axis
        write_chunks(self.dataset, rows[(*before, slice(0, full))], self.axis, self.done)
        self.done += full
        self.held = [rows[(*before, slice(full, count))].copy()]


def _columns(file: h5py.File, first: Record, length: int) -> list[_Column]:
    """All datasets; those without a time axis are written at once."""
    columns = []
    for name, spec in array_specs(type(first)).items():
        value = getattr(first, name)
        if "T" not in spec.dims:
            dataset = create_dataset(file, name, spec, value.shape, value.dtype)
            if dataset.chunks is None:
                dataset[...] = value
            else:
                write_chunks(dataset, value, 0)
            continue
        axis = spec.dims.index("T")
        shape = (*value.shape[:axis], length, *value.shape[axis + 1 :])
        columns.append(_Column(name, create_dataset(file, name, spec, shape, value.dtype), axis, []))
    return columns


def _add(columns: list[_Column], piece: Record) -> None:
    for column in columns:
        column.held.append(getattr(piece, column.name))
        column.flush()


class _Guarded(io.FileIO):
    """A file whose write errors wait until they are asked for.

    HDF5 can take the whole process down when a write fails while it closes a file; so it is never told.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def write(self, content: Any) -> int:
        """As of a file; what cannot be written is dropped."""
        view = memoryview(content).cast("B")
        done = 0
        try:
            while self._error is None and done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self._error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """As of a file."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def check(self) -> None:
        """Raise the first error there was."""
        if self._error is not None:
            raise self._error
