"""Human3.6M as VideoPose3D and as 3d-pose-baseline store it.

Ionescu et al., Human3.6M (PAMI 36, 2014). Both hold the 32 joints of the data set's own skeleton in
the world of the camera parameters (z up); 17 of them are the joints that papers score.
"""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera
from mocap.errors import DataError
from mocap.metrics.poses import Poses3D
from mocap.skeleton import H36M_17

Array = NDArray[np.float64]

FPS = 50.0

JOINTS_17_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""The joints of H36M-17 among the 32."""


def read_videopose3d(path: Path, select: str) -> Poses3D:
    """One sequence of VideoPose3D's data_3d_h36m.npz (Pavllo et al., CVPR 2019).

    `positions_3d` is a dict of subjects, each a dict of actions, each [T, 32, 3] (or 17) in metres, in
    the world of the data set's camera parameters.

    Parameters
    ----------
    path : Path
    select : str
        ``SUBJECT/ACTION``, for example ``S9/Walking 1``.

    Raises
    ------
    DataError
        A damaged file, or a sequence that is not in it.
    """
    subjects = load_pickled_dict(path, "positions_3d")
    subject, _, action = select.partition("/")
    actions = subjects.get(subject)
    if not isinstance(actions, dict) or action not in actions:
        known = subjects if not isinstance(actions, dict) else actions
        raise DataError(
            "no such sequence in it",
            expected=f"{'SUBJECT' if known is subjects else subject}/ACTION with one of "
            f"{', '.join(sorted(map(str, known))[:40])}",
            found=select or "nothing selected",
            where=str(path),
            hint='choose one: mocap evaluate ... --select "S9/Walking 1"',
        )
    return _poses(np.asarray(actions[action], np.float64), f"{path}: {select}")


def read_baseline_h5(path: Path) -> Poses3D:
    """One sequence of 3d-pose-baseline (Martinez et al., ICCV 2017): `3D_positions` [96, T] in mm.

    Raises
    ------
    DataError
        Not HDF5, or without that array.
    """
    try:
        with h5py.File(path, "r") as file:
            if "3D_positions" not in file:
                raise DataError("no Human3.6M positions in it", expected="3D_positions [96, T]",
                                found=", ".join(file), where=str(path))  # fmt: skip
            values = np.asarray(file["3D_positions"][()], np.float64)
    except OSError as error:
        raise DataError("not a readable HDF5 file", found=str(error), where=str(path)) from error
    if values.ndim != 2 or 96 not in values.shape:
        raise DataError("wrong shape of 3D_positions", expected="[96, T]", found=f"{values.shape}", where=str(path))
    rows = values.T if values.shape[0] == 96 else values
    return _poses(rows.reshape(-1, 32, 3) / 1000, str(path))


def in_camera(poses: Poses3D, camera: Camera) -> Poses3D:
    """Poses in a camera's axes, as lifting papers score Human3.6M: x_camera = R x_world + t, metres."""
    return replace(poses, positions=poses.positions @ camera.R.T + camera.t)


def _poses(positions: Array, origin: str) -> Poses3D:
    if positions.ndim != 3 or positions.shape[1] not in (17, 32) or positions.shape[2] != 3:
        raise DataError("not a Human3.6M sequence", expected="[T, 32, 3] or [T, 17, 3]",
                        found=f"{positions.shape}", where=origin)  # fmt: skip
    if positions.shape[1] == 32:
        positions = positions[:, JOINTS_17_OF_32]
    return Poses3D(positions[:, None], np.array([0]), np.arange(len(positions)), H36M_17.joints, FPS, origin)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain containers; a pickle that calls anything else is refused."""

    _ALLOWED = frozenset(
        (f"{module}.multiarray", name)
        for module in ("numpy.core", "numpy._core")
        for name in ("_reconstruct", "scalar")
    ) | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def load_pickled_dict(path: Path, name: str | None) -> dict[str, Any]:
    """The dict that an .npy, or the array `name` (None: the only one) of an .npz, holds; only arrays are unpickled.

    Raises
    ------
    DataError
        Not readable, or something else than a dict.
    """
    what = "an .npy or .npz file with a dict" if name is None else f"{name}: subjects of actions"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(_member(archive, name)) as file:
                content = _unpickle(file)
        else:
            with open(path, "rb") as plain:
                content = _unpickle(plain)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise DataError("not a readable Human3.6M file", expected=what, found=str(error), where=str(path)) from error
    value = content.item() if isinstance(content, np.ndarray) and content.size == 1 else content
    if not isinstance(value, dict):
        raise DataError(f"{name or 'it'} is no dict", expected=what, found=type(value).__name__, where=str(path))
    return value


def _member(archive: zipfile.ZipFile, name: str | None) -> str:
    if name is not None:
        return f"{name}.npy"
    if len(archive.namelist()) != 1:
        raise ValueError(f"{len(archive.namelist())} arrays: {', '.join(archive.namelist()[:5])}")
    return archive.namelist()[0]


def _unpickle(file: IO[bytes]) -> Any:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    read(file)
    return _ArraysOnly(file, encoding="latin1").load()
