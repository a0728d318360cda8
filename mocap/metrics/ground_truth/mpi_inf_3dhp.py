"""MPI-INF-3DHP: annot.mat of the training set, annot_data.mat of the test set.

Mehta et al., Monocular 3D human pose estimation in the wild (3DV 2017). Positions are millimetres in
the axes of one camera: comparing them with a world result needs a rigid alignment.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from mocap.errors import DataError
from mocap.metrics.joint_sets import MPII3D_17, MPII3D_28
from mocap.metrics.poses import Poses3D


def read_training_annotation(path: Path, camera: str = "") -> Poses3D:
    """`annot3` of annot.mat: a cell per camera of [T, 84], 28 joints in mm.

    The data set has each pose twice: as the person is (`annot3`), and scaled to one height
    (`univ_annot3`, "universal"), on which many papers report.

    Parameters
    ----------
    path : Path
    camera : str
        Number of the camera, from 0; the first unless given. After it "universal" chooses `univ_annot3`.

    Raises
    ------
    DataError
        Not a MATLAB file, no such camera, or arrays of another form.
    """
    name, camera = _annotation(camera)
    try:
        content = loadmat(path)
        cells = list(np.asarray(content[name]).reshape(-1))
    except (OSError, ValueError, KeyError, TypeError, MatReadError) as error:
        raise DataError("no annotation in it", expected=name, found=str(error), where=str(path)) from error
    if not (camera or "0").isdigit() or int(camera or 0) >= len(cells):
        raise DataError("no such camera", expected=f"0..{len(cells) - 1}", found=camera, where=str(path))
    values = np.asarray(cells[int(camera or 0)], np.float64)
    if values.ndim != 2 or values.shape[1] != 84:
        raise DataError(f"wrong shape of {name}", expected="[T, 84]", found=f"{values.shape}", where=str(path))
    frames = np.asarray(content["frames"]).reshape(-1) if "frames" in content else np.arange(len(values))
    if len(frames) != len(values):
        frames = np.arange(len(values))
    return Poses3D(
        values.reshape(-1, 1, 28, 3) / 1000, np.array([0]), frames, MPII3D_28.joints, origin=str(path)
    )  # fmt: skip


def _annotation(select: str) -> tuple[str, str]:
    """The array's name, and the rest of the selection."""
    words = select.split()
    universal = "universal" in words
    return "univ_annot3" if universal else "annot3", " ".join(w for w in words if w != "universal")


def read_test_annotation(path: Path, select: str = "") -> Poses3D:
    """`annot3` of annot_data.mat (MATLAB 7.3): [T, 1, 17, 3] as HDF5 stores it, mm.

    With `select` = "universal" `univ_annot3`: the same poses scaled to one height. Frames that
    `valid_frame` rules out are missing.

    Raises
    ------
    DataError
        Not HDF5, or arrays of another form.
    """
    name, _ = _annotation(select)
    try:
        with h5py.File(path, "r") as file:
            values = np.asarray(file[name][()], np.float64)
            valid = np.asarray(file["valid_frame"][()]).reshape(-1) if "valid_frame" in file else None
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError("no annotation in it", expected=name, found=str(error), where=str(path)) from error
    if values.ndim != 4 or values.shape[1:] != (1, 17, 3):
        raise DataError("wrong shape of annot3", expected="[T, 1, 17, 3]", found=f"{values.shape}", where=str(path))
    if valid is not None and len(valid) == len(values):
        values[valid == 0] = np.nan
    return Poses3D(values / 1000, np.array([0]), np.arange(len(values)), MPII3D_17.joints, origin=str(path))
