"""VoxelPose's calibration JSON (Shelf, Campus).

By camera name: ``R``, ``T`` = the camera's CENTRE in mm (x = R (X - T)), ``fx fy cx cy``, ``k`` = k1 k2 k3,
``p`` = p1 p2. No image size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from calibration.camera import Camera
from calibration.formats.common import (
    MILLIMETRE,
    Imported,
    ReadOptions,
    given_size,
    make_camera,
    make_rig,
    numbers,
    pinhole,
    read_json,
    require,
    rotation,
    size_of,
    table,
)

_KEYS = ("R", "T", "fx", "fy", "cx", "cy", "k", "p")


def is_voxelpose(content: Any) -> bool:
    """Whether parsed JSON is of this format."""
    rows = list(content.values()) if isinstance(content, dict) else []
    return bool(rows) and all(isinstance(r, dict) and {"R", "T", "fx", "k"} <= r.keys() for r in rows)


def read_voxelpose(path: Path, options: ReadOptions) -> Imported:
    """Read all cameras.

    Raises
    ------
    CalibrationError
        Not JSON, missing or wrong values (named with the camera), or no image size is known.
    """
    content = table(read_json(path), "the file", path)
    cameras = [_camera(name, table(row, f"camera {name}", path), path, options) for name, row in content.items()]
    return make_rig(cameras, f"as in {path.name}", path, options)


def _camera(name: str, row: dict[str, Any], path: Path, options: ReadOptions) -> Camera:
    what = f"camera {name}"
    require(row, _KEYS, what, path)
    fx, fy, cx, cy = (float(numbers(row[key], (1,), f"{what} {key}", path)[0]) for key in ("fx", "fy", "cx", "cy"))
    k1, k2, k3 = numbers(row["k"], (3,), f"{what} k", path)
    p1, p2 = numbers(row["p"], (2,), f"{what} p", path)
    R = rotation(row["R"], f"{what} R", path)
    centre = numbers(row["T"], (3,), f"{what} T", path) * options.unit(MILLIMETRE)
    if "width" in row and "height" in row and name not in options.image_sizes and options.image_size is None:
        size = size_of([row["width"], row["height"]], f"{what} width, height", path)
    else:
        size = given_size(name, options, path, "VoxelPose's calibration")
    return make_camera(name, size, pinhole(fx, fy, cx, cy), np.array([k1, k2, p1, p2, k3]), R, -R @ centre, path)
