"""OpenCap's cameraIntrinsicsExtrinsics.pickle, one per camera, read without executing anything.

``intrinsicMat`` 3x3 px, ``distortion``, ``rotation`` 3x3 world to camera, ``translation`` mm,
``imageSize`` [[height], [width]]. The world is the upright checkerboard's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibration.camera import Camera, Lens
from calibration.errors import CalibrationError
from calibration.formats.common import (
    MILLIMETRE,
    Imported,
    ReadOptions,
    lens_coefficients,
    make_camera,
    make_rig,
    numbers,
    read_bytes,
    require,
    rotation,
    size_of,
)
from calibration.formats.plain_pickle import load_plain

FILE_NAME = "cameraIntrinsicsExtrinsics.pickle"
SUFFIXES = (".pickle", ".pkl")
_KEYS = ("intrinsicMat", "distortion", "rotation", "translation", "imageSize")


def find_cameras(folder: Path) -> list[Path]:
    """The camera files of an OpenCap session, in `folder`, Cam0/... or Videos/Cam0/... below it."""
    return sorted(p for way in ("", "*/", "Videos/*/") for p in folder.glob(f"{way}{FILE_NAME}"))


def read_opencap(path: Path, options: ReadOptions) -> Imported:
    """Read one camera's file, or all of a folder; cameras are named after their folder (Cam0), else their file.

    Raises
    ------
    CalibrationError
        No file, one that holds more than numbers (nothing of it is executed), or missing values.
    """
    files = [path]
    if path.is_dir():
        files = find_cameras(path) or sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise CalibrationError("no OpenCap camera in the folder", expected=FILE_NAME, where=str(path))
    cameras = [_camera(f, options) for f in files]
    world = "OpenCap's checkerboard (it stands upright: its axes, not z up)"
    return make_rig(cameras, world, path, options)


def _camera(path: Path, options: ReadOptions) -> Camera:
    content = load_plain(read_bytes(path), path)
    if not isinstance(content, dict):
        raise CalibrationError("not an OpenCap camera", expected="a dictionary", where=str(path))
    require(content, _KEYS, "the file", path)
    name = path.parent.name if path.name == FILE_NAME else path.stem
    distortion = lens_coefficients(content["distortion"], Lens.BROWN_CONRADY, "distortion", path)
    height, width = numbers(content["imageSize"], (2,), "imageSize", path)
    return make_camera(
        name,
        size_of([width, height], "imageSize", path),
        numbers(content["intrinsicMat"], (3, 3), "intrinsicMat", path),
        distortion,
        rotation(content["rotation"], "rotation", path),
        np.asarray(numbers(content["translation"], (3,), "translation", path) * options.unit(MILLIMETRE)),
        path,
    )
