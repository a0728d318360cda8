"""CMU Panoptic's calibration JSON.

``cameras``: list of ``name type resolution K distCoef R t``; world to camera, centimetres. The world's
-y axis points up.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from calibration.camera import Camera, Lens
from calibration.errors import CalibrationError
from calibration.formats.common import (
    CENTIMETRE,
    Imported,
    ReadOptions,
    lens_coefficients,
    make_camera,
    make_rig,
    numbers,
    read_json,
    require,
    rotation,
    size_of,
    table,
)

_KEYS = ("name", "resolution", "K", "distCoef", "R", "t")


def is_panoptic(content: Any) -> bool:
    """Whether parsed JSON is of this format."""
    cameras = content.get("cameras") if isinstance(content, dict) else None
    return isinstance(cameras, list) and bool(cameras) and isinstance(cameras[0], dict) and "distCoef" in cameras[0]


def read_panoptic(path: Path, options: ReadOptions) -> Imported:
    """Read all cameras (VGA, HD, Kinect) of a Panoptic calibration.

    Raises
    ------
    CalibrationError
        Not JSON, no camera, missing or wrong values (named with the camera).
    """
    content = table(read_json(path), "the file", path)
    entries = content.get("cameras")
    if not isinstance(entries, list) or not entries:
        raise CalibrationError("the file lacks cameras", expected="cameras: a list", where=str(path))
    rows = [table(e, f"cameras[{i}]", path) for i, e in enumerate(entries)]
    cameras = [_camera(f"cameras[{i}]", row, path, options) for i, row in enumerate(rows)]
    kinds = Counter(str(row.get("type", "?")) for row in rows)
    notes = ["world axes as in the file: -y is up (--up -y makes it z)"]
    if len(kinds) > 1:
        counts = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        notes.append(f"{len(rows)} cameras of several kinds ({counts}): choose with --cameras")
    imported = make_rig(cameras, f"Panoptic studio, {path.name}", path, options)
    return Imported(imported.rig, imported.notes + tuple(notes))


def _camera(what: str, row: dict[str, Any], path: Path, options: ReadOptions) -> Camera:
    require(row, _KEYS, what, path)
    name = str(row["name"])
    what = f"camera {name}:"
    return make_camera(
        name,
        size_of(row["resolution"], f"{what} resolution", path),
        numbers(row["K"], (3, 3), f"{what} K", path),
        lens_coefficients(row["distCoef"], Lens.BROWN_CONRADY, f"{what} distCoef", path),
        rotation(row["R"], f"{what} R", path),
        numbers(row["t"], (3,), f"{what} t", path) * options.unit(CENTIMETRE),
        path,
    )
