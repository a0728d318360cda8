"""Human3.6M as multi-view papers store it: human36m-multiview-labels-*.npy.

Iskakov et al., Learnable triangulation of human pose (ICCV 2019), and those who build on it. A pickled dict of
`subject_names`, `action_names`, `camera_names`, `cameras` [subject, camera] with R, t (mm), K, dist, and
`table`, one row per frame: subject_idx, action_idx, frame_idx, keypoints [17, 3] in mm, world.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera
from mocap.errors import DataError
from mocap.metrics.ground_truth.human36m import FPS, JOINTS_17_OF_32, in_camera, load_pickled_dict
from mocap.metrics.poses import Poses3D
from mocap.skeleton import H36M_17

JOINTS_OF_32 = (3, 2, 1, 6, 7, 8, 0, 12, 13, 15, 27, 26, 25, 17, 18, 19, 14)
"""Which of the data set's 32 joints each of the 17 is: MPII's order, and the neck last."""

_PARTS = ("subject_names", "action_names", "table")
# Human3.6M's images are 1000 x 1000 or 1000 x 1002; only the pose matters here.
_SIZE = (1000, 1000)


def read_multiview_labels(path: Path, select: str) -> Poses3D:
    """One sequence, in the world, or in the axes of one of its cameras.

    Parameters
    ----------
    path : Path
        .npy, or .npz with the dict as its only array.
    select : str
        ``SUBJECT/ACTION`` or ``SUBJECT/ACTION@CAMERA``, for example ``S9/Walking-1@55011271``.

    Raises
    ------
    DataError
        A damaged file, one that is something else, or a sequence or camera that is not in it.
    """
    labels = load_pickled_dict(path, None)
    if any(p not in labels for p in _PARTS) or not getattr(labels["table"], "dtype", np.dtype(int)).names:
        raise DataError("no multi-view labels in it", expected=", ".join(_PARTS), found=", ".join(map(str, labels)),
                        where=str(path))  # fmt: skip
    sequence, _, camera = select.partition("@")
    subject, _, action = sequence.partition("/")
    s = _index(labels["subject_names"], subject, "subject", path)
    a = _index(labels["action_names"], action, "action", path)
    table = labels["table"]
    rows = table[(table["subject_idx"] == s) & (table["action_idx"] == a)]
    if not len(rows):
        raise DataError("no frames of this sequence", expected="rows of the table", found=sequence, where=str(path))
    order = [JOINTS_OF_32.index(j) for j in JOINTS_17_OF_32]
    positions = np.asarray(rows["keypoints"], np.float64)[:, order] / 1000
    frames = np.asarray(rows["frame_idx"], np.int64)
    poses = Poses3D(positions[:, None], np.array([0]), frames, H36M_17.joints, FPS, f"{path}: {select}")
    return in_camera(poses, _camera(labels, s, camera, path)) if camera else poses


def _camera(labels: dict[str, Any], subject: int, name: str, path: Path) -> Camera:
    c = _index(labels.get("camera_names", ()), name, "camera", path)
    values: NDArray[Any] = labels["cameras"][subject][c]
    distortion = np.asarray(values["dist"], np.float64).ravel()[:5]
    t = np.asarray(values["t"], np.float64).ravel() / 1000
    return Camera(name, _SIZE, np.asarray(values["K"], np.float64), distortion, _rotation(values["R"]), t)


def _rotation(R: Any) -> NDArray[np.float64]:
    """The nearest rotation to one that was rounded to single precision."""
    U, _, Vt = np.linalg.svd(np.asarray(R, np.float64))
    return np.asarray(U @ Vt)


def _index(names: Any, wanted: str, what: str, path: Path) -> int:
    known = [str(n) for n in names]
    if wanted not in known:
        raise DataError(
            f"no such {what} in it", expected=", ".join(known[:40]), found=wanted or "nothing selected",
            where=str(path), hint='choose one: mocap evaluate ... --select "S9/Walking-1", or "S9/Walking-1@55011271"',
        )  # fmt: skip
    return known.index(wanted)
