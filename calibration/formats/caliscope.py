"""Caliscope's camera_array.toml.

``[cameras.0] cam_id size rotation_count matrix distortions rotation translation fisheye``; world to
camera, metres. `rotation_count` turns the picture on the screen only: size, matrix and poses are
those of the video as filmed, so nothing is to be turned here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tomlkit

from calibration.camera import CameraRig
from calibration.errors import CalibrationError
from calibration.formats.common import Imported, ReadOptions, make_rig, table
from calibration.formats.rig_toml import camera_table, parse_toml, toml_camera


def is_caliscope(document: dict[str, Any]) -> bool:
    """Whether a TOML document is a camera array."""
    cameras = document.get("cameras")
    return isinstance(cameras, dict) and any(isinstance(c, dict) and "size" in c for c in cameras.values())


def read_caliscope(path: Path, options: ReadOptions) -> Imported:
    """Read the cameras that have a pose and are not marked to be ignored.

    Raises
    ------
    CalibrationError
        Not a camera array, missing keys, no camera with a pose.
    """
    document = parse_toml(path)
    entries = table(document.get("cameras", {}), "[cameras]", path)
    cameras, left_out = [], []
    for key, value in entries.items():
        entry = table(value, f"[cameras.{key}]", path)
        name = str(entry.get("name", f"cam_{entry.get('cam_id', entry.get('port', key))}"))
        # Older files write "null" where there is nothing.
        without_pose = any(entry.get(k) in (None, "null") for k in ("rotation", "translation", "matrix"))
        if entry.get("ignore", False) is True or without_pose:
            left_out.append(name)
        else:
            cameras.append(toml_camera(f"cameras.{key}", entry, options.unit(1.0), path, name))
    if not cameras:
        raise CalibrationError(
            "no calibrated camera in the file", expected="[cameras.0] with matrix, rotation and translation",
            found=f"cameras without pose: {', '.join(left_out)}" if left_out else "no [cameras.N]", where=str(path),
            hint="run the extrinsic calibration in Caliscope first",
        )  # fmt: skip
    imported = make_rig(cameras, f"as Caliscope left it in {path.name}", path, options)
    note = (f"left out (no pose, or ignored in Caliscope): {', '.join(left_out)}",) if left_out else ()
    return Imported(imported.rig, imported.notes + note)


def write_caliscope(rig: CameraRig, path: Path) -> tuple[str, ...]:
    """Write a camera array; returns what the format cannot hold.

    Caliscope numbers its cameras: the last number in each name is used where they are all different.
    """
    found = [re.findall(r"\d+", name) for name in rig.names]
    ids = [int(f[-1]) for f in found if f]
    if len(set(ids)) != len(rig):
        ids = list(range(len(rig)))
    cameras = tomlkit.table(is_super_table=True)
    for cam_id, camera in sorted(zip(ids, rig.cameras, strict=True), key=lambda pair: pair[0]):
        entry = camera_table(camera)
        entry["cam_id"] = cam_id
        entry["rotation_count"] = 0
        entry.setdefault("fisheye", False)
        cameras[str(cam_id)] = entry
    document = tomlkit.document()
    document["cameras"] = cameras
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    renamed = [f"{n} is cam_{i}" for n, i in zip(rig.names, ids, strict=True) if n != f"cam_{i}"]
    return (f"Caliscope knows cameras by number: {', '.join(renamed)}",) if renamed else ()
