"""Arrays chunk by chunk, on all cores, to and from HDF5's own shuffle + deflate format.

HDF5 itself works on one core, and treats all bytes of a float alike. Here each of the byte planes that
shuffling makes (all first bytes, all second bytes, ...) is coded as suits it: noise is stored, exponents
are searched for repetitions, a constant costs nothing. It is still one deflate stream per chunk, which
every HDF5 program reads.
"""

from __future__ import annotations

import math
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

_MAX_THREADS = 8
_HEADER = b"\x78\x01"
_LONGEST_STORED = 0xFFFF
_SAMPLE = 4096
FILTERS: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""What readers are told; the level is only a note."""


def write_chunks(dataset: h5py.Dataset, value: NDArray[Any], axis: int, first: int = 0) -> None:
    """Fill a chunked dataset, or consecutive chunks of it, that was created with `FILTERS`.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of the value's type and, but for the length along the axis, shape, in chunks that part it along one axis.
    value : array
    axis : int
        The axis along which it is parted.
    first : int
        Place along the axis that the value begins at: that of a chunk.
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
            offset[axis] = first + start
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
    planes_of_whole = whole.view(np.uint8).reshape(*whole.shape, whole.itemsize)
    before = (slice(None),) * axis

    def fill(first: int) -> None:
        mask, packed = dataset.id.read_direct_chunk((*(0,) * axis, first, *(0,) * (dataset.ndim - axis - 1)))
        if mask:
            raise ValueError("a chunk lacks a filter")
        planes = _inflate(packed, math.prod(dataset.chunks) * whole.itemsize).reshape(-1, *dataset.chunks)
        a, b = max(first, start), min(first + length, stop)
        for n, plane in enumerate(planes):  # puts the bytes of each number together again
            planes_of_whole[(*before, slice(a - start, b - start))][..., n] = plane[
                (*before, slice(a - first, b - first))
            ]

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


def _inflate(packed: bytes, size: int) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(zlib.decompress(packed, bufsize=size), np.uint8)
    except zlib.error as error:
        raise ValueError(f"a damaged chunk ({error})") from error


def _shuffle(part: NDArray[Any]) -> NDArray[np.uint8]:
    """All first bytes, then all second bytes, ...: HDF5's shuffle filter."""
    as_bytes = np.ascontiguousarray(part).reshape(-1).view(np.uint8).reshape(-1, part.dtype.itemsize)
    return np.ascontiguousarray(as_bytes.T)


def _deflate(planes: NDArray[np.uint8]) -> bytes:
    """One zlib stream of all byte planes, each coded as suits it.

    The noise in the lower bytes of measured floats cannot be made smaller, and trying takes almost all
    of the time: such planes are stored as they are.
    """
    parts = [_HEADER]
    for plane in planes:
        if (plane == plane[:1]).all():
            parts.append(_constant(int(plane[0]), plane.size) if plane.size else b"")
        elif _is_noise(plane):
            parts += _stored(plane)
        else:
            parts.append(_coded(plane))
    # RFC 1950: the stream ends with an empty last block and the checksum of what was packed.
    return b"".join((*parts, b"\x03\x00", zlib.adler32(planes.data).to_bytes(4, "big")))


def _is_noise(plane: NDArray[np.uint8]) -> bool:
    """Whether the bytes of a plane are spread so evenly that coding them is not worth it.

    Two bytes that are drawn at random agree with probability 1/256 when all values are equally
    frequent; from 1/64 on (6 bits of collision entropy) coding pays. Counted in whole numbers, so
    that every machine decides alike.
    """
    sample = plane[:: max(1, plane.size // _SAMPLE)]
    counts = np.bincount(sample, minlength=256)
    return bool(64 * int(counts @ counts) < sample.size**2)


def _coded(plane: NDArray[np.uint8]) -> bytes:
    """Coded by repeated strings where there are any (exponents), else by runs and frequencies, which is faster."""
    middle = plane.size // 2
    sample = plane[middle : middle + _SAMPLE]
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE)
    best = min(strategies, key=lambda strategy: len(_segment(sample.data, strategy)))
    return _segment(plane.data, best)


def _segment(content: bytes | memoryview, strategy: int) -> bytes:
    """Part of a deflate stream that ends on a byte and refers to nothing before it."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)


@lru_cache(maxsize=64)
def _constant(value: int, length: int) -> bytes:
    return _segment(bytes([value]) * length, zlib.Z_DEFAULT_STRATEGY)


def _stored(plane: NDArray[np.uint8]) -> list[bytes]:
    """Stored blocks (RFC 1951, 3.2.4)."""
    parts = []
    for start in range(0, plane.size, _LONGEST_STORED):
        block = plane[start : start + _LONGEST_STORED].tobytes()
        size = len(block)
        parts += [b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little"), block]
    return parts
