"""Pose2Sim's Calib.toml: the rig TOML's keys, metres, world z up.

Pose2Sim's own files hold k1 k2 p1 p2 only; its readers pass any number of coefficients to OpenCV,
so k3 is written where there is one and nothing is lost.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tomlkit

from calibration.camera import CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.formats.common import Imported, ReadOptions
from calibration.formats.rig_toml import camera_table, import_rig_toml


def read_pose2sim(path: Path, options: ReadOptions) -> Imported:
    """Read a calibration.

    Raises
    ------
    CalibrationError
        As `read_rig_toml`.
    """
    return import_rig_toml(path, options)


def write_pose2sim(rig: CameraRig, path: Path) -> tuple[str, ...]:
    """Write a calibration; returns what the reader should know.

    Raises
    ------
    CalibrationError
        A fisheye camera, which Pose2Sim has no model for.
    """
    document = tomlkit.document()
    for i, camera in enumerate(rig.cameras):
        if camera.lens is Lens.FISHEYE:
            raise CalibrationError(
                f"Pose2Sim has no fisheye model (camera {camera.name!r})", where=str(path), hint="use --to anipose"
            )
        entry = camera_table(camera, coefficients=5 if camera.distortion[4] else 4)
        entry["fisheye"] = False
        document[f"cam_{i}"] = entry
    # Pose2Sim numbers its tables as they come: the one that is no camera must be the last.
    metadata = tomlkit.table()
    metadata["adjusted"] = False
    metadata["error"] = 0.0
    document["metadata"] = metadata
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    return ("k3 is written as a fifth coefficient",) if np.any(rig.distortion[:, 4]) else ()
