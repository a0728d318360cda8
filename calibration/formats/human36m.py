"""Human3.6M-style camera-parameters.json.

``intrinsics[id].calibration_matrix / distortion`` (k1 k2 p1 p2 k3) and ``extrinsics[subject][id].R / t``;
world to camera, millimetres, z up. It holds no image size: those of the data set's four cameras are
known, files written here add ``image_size``, for others it must be given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.formats.common import (
    MILLIMETRE,
    Imported,
    ReadOptions,
    Size,
    given_size,
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

# The data set's videos (Ionescu et al. 2014).
_KNOWN_SIZES: dict[str, Size] = {
    "54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002),
}  # fmt: skip
_SUBJECT = "S1"


def is_human36m(content: Any) -> bool:
    """Whether parsed JSON is of this format."""
    return isinstance(content, dict) and {"intrinsics", "extrinsics"} <= content.keys()


def read_human36m(path: Path, options: ReadOptions) -> Imported:
    """Read the cameras of one subject's recordings: `options.subject`, else the first in the file.

    Raises
    ------
    CalibrationError
        Not JSON, no such subject (named with those there are), missing or wrong values, no image size.
    """
    content = table(read_json(path), "the file", path)
    require(content, ("intrinsics", "extrinsics"), "the file", path)
    intrinsics = table(content["intrinsics"], "intrinsics", path)
    subjects = table(content["extrinsics"], "extrinsics", path)
    if not subjects:
        raise CalibrationError("extrinsics is empty", expected="extrinsics by subject", where=str(path))
    subject = options.subject or next(iter(subjects))
    if subject not in subjects:
        raise CalibrationError(
            f"no subject {subject!r} in the file", expected=f"one of {', '.join(subjects)}", where=str(path)
        )
    poses = table(subjects[subject], f"extrinsics.{subject}", path)
    require(intrinsics, tuple(poses), "intrinsics", path)
    cameras = [
        _camera(
            name,
            table(intrinsics[name], f"intrinsics.{name}", path),
            table(pose, f"extrinsics.{subject}.{name}", path),
            f"extrinsics.{subject}.{name}",
            path,
            options,
        )
        for name, pose in poses.items()
    ]
    imported = make_rig(cameras, f"{path.name}, subject {subject}", path, options)
    others = [s for s in subjects if s != subject]
    if others and options.subject is None:
        note = f"poses of subject {subject}; the file also has {', '.join(others)} (--subject)"
        return Imported(imported.rig, (*imported.notes, note))
    return imported


def _camera(
    name: str, lens: dict[str, Any], pose: dict[str, Any], what: str, path: Path, options: ReadOptions
) -> Camera:
    inside = f"intrinsics.{name}"
    require(lens, ("calibration_matrix", "distortion"), inside, path)
    require(pose, ("R", "t"), what, path)
    known = lens.get("image_size", _KNOWN_SIZES.get(name))
    if known is None or name in options.image_sizes or options.image_size is not None:
        known = given_size(name, options, path, "the Human3.6M format")
    return make_camera(
        name,
        size_of(known, f"{inside}.image_size", path),
        numbers(lens["calibration_matrix"], (3, 3), f"{inside}.calibration_matrix", path),
        lens_coefficients(lens["distortion"], Lens.BROWN_CONRADY, f"{inside}.distortion", path),
        rotation(pose["R"], f"{what}.R", path),
        numbers(pose["t"], (3,), f"{what}.t", path) * options.unit(MILLIMETRE),
        path,
    )


def write_human36m(rig: CameraRig, path: Path) -> tuple[str, ...]:
    """Write the rig as one subject's (S1); returns what the format cannot hold.

    Raises
    ------
    CalibrationError
        A fisheye camera, which the format has no model for.
    """
    fisheye = [c.name for c in rig.cameras if c.lens is Lens.FISHEYE]
    if fisheye:
        raise CalibrationError(
            f"the Human3.6M format has no fisheye model (camera {', '.join(fisheye)})",
            where=str(path),
            hint="use --to anipose",
        )
    intrinsics = {
        c.name: {
            "calibration_matrix": c.K.tolist(),
            "distortion": c.distortion.tolist(),
            "image_size": list(c.size),
        }
        for c in rig.cameras
    }
    poses = {c.name: {"R": c.R.tolist(), "t": (c.t / MILLIMETRE)[:, None].tolist()} for c in rig.cameras}
    document = {"intrinsics": intrinsics, "extrinsics": {_SUBJECT: poses}}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return (f"poses stand under subject {_SUBJECT}",)
