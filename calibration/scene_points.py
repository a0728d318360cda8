"""A calibrated rig moved into the world of measured scene points, read from a file.

The file names each point once, with its measured place and where cameras see it::

    [[point]]
    name = "table corner"
    world = [1.0, 0.5, 0.74]          # metres, z up
    pixels = { cam_0 = [812.5, 301.0], cam_2 = [120.0, 455.5] }
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import CalibrationError
from calibration.footage_calibration import CalibratedFootage
from calibration.world_frame import from_points, in_world


def place_in_scene(result: CalibratedFootage, path: Path) -> CalibratedFootage:
    """The same calibration in the world of the points of a file.

    Raises
    ------
    CalibrationError
        An unreadable file, or points that do not fix the world (see `calibration.world_frame.from_points`).
    """
    world, pixels = _read(path)
    try:
        frame = from_points(result.rig, world, pixels)
    except CalibrationError as error:
        raise CalibrationError(
            error.problem, expected=error.expected, found=error.found, where=str(path), hint=error.hint
        ) from error
    note = f"scene points fit to {1000 * frame.rms_m:.1f} mm RMS"
    report = replace(result.report, world=frame.source, notes=(*result.report.notes, note))
    return replace(result, rig=in_world(result.rig, frame), report=report)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("point", [])
        names = [str(r["name"]) for r in rows]
        world = {str(r["name"]): np.array(r["world"], dtype=np.float64) for r in rows}
        pixels = {str(r["name"]): {str(c): np.array(p, dtype=np.float64) for c, p in r["pixels"].items()} for r in rows}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CalibrationError("the scene points cannot be read", found=str(error), where=str(path)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(
            "the scene points are not understood", found=str(error), where=str(path),
            expected="[[point]] with name, world = [x, y, z] in metres and pixels = { camera = [u, v] }",
        ) from error  # fmt: skip
    shapes = all(w.shape == (3,) for w in world.values())
    if not shapes or not all(p.shape == (2,) for of in pixels.values() for p in of.values()) or len(world) < len(names):
        raise CalibrationError(
            "the scene points are not understood", expected="three world numbers, two pixel numbers, unique names",
            found=f"{len(names)} points", where=str(path),
        )  # fmt: skip
    return world, pixels
