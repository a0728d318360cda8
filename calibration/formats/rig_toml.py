"""Rig TOML: the keys that Anipose, FreeMoCap and Pose2Sim share, in metres.

``[cam_0] name size matrix distortions rotation translation``; ``x_camera = R x_world + t`` with the
rotation as a vector (radians). Extra keys are allowed. ``[metadata] units`` may say mm or cm.
"""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError

logger = logging.getLogger(__name__)

_REQUIRED = ("matrix", "distortions", "rotation", "translation", "size")
_METRES = {"m": 1.0, "metres": 1.0, "meters": 1.0, "cm": 0.01, "mm": 0.001}


def read_rig_toml(path: Path) -> CameraRig:
    """Read a rig.

    Raises
    ------
    CalibrationError
        Not TOML, no camera, missing keys, wrong shapes, unknown units.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CalibrationError("not a TOML file", found=str(error), where=str(path)) from error
    metadata = document.get("metadata", {})
    units = str(metadata.get("units", "m")).lower() if isinstance(metadata, dict) else "m"
    if units not in _METRES:
        raise CalibrationError("unknown units", expected=", ".join(_METRES), found=units, where=str(path))
    tables = {k: v for k, v in document.items() if isinstance(v, dict) and "matrix" in v}
    if not tables:
        raise CalibrationError(
            "no camera in the file",
            expected="tables [cam_0], [cam_1], ... with name, size, matrix, distortions, rotation, translation",
            found=f"tables {', '.join(document) or 'none'}",
            where=str(path),
        )
    cameras = [_camera(key, table, _METRES[units], path) for key, table in tables.items()]
    world = str(metadata.get("world", f"as in {path.name}")) if isinstance(metadata, dict) else f"as in {path.name}"
    rig = CameraRig(tuple(cameras), world_source=world)
    _check_scale(rig, path)
    return rig


def _camera(key: str, table: dict[str, Any], metres: float, path: Path) -> Camera:
    missing = [k for k in _REQUIRED if k not in table]
    if missing:
        raise CalibrationError(f"[{key}] lacks {', '.join(missing)}", expected=", ".join(_REQUIRED), where=str(path))
    try:
        rotation = np.array(table["rotation"], dtype=np.float64)
        R = rotation if rotation.shape == (3, 3) else Rotation.from_rotvec(rotation.ravel()).as_matrix()
        distortion = np.array(table["distortions"], dtype=np.float64).ravel()
        fisheye = bool(table.get("fisheye", False))
        if distortion.size > 5:
            raise CalibrationError(
                f"[{key}] has {distortion.size} distortion coefficients",
                expected="at most 5: k1 k2 p1 p2 k3 (or k1 k2 k3 k4 with fisheye = true)",
                where=str(path),
            )
        return Camera(
            name=str(table.get("name", key)),
            size=(table["size"][0], table["size"][1]),
            K=np.array(table["matrix"], dtype=np.float64),
            distortion=np.pad(distortion, (0, 5 - distortion.size)),
            R=R,
            t=np.array(table["translation"], dtype=np.float64).ravel() * metres,
            lens=Lens.FISHEYE if fisheye else Lens.BROWN_CONRADY,
        )
    except (TypeError, ValueError, IndexError) as error:
        raise CalibrationError(f"[{key}] holds values of the wrong kind", found=str(error), where=str(path)) from error
    except CalibrationError as error:
        if error.where is None:
            raise CalibrationError(
                error.problem, expected=error.expected, found=error.found, where=str(path), hint=error.hint
            ) from error
        raise


def _check_scale(rig: CameraRig, path: Path) -> None:
    """Refuse millimetres read as metres: no studio is hundreds of metres across."""
    if len(rig) < 2:
        return
    spread = float(np.linalg.norm(rig.centres - rig.centres.mean(0), axis=1).max())
    if spread > 300:
        raise CalibrationError(
            "the cameras are implausibly far apart",
            expected="translations in metres",
            found=f"{spread:.0f} m from the middle of the rig to the farthest camera",
            where=str(path),
            hint='if the file is in millimetres, add [metadata] units = "mm"',
        )


def write_rig_toml(rig: CameraRig, path: Path) -> None:
    """Write a rig that `read_rig_toml` reads back to the same numbers."""
    document = tomlkit.document()
    for i, camera in enumerate(rig.cameras):
        table = tomlkit.table()
        table["name"] = camera.name
        table["size"] = list(camera.size)
        table["matrix"] = camera.K.tolist()
        fisheye = camera.lens is Lens.FISHEYE
        table["distortions"] = camera.distortion[: 4 if fisheye else 5].tolist()
        table["rotation"] = Rotation.from_matrix(camera.R).as_rotvec().tolist()
        table["translation"] = camera.t.tolist()
        if fisheye:
            table["fisheye"] = True
        document[f"cam_{i}"] = table
    metadata = tomlkit.table()
    metadata["units"] = "m"
    metadata["world"] = rig.world_source
    document["metadata"] = metadata
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
