"""Fields of a record that are arrays: their axes, units, frame and storage type, said once.

The declaration serves three readers: people, the shape check when a record is made, and the
HDF5 schema in `mocap.storage`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from mocap.errors import DataError


@dataclass(frozen=True)
class ArraySpec:
    """What a field holds.

    Attributes
    ----------
    dims : tuple of str
        One entry per axis: a letter (V views, T frames, P persons, J joints, ...) that must have the
        same length wherever it occurs in the record, or a number.
    dtype : str
        NumPy type in memory and on disk.
    units, frame : str
        Units of the values and the coordinate frame they are in.
    """

    dims: tuple[str, ...]
    dtype: str
    units: str = ""
    frame: str = ""


def array(dims: str, dtype: str = "f4", *, units: str = "", frame: str = "", optional: bool = False) -> Any:
    """Declare a dataclass field that holds an array with the given axes, e.g. ``"V T P J 2"``.

    An optional one is None unless given; the record's `__post_init__` has to fill it before the check.
    """
    metadata = {"array": ArraySpec(tuple(dims.split()), dtype, units, frame)}
    return field(default=None, metadata=metadata) if optional else field(metadata=metadata)


def array_specs(kind: type) -> dict[str, ArraySpec]:
    """The declared array fields of a record type, in order."""
    return {f.name: f.metadata["array"] for f in fields(kind) if "array" in f.metadata}


class Record:
    """Base of the frozen records: converts and checks declared arrays when made."""

    def __post_init__(self) -> None:
        self._check_arrays()

    def _check_arrays(self) -> None:
        lengths: dict[str, int] = {}
        for name, spec in array_specs(type(self)).items():
            value = np.ascontiguousarray(getattr(self, name), dtype=spec.dtype)
            where = f"{type(self).__name__}.{name}"
            if value.ndim != len(spec.dims):
                raise DataError(
                    "wrong number of axes", expected=" ".join(spec.dims), found=f"{value.shape}", where=where
                )
            for dim, length in zip(spec.dims, value.shape, strict=True):
                wanted = int(dim) if dim.isdigit() else lengths.setdefault(dim, length)
                if wanted != length:
                    found = f"{value.shape} where {dim} is {wanted}"
                    raise DataError("axes do not fit", expected=" ".join(spec.dims), found=found, where=where)
            object.__setattr__(self, name, value)
        for name, dim in self.LABELS.items():
            labels = tuple(str(s) for s in getattr(self, name))
            object.__setattr__(self, name, labels)
            if len(labels) != lengths.get(dim, len(labels)):
                raise DataError(
                    "labels do not fit the arrays", expected=f"{lengths[dim]} along {dim}",
                    found=f"{len(labels)}", where=f"{type(self).__name__}.{name}",
                )  # fmt: skip

    # Tuple-of-str fields and the axis they label.
    LABELS: ClassVar[dict[str, str]] = {}
