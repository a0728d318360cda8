"""FreeMoCap's camera_calibration.toml.

The rig TOML's keys in millimetres, with ``id``, ``world_position`` (the camera's centre) and
``world_orientation`` (camera to world), by which the format is told from its kin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibration.formats.common import MILLIMETRE, Imported, ReadOptions, numbers
from calibration.formats.rig_toml import camera_tables, import_rig_toml, parse_toml

MARKS = ("world_position", "world_orientation")

# Relative to the distance from the origin.
_AGREES = 1e-2


def read_freemocap(path: Path, options: ReadOptions) -> Imported:
    """Read a calibration.

    Raises
    ------
    CalibrationError
        As `read_rig_toml`.
    """
    imported = import_rig_toml(path, options, usual_unit=MILLIMETRE)
    notes = list(imported.notes)
    for (key, entry), camera in zip(camera_tables(parse_toml(path), path).items(), imported.rig.cameras, strict=True):
        if "world_position" not in entry:
            continue
        stated = numbers(entry["world_position"], (3,), f"[{key}] world_position", path)
        # The unit cancels: compare in the file's.
        centre = -camera.R.T @ numbers(entry["translation"], (3,), f"[{key}] translation", path)
        if np.linalg.norm(stated - centre) > _AGREES * max(float(np.linalg.norm(centre)), 1.0):
            notes.append(f"camera {camera.name}: world_position contradicts rotation and translation, which are used")
    return Imported(imported.rig, tuple(notes))
