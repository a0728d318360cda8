"""Wand markers as 2D tracks (.npz, the keypoint interchange format) into observations."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.observations import TargetObservations
from calibration.targets import BoardDefinition

_NEEDED = ("keypoints", "confidence", "cameras", "frames", "fps")


def find_tracks(folder: Path) -> Path:
    """The one .npz file of a folder of wand footage.

    Raises
    ------
    CalibrationError
        None, or several.
    """
    found = sorted(folder.glob("*.npz")) if folder.is_dir() else [folder]
    if len(found) != 1:
        raise CalibrationError(
            "a wand is calibrated from one file of 2D tracks", expected="one .npz with keypoints [V,T,P,J,2]",
            found=", ".join(p.name for p in found) or "none", where=str(folder),
        )  # fmt: skip
    return found[0]


def read_tracks(path: Path, wand: BoardDefinition) -> tuple[TargetObservations, NDArray[np.int64]]:
    """Observations of a wand, and the frame number of each pose.

    `keypoints` [V, T, P, J, 2] px has the wand's markers on its joint axis, in the order of `markers_m`; of
    several person slots the first that is seen counts. `sizes` int [V, 2] (width, height) may be in the file;
    else `image_size` of the wand's definition holds for all cameras.

    Raises
    ------
    CalibrationError
        Not such a file, another number of markers, unknown image sizes, or no marker in some camera.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CalibrationError("the wand tracks cannot be read", found=str(error), where=str(path)) from error
    missing = [n for n in _NEEDED if n not in data]
    shape: tuple[int, ...] = data["keypoints"].shape if "keypoints" in data else ()
    if missing or len(shape) != 5 or shape[3] != len(wand.markers_m) or shape[4] != 2:
        raise CalibrationError(
            "the wand tracks do not fit the wand", expected=f"keypoints [V, T, P, {len(wand.markers_m)}, 2], "
            f"{', '.join(_NEEDED[1:])}", found=f"keypoints {shape}; without {', '.join(missing) or 'nothing'}",
            where=str(path),
        )  # fmt: skip
    cameras = tuple(str(c) for c in data["cameras"])
    sizes = _sizes(data, wand, len(cameras), path)
    pixel, confidence = data["keypoints"].astype(np.float64), data["confidence"]
    seen = np.isfinite(pixel).all(-1) & (confidence > 0)
    slot = seen.any(-1).argmax(2)  # [V, T]
    v, t = np.indices(slot.shape)
    pixel, seen = pixel[v, t, slot], seen[v, t, slot]
    # Two markers give a direction; one alone gives nothing.
    seen &= (seen.sum(-1) >= 2)[..., None]
    for name, any_ in zip(cameras, seen.any((1, 2)), strict=True):
        if not any_:
            raise CalibrationError(
                f"camera {name} never shows the wand", expected=str(wand), found="no frame with two markers or more",
                where=str(path), hint="track the markers in this camera, or leave it out",
            )  # fmt: skip
    used = np.flatnonzero(seen.any((0, 2)))
    camera, pose, point = np.nonzero(seen[:, used])
    times = data["frames"][used] / float(data["fps"])
    observations = TargetObservations(
        cameras, sizes, wand.points, times.astype(np.float64), camera.astype(np.int64), pose.astype(np.int64),
        point.astype(np.int64), pixel[:, used][camera, pose, point],
    )  # fmt: skip
    return observations, data["frames"][used].astype(np.int64)


def _sizes(
    data: dict[str, NDArray[np.generic]], wand: BoardDefinition, n: int, path: Path
) -> tuple[tuple[int, int], ...]:
    if "sizes" in data and data["sizes"].shape == (n, 2):
        return tuple((int(w), int(h)) for w, h in np.asarray(data["sizes"], np.int64))
    if min(wand.image_size) > 0:
        return (wand.image_size,) * n
    raise CalibrationError(
        "the image size of the cameras is not known", expected="`sizes` [V, 2] (width, height) in the tracks, or "
        "image_size = [width, height] in the wand's definition", where=str(path),
    )  # fmt: skip
