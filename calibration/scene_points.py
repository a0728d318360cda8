"""The world of measured scene points or of an L-frame, read from a file.

The file names each point once, with its measured place and where cameras see it::

    [[point]]
    name = "table corner"
    world = [1.0, 0.5, 0.74]          # metres, z up
    pixels = { cam_0 = [812.5, 301.0], cam_2 = [120.0, 455.5] }

or it says where cameras see the three markers of an L-frame on the floor (or any three points of it)::

    [l_frame]
    origin = { cam_0 = [812.5, 301.0], cam_2 = [120.0, 455.5] }   # the corner
    x = { ... }                                                    # on the arm along x
    y = { ... }                                                    # on the side of y
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.errors import CalibrationError
from calibration.world_frame import WorldFrame, from_l_frame, from_points, triangulate

Pixels = dict[str, dict[str, NDArray[np.float64]]]


def scene_frame(rig: CameraRig, path: Path) -> WorldFrame:
    """``world_from_rig`` by the points or the L-frame of a file.

    Raises
    ------
    CalibrationError
        An unreadable file, or points that do not fix the world (see `calibration.world_frame`).
    """
    document = _parse(path)
    try:
        if "l_frame" in document:
            return _l_frame(rig, document["l_frame"], path)
        return from_points(rig, *_points(document, path))
    except CalibrationError as error:
        raise CalibrationError(
            error.problem, expected=error.expected, found=error.found, where=str(path), hint=error.hint
        ) from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CalibrationError("the scene points cannot be read", found=str(error), where=str(path)) from error


def _l_frame(rig: CameraRig, table: Any, path: Path) -> WorldFrame:
    names = ("origin", "x", "y")
    try:
        pixels = {n: {str(c): np.array(p, dtype=np.float64) for c, p in table[n].items()} for n in names}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(
            "the L-frame is not understood", found=str(error), where=str(path),
            expected="[l_frame] with origin, x and y, each { camera = [u, v], camera = [u, v] }",
        ) from error  # fmt: skip
    observed = np.full((len(rig), len(names), 2), np.nan)
    for n, name in enumerate(names):
        for camera, pixel in pixels[name].items():
            if camera not in rig.names or pixel.shape != (2,):
                raise CalibrationError(
                    f"{name} of the L-frame is not understood", expected=f"two numbers of {', '.join(rig.names)}",
                    found=f"{camera} = {pixel.tolist()}",
                )  # fmt: skip
            observed[rig.names.index(camera), n] = pixel
    few = [n for n, k in zip(names, np.isfinite(observed).all(-1).sum(0), strict=True) if k < 2]
    if few:
        raise CalibrationError(
            f"{' and '.join(few)} of the L-frame cannot be placed", expected="pixels of two or more cameras each"
        )
    return from_l_frame(*triangulate(rig, observed))


def _points(document: dict[str, Any], path: Path) -> tuple[dict[str, NDArray[np.float64]], Pixels]:
    try:
        rows = document.get("point", [])
        names = [str(r["name"]) for r in rows]
        world = {str(r["name"]): np.array(r["world"], dtype=np.float64) for r in rows}
        pixels = {str(r["name"]): {str(c): np.array(p, dtype=np.float64) for c, p in r["pixels"].items()} for r in rows}
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
