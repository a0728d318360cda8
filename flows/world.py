"""The world that a rig is moved into by a file: scene points, an L-frame, or a person who walks about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mocap.errors import CalibrationError

if TYPE_CHECKING:
    from calibration.camera import CameraRig
    from calibration.footage_calibration import CalibratedFootage
    from calibration.world_frame import WorldFrame

# What touches the floor, the best first, and how far above it that is (m).
_FEET = ((("l_big_toe", "r_big_toe"), 0.02), (("l_heel", "r_heel"), 0.03), (("l_ankle", "r_ankle"), 0.08))
_HEADS = ("head", "nose", "neck")
# Joints that miss their pixels by more than this were not seen, or are of different people.
_WORST_PX = 20.0


def world_of(rig: CameraRig, path: Path) -> WorldFrame:
    """``world_from_rig`` by what a file says.

    Parameters
    ----------
    rig : CameraRig
    path : Path
        .toml: scene points or an L-frame (`calibration.scene_points`). .npz: 2D keypoints of a person who walks
        about in view of the same cameras (the open interchange file).

    Raises
    ------
    CalibrationError
        A file that does not fix the world; names it.
    """
    from calibration.scene_points import scene_frame

    if path.suffix.lower() == ".npz":
        return _from_person(rig, path)
    return scene_frame(rig, path)


def placed(result: CalibratedFootage, path: Path) -> CalibratedFootage:
    """The same calibration in the world that the file fixes."""
    from calibration.world_frame import in_world

    frame = world_of(result.rig, path)
    notes = result.report.notes
    if np.isfinite(frame.rms_m):
        notes = (*notes, f"the world fits the points that fix it to {1000 * frame.rms_m:.1f} mm RMS")
    report = replace(result.report, world=frame.source, notes=notes)
    return replace(result, rig=in_world(result.rig, frame), report=report)


def _from_person(rig: CameraRig, path: Path) -> WorldFrame:
    from calibration.transforms import RigidTransform
    from calibration.world_frame import from_feet
    from mocap.interchange import read_keypoints
    from mocap.skeleton import canonical_name

    data = read_keypoints(path)
    if missing := [c for c in data.cameras if c not in rig.names]:
        raise CalibrationError(
            "the keypoints are of other cameras", expected=", ".join(rig.names), found=", ".join(missing),
            where=str(path),
        )  # fmt: skip
    rig = rig.select(data.cameras)
    names = [canonical_name(n) for n in data.joint_names]
    feet, height = next(((f, h) for f, h in _FEET if all(n in names for n in f)), ((), 0.0))
    head = next((h for h in _HEADS if h in names), None)
    if not feet or head is None:
        raise CalibrationError(
            "these joints do not show the floor", expected="ankles, heels or toes, and head, nose or neck",
            found=", ".join(data.joint_names), where=str(path),
        )  # fmt: skip
    # The person of each view and frame: who is seen best.
    slot = np.nanmean(data.confidence, -1).argmax(-1)
    v, t = np.indices(slot.shape)
    pixel = data.keypoints[v, t, slot].astype(np.float64)
    tops = _places(rig, pixel[:, :, names.index(head)])
    bottoms = [_places(rig, pixel[:, :, names.index(n)]) for n in feet]
    what = feet[0].removeprefix("l_").replace("_", " ") + "s"
    source = f"gravity and floor from the {what} of a person who walks, taken {1000 * height:.0f} mm above it"
    try:
        frame = from_feet(np.concatenate(bottoms), np.concatenate([tops] * len(feet)), source)
    except CalibrationError as error:
        raise CalibrationError(
            error.problem, expected=error.expected, found=error.found, where=str(path), hint=error.hint
        ) from error
    raised = RigidTransform(np.eye(3), np.array([0.0, 0.0, height]))
    return replace(frame, world_from_rig=raised @ frame.world_from_rig)


def _places(rig: CameraRig, pixel: NDArray[np.float64]) -> NDArray[np.float64]:
    """A joint [T, 3] in the rig from its pixels [V, T, 2]; NaN where views are few or contradict each other."""
    from calibration.projection import Lenses, project
    from calibration.world_frame import triangulate

    X = np.full((pixel.shape[1], 3), np.nan)
    seen = np.isfinite(pixel).all(-1).sum(0) >= 2
    X[seen] = triangulate(rig, pixel[:, seen])
    miss = np.linalg.norm(pixel - project(Lenses.of(rig), X), axis=-1)
    bad = np.nan_to_num(miss).max(0) > _WORST_PX
    return np.where(bad[:, None], np.nan, X)
