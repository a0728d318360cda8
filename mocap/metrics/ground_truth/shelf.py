"""Shelf and Campus: actorsGT.mat, and the same truth as npz.

Belagiannis et al., 3D pictorial structures for multiple human pose estimation (CVPR 2014). World
axes and metres are those of the data sets' calibration.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from mocap.errors import DataError
from mocap.metrics.poses import Poses3D
from mocap.metrics.shelf_joints import SHELF_JOINTS, with_pelvis

FPS = 25.0


def mat_names(path: Path) -> set[str]:
    """Variables of a MATLAB file (version 5); DataError when it is none."""
    try:
        return {name for name, _, _ in whosmat(path)}
    except (OSError, ValueError, TypeError, MatReadError) as error:
        raise DataError("not a readable MATLAB file", found=str(error), where=str(path)) from error


def read_actors_mat(path: Path) -> Poses3D:
    """`actor3D` of actorsGT.mat: a cell per actor of a cell per frame, 14 x 3 m or empty.

    Frame i of the file is frame i of the videos, counted from 0. The middle of the hips is added.

    Raises
    ------
    DataError
        Not a MATLAB file, or cells of another form.
    """
    try:
        actors = _cells(loadmat(path)["actor3D"])
    except (OSError, ValueError, KeyError, TypeError, MatReadError) as error:
        raise DataError("no actors in it", expected="actor3D", found=str(error), where=str(path)) from error
    lengths = {len(a) for a in actors}
    if len(lengths) != 1:
        raise DataError("actors of different lengths", expected="one cell per frame", found=f"{sorted(lengths)}",
                        where=str(path))  # fmt: skip
    joints = np.full((lengths.pop(), len(actors), 14, 3), np.nan)
    for a, frames in enumerate(actors):
        for t, pose in enumerate(frames):
            if pose.shape == (14, 3):
                joints[t, a] = pose
            elif pose.size > 1:
                raise DataError("a pose of another form", expected="14 x 3", found=f"{pose.shape}",
                                where=f"{path}: actor {a + 1}, frame {t}")  # fmt: skip
    return _poses(joints, np.arange(len(joints)), np.arange(1, len(actors) + 1), str(path))


def read_shelf_npz(path: Path) -> Poses3D:
    """`joints` [T, A, 14 or 15, 3] m, `frames` [T] and optionally `actors` [A], `fps`.

    Raises
    ------
    DataError
        Not readable, or arrays that do not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            joints, frames = np.asarray(file["joints"], np.float64), file["frames"]
            ids = file["actors"] if "actors" in file else np.arange(1, joints.shape[1] + 1)
            fps = float(file["fps"]) if "fps" in file else float("nan")
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise DataError("not Shelf's truth", expected="joints, frames", found=str(error), where=str(path)) from error
    if joints.ndim != 4 or joints.shape[2] not in (14, 15) or joints.shape[3] != 3:
        raise DataError("wrong shape of joints", expected="[T, A, 14 or 15, 3]", found=f"{joints.shape}",
                        where=str(path))  # fmt: skip
    return _poses(joints[:, :, :14], frames, ids, str(path), fps)


def _poses(joints: Any, frames: Any, ids: Any, origin: str, fps: float = FPS) -> Poses3D:
    return Poses3D(with_pelvis(joints), ids, frames, SHELF_JOINTS, fps, origin)


def _cells(value: Any) -> list[list[Any]]:
    """Actors of frames, whatever number of one-element cells MATLAB put around them."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.reshape(-1)[0]
    actors = [np.asarray(a) for a in np.asarray(value).reshape(-1)]
    if all(a.dtype == object and a.size == 1 for a in actors):
        actors = [a.reshape(-1)[0] for a in actors]
    if any(a.dtype != object for a in actors):  # a single actor's frames
        return [actors]
    return [[_pose(f) for f in a.reshape(-1)] for a in actors]


def _pose(value: Any) -> Any:
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.reshape(-1)[0]
    return np.asarray(value, np.float64)
