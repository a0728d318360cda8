"""Kalibr's camchain.yaml.

``cam0: camera_model intrinsics [fx fy cx cy] distortion_model distortion_coeffs resolution``, and from cam1
on ``T_cn_cnm1``, the pose of the camera before in this camera, metres. The world is cam0.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from calibration.camera import Lens
from calibration.errors import CalibrationError
from calibration.formats.common import (
    Array,
    Imported,
    ReadOptions,
    lens_coefficients,
    make_camera,
    make_rig,
    numbers,
    pinhole,
    require,
    size_of,
    table,
)
from calibration.formats.opencv_yaml import read_yaml

_LENSES = {"radtan": Lens.BROWN_CONRADY, "none": Lens.BROWN_CONRADY, "equidistant": Lens.FISHEYE}
_KEYS = ("camera_model", "intrinsics", "distortion_model", "distortion_coeffs", "resolution")


def is_kalibr(content: dict[str, Any]) -> bool:
    """Whether parsed YAML is of this format."""
    return isinstance(content.get("cam0"), dict) and "intrinsics" in content["cam0"]


def read_kalibr(path: Path, options: ReadOptions) -> Imported:
    """Read the chain of cameras.

    Raises
    ------
    CalibrationError
        Not YAML, no camera, a camera or lens model other than pinhole with radtan or equidistant, missing values.
    """
    content = read_yaml(path)
    keys = sorted((k for k in content if re.fullmatch(r"cam\d+", k)), key=lambda k: int(k[3:]))
    if keys != [f"cam{i}" for i in range(len(keys))] or not keys:
        raise CalibrationError(
            "no chain of cameras", expected="cam0, cam1, ...", found=", ".join(content) or "nothing", where=str(path)
        )
    cameras = []
    R, t = np.eye(3), np.zeros(3)
    for i, key in enumerate(keys):
        entry = table(content[key], key, path)
        require(entry, _KEYS, key, path)
        if i > 0:
            require(entry, ("T_cn_cnm1",), key, path)
            step = _transform(entry["T_cn_cnm1"], f"{key} T_cn_cnm1", path)
            R, t = step[:3, :3] @ R, step[:3, :3] @ t + step[:3, 3] * options.unit(1.0)
        lens = _lens(entry, key, path)
        fx, fy, cx, cy = numbers(entry["intrinsics"], (4,), f"{key} intrinsics", path)
        # A model without distortion may carry an empty list.
        coefficients = entry["distortion_coeffs"] if entry["distortion_model"] != "none" else []
        cameras.append(
            make_camera(
                key,
                size_of(entry["resolution"], f"{key} resolution", path),
                pinhole(fx, fy, cx, cy),
                lens_coefficients(coefficients, lens, f"{key} distortion_coeffs", path),
                R, t, path, lens,
            )
        )  # fmt: skip
    imported = make_rig(cameras, f"Kalibr: the camera cam0 of {path.name} (its axes, not z up)", path, options)
    return Imported(imported.rig, (*imported.notes, "the world is cam0's: x right, y down (--up -y makes it z up)"))


def _transform(value: Any, what: str, path: Path) -> Array:
    T = numbers(value, (4, 4), what, path)
    if np.abs(T[3] - (0, 0, 0, 1)).max() > 1e-9:
        raise CalibrationError(f"{what} is no rigid transform", expected="last row 0 0 0 1", where=str(path))
    return T


def _lens(entry: dict[str, Any], key: str, path: Path) -> Lens:
    model, distortion = str(entry["camera_model"]), str(entry["distortion_model"])
    if model != "pinhole" or distortion not in _LENSES:
        raise CalibrationError(
            f"{key}: a camera model that is not supported",
            expected="pinhole with radtan, equidistant or none",
            found=f"{model} with {distortion}",
            where=str(path),
            hint="calibrate with Kalibr's pinhole-radtan or pinhole-equi",
        )
    return _LENSES[distortion]
