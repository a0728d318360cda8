"""Pickles of numbers, read without executing anything.

A pickle is a program; `pickle.load` runs what it names. Here only the names by which NumPy stores
arrays, scalars and dtypes resolve, and they resolve to stand-ins that keep their arguments; arrays are
made from the stored bytes afterwards, of numeric dtypes only. Every other name is refused.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import CalibrationError

_NUMERIC = {f"{kind}{width}" for kind in "iuf" for width in (1, 2, 4, 8)} - {"f1"} | {"b1"}
_MAX_ITEMS = 1_000_000


class _Ndarray:
    """Stands for the type numpy.ndarray where it is only named."""


class _Dtype:
    def __init__(self, code: str = "", *_: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "<"

    def numpy(self) -> np.dtype[Any]:
        if self.code not in _NUMERIC:
            raise pickle.UnpicklingError(f"an array of {self.code!r}, not of numbers")
        return np.dtype(self.order + self.code)


class _Array:
    """Keeps what a pickled array consists of; `numpy` builds it."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype, self.fortran, self.data = _Dtype(), False, b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def numpy(self) -> Any:
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        if not isinstance(self.dtype, _Dtype) or not isinstance(data, bytes | bytearray):
            raise pickle.UnpicklingError("an array that does not consist of numbers")
        values = np.frombuffer(data, self.dtype.numpy())
        if values.size > _MAX_ITEMS:
            raise pickle.UnpicklingError("an array far larger than a calibration")
        return values.reshape(self.shape, order="F" if self.fortran else "C")


def _scalar(dtype: _Dtype, data: bytes | str) -> Any:
    array = _Array()
    array.shape, array.dtype, array.data = (1,), dtype, data  # type: ignore[assignment]
    return array.numpy()[0]


def _from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.shape, array.dtype, array.fortran, array.data = shape, dtype, order == "F", bytes(data)
    return array


def _latin1(text: str, *_: object) -> bytes:
    """What protocol 2 calls, with an encoding that is always latin1, to make bytes."""
    return str(text).encode("latin-1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not data") from None


def load_plain(content: bytes, path: Path) -> Any:
    """Dictionaries, lists, numbers, texts and numeric arrays in a pickle.

    Parameters
    ----------
    content : bytes
    path : Path
        For messages.

    Raises
    ------
    CalibrationError
        Not a pickle, damaged, or one that holds anything else; nothing of it was executed.
    """
    try:
        loaded = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
        return _built(loaded)
    # A damaged or hostile program can fail in any of these ways; none of them reaches anything.
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError,
        AttributeError, MemoryError, OverflowError, RecursionError, UnicodeError,
    ) as error:  # fmt: skip
        raise CalibrationError(
            "not a pickle of plain numbers; nothing in it was executed",
            expected="a dictionary of NumPy arrays and numbers",
            found=str(error) or type(error).__name__,
            where=str(path),
        ) from error


def _built(value: Any) -> Any:
    """`value` with its stand-ins replaced by arrays."""
    if isinstance(value, _Array):
        return value.numpy()
    if isinstance(value, dict):
        return {k: _built(v) for k, v in value.items() if isinstance(k, str | int | float)}
    if isinstance(value, list | tuple):
        return [_built(v) for v in value]
    if isinstance(value, str | bytes | int | float | bool | np.generic) or value is None:
        return value
    raise pickle.UnpicklingError(f"it holds a {type(value).__name__}, which is not data")
