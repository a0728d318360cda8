"""Other programs on the same input: OpenCV here, aniposelib in a Python of its own.

aniposelib brings another OpenCV than this project's, so it lives in an environment of its own, and Pose2Sim with
it (`make bench-peers`, extra `bench`); MOCAP_BENCH_PYTHON names its Python.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from bench_run import MissingError
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig
from calibration.observations import TargetObservations
from calibration.projection import Lenses, undistort

ROOT = Path(__file__).resolve().parents[2]
ANIPOSE = """
import sys, time
import numpy as np
from importlib.metadata import version
from aniposelib.cameras import Camera, CameraGroup
z = np.load(sys.argv[1])
cameras = [Camera(matrix=K, dist=d, size=tuple(z["size"]), rvec=r, tvec=t)
           for K, d, r, t in zip(z["K"], z["distortion"], z["rvec"], z["t"])]
group, pixels = CameraGroup(cameras), z["pixels"]
def clock(run, repeats):
    times = []
    for _ in range(repeats):
        start = time.process_time(); result = run(); times.append(time.process_time() - start)
    return result, min(times)
linear, seconds = clock(lambda: group.triangulate(pixels, progress=False), 2)
few = z["few"]
robust, slow = (np.full(few.shape[1:2] + (3,), np.nan), np.nan)
if len(few[0]):
    robust, slow = clock(lambda: group.triangulate_ransac(few, min_cams=2, progress=False)[0], 1)
np.savez(sys.argv[2], linear=linear, seconds=seconds, robust=robust, slow=slow, version=version("aniposelib"))
"""


@dataclass(frozen=True, eq=False)
class Anipose:
    """What aniposelib makes of a take: positions [T, J, 3] m and processor seconds, linear and RANSAC."""

    linear: np.ndarray
    linear_seconds: float
    robust: np.ndarray
    robust_seconds: float
    version: str


def peer_python() -> str:
    """A Python that has aniposelib and Pose2Sim; MissingError where there is none."""
    own = ROOT / ".venv-peers" / "bin" / "python"
    python = os.environ.get("MOCAP_BENCH_PYTHON") or (str(own) if own.exists() else "")
    if not python:
        raise MissingError("other programs: need `make bench-peers`, or MOCAP_BENCH_PYTHON")
    return python


def anipose(pixels: np.ndarray, rig: CameraRig, robust_frames: int = 0) -> Anipose:
    """aniposelib's triangulation of pixels [V, T, J, 2]; RANSAC on the first frames only: it is slow."""
    python, lenses = peer_python(), Lenses.of(rig)
    V, T, J, _ = pixels.shape
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(
            given, K=lenses.K, distortion=lenses.distortion, t=lenses.t,
            rvec=Rotation.from_matrix(lenses.R).as_rotvec(),
            pixels=pixels.reshape(V, -1, 2), few=pixels[:, :robust_frames].reshape(V, -1, 2), size=rig.cameras[0].size,
        )  # fmt: skip
        done = subprocess.run([python, "-c", ANIPOSE, str(given), str(made)], capture_output=True, text=True,
                              check=False)  # fmt: skip
        if done.returncode:
            said = done.stderr.strip().splitlines() or [str(done.returncode)]
            raise MissingError(f"aniposelib did not run: {said[-1]}")
        with np.load(made) as z:
            return Anipose(
                z["linear"].reshape(T, J, 3), float(z["seconds"]), z["robust"].reshape(-1, J, 3), float(z["slow"]),
                str(z["version"]),
            )  # fmt: skip


def pairwise_opencv(pixels: np.ndarray, rig: CameraRig) -> np.ndarray:
    """Positions [T, J, 3] of pixels [V, T, J, 2]: the mean over view pairs of cv2.triangulatePoints, undistorted."""
    rays = undistort(Lenses.of(rig), pixels.astype(float))
    V, T, J, _ = rays.shape
    total, count = np.zeros((T * J, 3)), np.zeros((T * J, 1))
    P = [np.hstack([c.R, c.t[:, None]]) for c in rig.cameras]
    for a in range(V):
        for b in range(a + 1, V):
            x, y = (rays[v].reshape(-1, 2).T for v in (a, b))
            ok = np.isfinite(x).all(0) & np.isfinite(y).all(0)
            h = cv2.triangulatePoints(P[a], P[b], x[:, ok], y[:, ok])
            total[ok] += (h[:3] / h[3]).T
            count[ok] += 1
    return (total / np.where(count > 0, count, np.nan)).reshape(T, J, 3)


def opencv_calibration(o: TargetObservations, most_views: int = 60) -> SimpleNamespace:
    """A rig as OpenCV's tutorials make it: cv2.calibrateCamera per camera, then cv2.stereoCalibrate along the ring.

    Has `rig`, in the frame of the first camera. Boards only.
    """
    views = [_views(o, c) for c in range(len(o.cameras))]
    lenses, R, t = [], [np.eye(3)], [np.zeros(3)]
    for c, seen in enumerate(views):
        chosen = list(seen)[:: max(1, len(seen) // most_views)]
        object_points = [o.points[seen[b][0]].astype(np.float32) for b in chosen]
        pixels = [seen[b][1].astype(np.float32) for b in chosen]
        _, K, d, _, _ = cv2.calibrateCamera(object_points, pixels, o.sizes[c], None, None)
        lenses.append((K, d.ravel()))
    for c in range(1, len(views)):
        both = [b for b in views[c - 1] if b in views[c]]
        both = both[:: max(1, len(both) // most_views)]
        parts = [_common(o, views[c - 1][b], views[c][b]) for b in both]
        parts = [p for p in parts if len(p[0]) >= 6]
        (K1, d1), (K2, d2) = lenses[c - 1], lenses[c]
        found = cv2.stereoCalibrate(*([p[i] for p in parts] for i in range(3)), K1, d1, K2, d2, o.sizes[c],
                                    flags=cv2.CALIB_FIX_INTRINSIC)  # fmt: skip
        turn, shift = found[5], found[6].ravel()
        R.append(turn @ R[-1])
        t.append(turn @ t[-1] + shift)
    cameras = (Camera(n, o.sizes[c], *lenses[c], R[c], t[c]) for c, n in enumerate(o.cameras))
    return SimpleNamespace(rig=CameraRig(tuple(cameras)))


def _views(o: TargetObservations, camera: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    rows = np.flatnonzero(o.camera == camera)
    return {int(b): (o.point[r], o.pixel[r]) for b in np.unique(o.pose[rows]) for r in [rows[o.pose[rows] == b]]}


def _common(o: TargetObservations, a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    _, i, k = np.intersect1d(a[0], b[0], return_indices=True)
    return tuple(x.astype(np.float32) for x in (o.points[a[0][i]], a[1][i], b[1][k]))
