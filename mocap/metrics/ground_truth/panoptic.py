"""CMU Panoptic: body3DScene_*.json.

Joo et al., Panoptic Studio (PAMI 41, 2019). One file per frame; centimetres in the axes of the data
set's own calibration (y down), which are kept, so that cameras of that calibration fit.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from mocap.errors import DataError
from mocap.metrics.joint_sets import PANOPTIC_19
from mocap.metrics.poses import Poses3D

_RATES = {"hd": 29.97, "vga": 25.0}


def read_panoptic(path: Path) -> Poses3D:
    """Bodies of a folder of JSON files, or of one file.

    Frame numbers are those in the file names. Joints with a confidence of 0 or less are missing.

    Raises
    ------
    DataError
        No such files, or files of another form.
    """
    files = sorted(path.glob("body3DScene_*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError("no poses in the folder", expected="body3DScene_*.json", where=str(path))
    scenes = [(_number(f), _load(f)) for f in files]
    ids = sorted({int(b["id"]) for _, scene in scenes for b in scene["bodies"]})
    positions = np.full((len(scenes), len(ids), 19, 3), np.nan)
    for t, (_, scene) in enumerate(scenes):
        for body in scene["bodies"]:
            positions[t, ids.index(int(body["id"]))] = _joints(body, files[t])
    kind = str(scenes[0][1].get("fpsType", "")).partition("_")[0]
    return Poses3D(
        positions, np.array(ids, np.int64), np.array([n for n, _ in scenes]), PANOPTIC_19.joints,
        _RATES.get(kind, float("nan")), str(path),
    )  # fmt: skip


def _number(file: Path) -> int:
    digits = re.findall(r"\d+", file.stem.removeprefix("body3DScene"))
    return int(digits[-1]) if digits else 0


def _load(file: Path) -> dict[str, Any]:
    try:
        scene = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError("not a readable JSON file", found=str(error), where=str(file)) from error
    if not isinstance(scene, dict) or not isinstance(scene.get("bodies"), list):
        raise DataError("not a CMU Panoptic scene", expected="bodies with id and joints19", where=str(file))
    return scene


def _joints(body: dict[str, Any], file: Path) -> np.ndarray[Any, Any]:
    try:
        values = np.asarray(body["joints19"], np.float64).reshape(19, 4)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError("a body of another form", expected="joints19: 19 x (x, y, z, confidence)", found=str(error),
                        where=str(file)) from error  # fmt: skip
    return np.where(values[:, 3:] > 0, values[:, :3] / 100, np.nan)
