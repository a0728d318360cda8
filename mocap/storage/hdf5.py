"""Records as HDF5 files: self-describing, chunked, compressed, and equal bytes for equal content.

One file holds one record. Root attributes: ``schema`` (record type), ``schema_version``, the
record's plain fields, and ``provenance``. Each dataset carries ``dims``, ``units`` and ``frame``.
No timestamps are stored.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from mocap.arrays import ArraySpec, Record, array_specs
from mocap.errors import DataError, StorageError
from mocap.storage.atomic import write_bytes
from mocap.storage.chunks import FILTERS, read_chunks, write_chunks

SCHEMA_VERSION = 1
_CHUNK_BYTES = 1 << 20
_UNCHUNKED_BYTES = 4096
_GROWTH_BYTES = 1 << 22

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Provenance:
    """What an artifact was made from.

    Attributes
    ----------
    stage, unit : str
        The stage and, where it is parted, the part.
    key : str
        Content key: hash of everything below.
    stage_version : int
    settings : dict
        The settings the stage used, by name.
    inputs : dict
        Content digest of each input, by name.
    package_version : str
    """

    stage: str
    unit: str
    key: str
    stage_version: int
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    package_version: str = ""


def write_record(path: Path, record: Record, provenance: Provenance | None = None) -> None:
    """Write a record atomically.

    Raises
    ------
    StorageError
        The folder cannot be written or the disk is full; nothing stays in that case.
    """
    write_bytes(path, encode_record(record, provenance))


def encode_record(record: Record, provenance: Provenance | None = None) -> bytes:
    """The bytes of a record's HDF5 file.

    HDF5 builds the file in memory: where it writes to a disk that fills up, it can take the whole
    process down while closing. It tells such files apart by their names, which leave no trace in them:
    two threads must not use the same one.
    """
    name = f"record-{secrets.token_hex(16)}.h5"
    with h5py.File(
        name, "w", driver="core", backing_store=False, block_size=_GROWTH_BYTES, libver="v110", track_order=False
    ) as file:
        _write(file, record, provenance)
        file.flush()
        return bytes(file.id.get_file_image())


def _write(file: h5py.File, record: Record, provenance: Provenance | None) -> None:
    write_attributes(file, record, provenance)
    for name, spec in array_specs(type(record)).items():
        value = getattr(record, name)
        dataset = create_dataset(file, name, spec, value.shape, value.dtype)
        if dataset.chunks is None:
            dataset[...] = value
        else:
            write_chunks(dataset, value, spec.dims.index("T") if "T" in spec.dims else 0)


def write_attributes(file: h5py.File, record: Record, provenance: Provenance | None) -> None:
    """What a file says about its record besides the arrays."""
    file.attrs["schema"] = type(record).__name__
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["provenance"] = json.dumps(asdict(provenance) if provenance else {}, sort_keys=True)
    for f in fields(record):  # type: ignore[arg-type]
        if f.name not in array_specs(type(record)):
            file.attrs[f.name] = json.dumps(getattr(record, f.name))


def create_dataset(
    file: h5py.File, name: str, spec: ArraySpec, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> h5py.Dataset:
    """An empty dataset; one of some size in chunks of about a megabyte along time, so that a span is read alone."""
    size = math.prod(shape) * dtype.itemsize
    if size < _UNCHUNKED_BYTES:
        dataset = file.create_dataset(name, shape, dtype, track_times=False)
    else:
        chunk = list(shape)
        if "T" in spec.dims:
            axis = spec.dims.index("T")
            chunk[axis] = int(min(shape[axis], max(1, _CHUNK_BYTES // max(1, size // shape[axis]))))
        dataset = file.create_dataset(name, shape, dtype, chunks=tuple(chunk), track_times=False, **FILTERS)
    dataset.attrs["dims"] = " ".join(spec.dims)
    dataset.attrs["units"] = spec.units
    dataset.attrs["frame"] = spec.frame
    return dataset


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record of the given type.

    Raises
    ------
    StorageError
        Missing or damaged file, another record type or a newer schema.
    """
    return _read(path, kind, None)


def read_frames(path: Path, kind: type[R], start: int, stop: int) -> R:
    """Read the frames `start` to `stop` (exclusive; frame numbers) of a record with `frames`.

    Only the chunks that hold them are read; fields without a time axis are read whole.

    Raises
    ------
    StorageError
        As `read_record`.
    """
    return _read(path, kind, lambda frames: slice(*np.searchsorted(frames[()], (start, stop)).tolist()))


def read_rows(path: Path, kind: type[R], rows: slice) -> R:
    """Read rows of a record with `frames` by their places in it; else as `read_frames`."""
    return _read(path, kind, lambda _: rows)


def _read(path: Path, kind: type[R], span: Callable[[h5py.Dataset], slice] | None) -> R:
    with _open(path) as file:
        schema, version = str(file.attrs.get("schema", "?")), int(file.attrs.get("schema_version", 0))
        if schema != kind.__name__ or version != SCHEMA_VERSION:
            raise StorageError(
                "an artifact of another kind",
                expected=f"{kind.__name__} version {SCHEMA_VERSION}",
                found=f"{schema} version {version}",
                where=str(path),
                hint="run `mocap run` again; what does not fit is made anew",
            )
        specs = array_specs(kind)
        lacking = [f.name for f in fields(kind) if f.name not in (file if f.name in specs else file.attrs)]  # type: ignore[arg-type]
        if lacking:
            raise _outdated(path, file, kind.__name__, lacking)
        try:
            rows = slice(None) if span is None else span(file["frames"])
            values: dict[str, Any] = {
                name: read_chunks(file[name], *((spec.dims.index("T"), rows) if "T" in spec.dims else (0, slice(None))))
                for name, spec in specs.items()
            }
            for f in fields(kind):  # type: ignore[arg-type]
                if f.name not in specs:
                    values[f.name] = json.loads(str(file.attrs[f.name]))
            return kind(**values)
        except (KeyError, OSError, RuntimeError, ValueError, DataError) as error:
            why = error.problem if isinstance(error, DataError) else str(error)  # what to do is said here
            raise _damaged(path, why) from error


def read_provenance(path: Path) -> Provenance:
    """The provenance stored in an artifact.

    Raises
    ------
    StorageError
        Missing or damaged file, or a file without provenance.
    """
    with _open(path) as file:
        try:
            return Provenance(**json.loads(str(file.attrs["provenance"])))
        except (KeyError, ValueError, TypeError) as error:
            raise _damaged(path, f"no provenance ({error})") from error


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise StorageError("no such artifact", where=str(path), hint="run `mocap run` on the session")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise _damaged(path, str(error)) from error


def _outdated(path: Path, file: h5py.File, kind: str, lacking: list[str]) -> StorageError:
    """An intact file of a layout that had fewer fields; what it holds is kept until the stage is run again."""
    try:
        made = Provenance(**json.loads(str(file.attrs["provenance"])))
        stage, version = made.stage, made.package_version
    except (KeyError, ValueError, TypeError):
        stage = version = ""
    session = path.parents[3] if len(path.parents) > 3 and path.parents[2].name == ".mocap" else "SESSION"
    return StorageError(
        "an artifact made by an older version of the program", expected=f"{kind} with {', '.join(lacking)}",
        found=f"{kind} without" + (f", made by version {version}" if version else ""), where=str(path),
        hint=f"make it anew: mocap run {session} --from {stage or 'STAGE'}",
    )  # fmt: skip


def _damaged(path: Path, why: str) -> StorageError:
    hint = "run `mocap run` again; a damaged artifact is made anew"
    return StorageError("the artifact is damaged", found=why, where=str(path), hint=hint)
