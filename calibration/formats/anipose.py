"""Anipose's calibration.toml.

The rig TOML's keys; lengths are in the unit in which the board was described to Anipose, which the
file does not say. Metres are assumed unless a unit is given, and refused when that cannot be.
"""

from __future__ import annotations

from pathlib import Path

import tomlkit

from calibration.camera import CameraRig
from calibration.formats.common import Imported, ReadOptions
from calibration.formats.rig_toml import camera_table, import_rig_toml


def read_anipose(path: Path, options: ReadOptions) -> Imported:
    """Read a calibration; `options.metres_per_unit` is the board's unit.

    Raises
    ------
    CalibrationError
        As `read_rig_toml`.
    """
    return import_rig_toml(path, options)


def write_anipose(rig: CameraRig, path: Path) -> tuple[str, ...]:
    """Write a calibration in metres; returns what the format cannot hold."""
    document = tomlkit.document()
    for i, camera in enumerate(rig.cameras):
        document[f"cam_{i}"] = camera_table(camera)
    metadata = tomlkit.table()
    metadata["adjusted"] = False
    metadata["error"] = 0.0
    metadata["units"] = "m"
    document["metadata"] = metadata
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    return ()
