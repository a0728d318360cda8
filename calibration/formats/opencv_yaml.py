"""YAML as plain text and lists: what OpenCV's FileStorage and Kalibr write.

Scalars stay text (PyYAML's base loader): camera names like 01 are no numbers, and tags such as
``!!opencv-matrix`` make nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibration.errors import CalibrationError
from calibration.formats.common import Array, numbers, read_text, require, table


def read_yaml(path: Path) -> dict[str, Any]:
    """The table in a YAML file; CalibrationError when there is none."""
    import yaml  # type: ignore[import-untyped]

    # OpenCV's "%YAML:1.0" is no YAML directive.
    lines = read_text(path).splitlines()
    text = "\n".join("" if line.startswith("%YAML") else line.replace("\t", "    ") for line in lines)
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise CalibrationError("not a YAML file", found=str(error), where=str(path)) from error
    return table(content, "the file", path)


def matrix(value: Any, shape: tuple[int, ...], what: str, path: Path) -> Array:
    """An ``!!opencv-matrix`` as float64 numbers of `shape`."""
    entry = table(value, what, path)
    require(entry, ("rows", "cols", "data"), what, path)
    return numbers(entry["data"], shape, what, path)


def write_matrix(key: str, value: Array) -> str:
    """The lines of an ``!!opencv-matrix`` of doubles, to the last digit."""
    rows, cols = value.shape
    data = ", ".join(repr(float(v)) for v in value.ravel())
    return f"{key}: !!opencv-matrix\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: [ {data} ]\n"
