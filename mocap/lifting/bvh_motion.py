"""Training motion from a folder of BVH files: their rigs' joints onto H36M-17."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.metrics.ground_truth.bvh import read_bvh
from mocap.metrics.poses import Poses3D
from mocap.skeleton import H36M_17

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

FPS = 50.0
"""Frames per second that all recordings are brought to."""

_NEEDED = tuple(j for j in H36M_17.joints if j[1] == "_")  # hips, knees, ankles, shoulders, elbows, wrists
_NECK, _HEAD = ("neck", "neck1"), ("head",)
_CROWN = ("headtop_end", "head_end", "headend", "headtop", "headnub")
_SPINE = ("spine1", "spine", "chest", "spine2")
_NECK_LENGTH, _HEAD_LENGTH = 0.12, 0.115  # metres, where a rig has no such joints: the training people's means


def bvh_files(folder: Path) -> list[Path]:
    """The BVH files of a folder and its sub-folders, in a fixed order."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".bvh")


def subject_of(path: Path, folder: Path) -> str:
    """Who it is: the sub-folder, or the file's name up to the first underscore (as CMU's are named)."""
    return path.parent.name if path.parent != folder else path.stem.split("_")[0]


def read_bvh_h36m(path: Path) -> Array:
    """Joints [F, 17, 3] of H36M-17 at `FPS`, z up, metres.

    The pelvis is the middle of the hips, the thorax the rig's neck (else the middle of the
    shoulders), the spine the rig's joint nearest half-way between them (else half-way).

    Raises
    ------
    DataError
        Not a BVH file, or limbs that the rig does not have or name as the usual rigs do.
    """
    poses = read_bvh(path)
    missing = [j for j in _NEEDED if j not in poses.joint_names]
    if missing:
        raise DataError(
            "the rig lacks joints", expected="limbs named as in HumanIK, Mixamo or CMU rigs",
            found=f"no {', '.join(missing)}", where=str(path),
        )  # fmt: skip
    joints = np.zeros((len(poses.frames), 17, 3))
    source = poses.positions[:, 0].astype(float)
    for name in _NEEDED:
        joints[:, H36M_17.index(name)] = source[:, poses.joint_names.index(name)]
    at = {name: H36M_17.index(name) for name in H36M_17.joints}
    joints[:, at["pelvis"]] = 0.5 * (joints[:, at["l_hip"]] + joints[:, at["r_hip"]])
    neck, head, crown = (_named(poses, names) for names in (_NECK, _HEAD, _CROWN))
    shoulders = 0.5 * (joints[:, at["l_shoulder"]] + joints[:, at["r_shoulder"]])
    thorax = shoulders if neck is None else neck
    half = 0.5 * (joints[:, at["pelvis"]] + thorax)
    joints[:, at["thorax"]] = thorax
    spines = [s for s in (_named(poses, (n,)) for n in _SPINE) if s is not None]
    joints[:, at["spine"]] = min(spines, key=lambda s: float(np.linalg.norm(s - half, axis=-1).mean()), default=half)
    above = head if head is not None else crown if crown is not None else 2 * thorax - joints[:, at["spine"]]
    up = above - thorax
    up /= np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-6)
    joints[:, at["neck"]] = thorax + _NECK_LENGTH * up
    top = up if crown is None or head is None else crown - head
    top /= np.maximum(np.linalg.norm(top, axis=-1, keepdims=True), 1e-6)
    joints[:, at["head"]] = joints[:, at["neck"]] + _HEAD_LENGTH * top
    return _resampled(joints, poses.fps)


def _named(poses: Poses3D, names: tuple[str, ...]) -> Array | None:
    """[F, 3] of the first of these joints that the rig has."""
    plain = [n.rpartition(":")[2].lower() for n in poses.joint_names]
    for name in names:
        if name in plain:
            return poses.positions[:, 0, plain.index(name)].astype(float)
    return None


def _resampled(joints: Array, fps: float) -> Array:
    """At `FPS`, by straight lines between frames."""
    if abs(fps - FPS) < 0.01 or len(joints) < 2:
        return joints
    # Files give the time per frame with few digits: the last frame may seem to lie a hair beyond the end.
    times = np.arange(int((len(joints) - 1) * FPS / fps + 1e-3) + 1) * fps / FPS
    low = np.minimum(times.astype(int), len(joints) - 2)
    share = (times - low)[:, None, None]
    return (1 - share) * joints[low] + share * joints[low + 1]
