"""Rig TOML: the keys that Anipose, FreeMoCap and Pose2Sim share, in metres.

``[cam_0] name size matrix distortions rotation translation``; ``x_camera = R x_world + t`` with the
rotation as a vector (radians). Extra keys are allowed. ``[metadata] units`` may say mm or cm.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.formats.common import (
    UNITS,
    Imported,
    ReadOptions,
    lens_coefficients,
    make_camera,
    make_rig,
    numbers,
    read_text,
    require,
    rotation,
    size_of,
)

REQUIRED = ("matrix", "distortions", "rotation", "translation", "size")


def read_rig_toml(path: Path) -> CameraRig:
    """Read a rig.

    Raises
    ------
    CalibrationError
        Not TOML, no camera, missing keys, wrong shapes, unknown units, implausible distances.
    """
    return import_rig_toml(path, ReadOptions()).rig


def import_rig_toml(path: Path, options: ReadOptions, usual_unit: float = 1.0) -> Imported:
    """Read a rig; the unit is the one given, else that in ``[metadata] units``, else `usual_unit` metres.

    Raises
    ------
    CalibrationError
        As `read_rig_toml`.
    """
    document = parse_toml(path)
    metadata = document.get("metadata", {})
    metadata = metadata if isinstance(metadata, dict) else {}
    tables = camera_tables(document, path)
    metres = options.unit(_stated_unit(metadata, usual_unit, path))
    cameras = [toml_camera(key, entry, metres, path) for key, entry in tables.items()]
    world = str(metadata.get("world", f"as in {path.name}"))
    return make_rig(cameras, world, path, options, declared="units" in metadata)


def parse_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file; CalibrationError when it is none."""
    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CalibrationError("not a TOML file", found=str(error), where=str(path)) from error


def camera_tables(document: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """The tables of `document` that describe cameras; CalibrationError when there is none."""
    tables = {k: v for k, v in document.items() if isinstance(v, dict) and "matrix" in v}
    if not tables:
        raise CalibrationError(
            "no camera in the file",
            expected="tables [cam_0], [cam_1], ... with name, size, matrix, distortions, rotation, translation",
            found=f"tables {', '.join(document) or 'none'}",
            where=str(path),
        )
    return tables


def _stated_unit(metadata: Mapping[str, Any], usual: float, path: Path) -> float:
    if "units" not in metadata:
        return usual
    units = str(metadata["units"]).lower()
    if units not in UNITS:
        raise CalibrationError("unknown units", expected=", ".join(UNITS), found=units, where=str(path))
    return UNITS[units]


def toml_camera(key: str, entry: Mapping[str, Any], metres: float, path: Path, name: str | None = None) -> Camera:
    """A camera from its table; lengths times `metres`.

    Raises
    ------
    CalibrationError
        Missing keys or values that are no camera, named with the table.
    """
    require(entry, REQUIRED, f"[{key}]", path)
    lens = Lens.FISHEYE if entry.get("fisheye", False) is True else Lens.BROWN_CONRADY
    return make_camera(
        name or str(entry.get("name", key)),
        size_of(entry["size"], f"[{key}] size", path),
        numbers(entry["matrix"], (3, 3), f"[{key}] matrix", path),
        lens_coefficients(entry["distortions"], lens, f"[{key}] distortions", path),
        rotation(entry["rotation"], f"[{key}] rotation", path),
        numbers(entry["translation"], (3,), f"[{key}] translation", path) * metres,
        path,
        lens,
    )


def camera_table(camera: Camera, *, coefficients: int = 5) -> tomlkit.items.Table:
    """The table of a camera: matrices row by row, rotation as a vector (radians), translation in metres."""
    fisheye = camera.lens is Lens.FISHEYE
    entry = tomlkit.table()
    entry["name"] = camera.name
    entry["size"] = list(camera.size)
    entry["matrix"] = camera.K.tolist()
    entry["distortions"] = camera.distortion[: 4 if fisheye else coefficients].tolist()
    entry["rotation"] = Rotation.from_matrix(camera.R).as_rotvec().tolist()
    entry["translation"] = camera.t.tolist()
    if fisheye:
        entry["fisheye"] = True
    return entry


def write_rig_toml(rig: CameraRig, path: Path) -> None:
    """Write a rig that `read_rig_toml` reads back to the same numbers."""
    document = tomlkit.document()
    for i, camera in enumerate(rig.cameras):
        document[f"cam_{i}"] = camera_table(camera)
    metadata = tomlkit.table()
    metadata["units"] = "m"
    metadata["world"] = rig.world_source
    document["metadata"] = metadata
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
