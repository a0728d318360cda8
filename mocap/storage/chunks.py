"""Arrays chunk by chunk, on all cores, to and from HDF5's own shuffle + deflate format.

HDF5 itself works on one core, and when compressing it searches for repeated byte strings, which shuffled floats do not
have. Deflate that only looks for runs gives the same size at about three times the speed, and every
HDF5 program reads it.
"""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_MAX_THREADS = 8
FILTERS: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""What readers are told; the level is only a note."""


def write_chunks(dataset: h5py.Dataset, value: NDArray[Any], axis: int) -> None:
    """Fill a chunked dataset that was created with `FILTERS`.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of the value's shape and type, in chunks that part it along one axis.
    value : array
    axis : int
        The axis along which it is parted.
    """
    shape = dataset.chunks
    starts = range(0, value.shape[axis], shape[axis])

    def compress(start: int) -> bytes:
        part = value[(slice(None),) * axis + (slice(start, start + shape[axis]),)]
        if part.shape != shape:  # the last chunk is stored whole, filled up with zeros
            whole = np.zeros(shape, value.dtype)
            whole[tuple(slice(n) for n in part.shape)] = part
            part = whole
        return _deflate(_shuffle(part))

    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1, _MAX_THREADS)) as pool:
        for start, packed in zip(starts, pool.map(compress, starts), strict=True):
            offset = [0] * value.ndim
            offset[axis] = start
            dataset.id.write_direct_chunk(tuple(offset), packed)


def read_chunks(dataset: h5py.Dataset, axis: int, rows: slice) -> NDArray[Any]:
    """Read a span along one axis; any layout is read, that of `write_chunks` on all cores.

    Parameters
    ----------
    dataset : h5py.Dataset
    axis : int
        The axis that `rows` goes along and the chunks part.
    rows : slice
        Bounds within the axis, as `slice.indices` gives them, step 1.

    Raises
    ------
    ValueError, OSError
        A damaged chunk.
    """
    start, stop, _ = rows.indices(dataset.shape[axis])
    if not _is_ours(dataset, axis) or stop <= start:
        return np.asarray(dataset[(slice(None),) * axis + (slice(start, max(start, stop)),)])
    length = dataset.chunks[axis]
    whole = np.empty((*dataset.shape[:axis], stop - start, *dataset.shape[axis + 1 :]), dataset.dtype)
    before = (slice(None),) * axis

    def fill(first: int) -> None:
        mask, packed = dataset.id.read_direct_chunk((*(0,) * axis, first, *(0,) * (dataset.ndim - axis - 1)))
        if mask:
            raise ValueError("a chunk lacks a filter")
        part = _unshuffle(packed, dataset.dtype).reshape(dataset.chunks)
        a, b = max(first, start), min(first + length, stop)
        whole[(*before, slice(a - start, b - start))] = part[(*before, slice(a - first, b - first))]

    starts = range(start - start % length, stop, length)
    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1, _MAX_THREADS)) as pool:
        for _ in pool.map(fill, starts):
            pass
    return whole


def _is_ours(dataset: h5py.Dataset, axis: int) -> bool:
    """Whether the chunks part this axis only and are shuffled and deflated, and nothing else."""
    if dataset.chunks is None or dataset.compression != "gzip" or not dataset.shuffle:
        return False
    others = [c == n for i, (c, n) in enumerate(zip(dataset.chunks, dataset.shape, strict=True)) if i != axis]
    return all(others) and dataset.id.get_create_plist().get_nfilters() == 2 and dataset.dtype.isnative


def _unshuffle(packed: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        as_bytes = np.frombuffer(zlib.decompress(packed), np.uint8)
    except zlib.error as error:
        raise ValueError(f"a damaged chunk ({error})") from error
    return np.ascontiguousarray(as_bytes.reshape(dtype.itemsize, -1).T).reshape(-1).view(dtype)


def _shuffle(part: NDArray[Any]) -> NDArray[np.uint8]:
    """All first bytes, then all second bytes, ...: HDF5's shuffle filter."""
    as_bytes = np.ascontiguousarray(part).reshape(-1).view(np.uint8).reshape(-1, part.dtype.itemsize)
    return np.ascontiguousarray(as_bytes.T)


def _deflate(content: NDArray[np.uint8]) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(content.data) + packer.flush()
