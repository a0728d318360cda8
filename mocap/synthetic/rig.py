"""Synthetic camera rigs."""

from __future__ import annotations

import numpy as np

from calibration.camera import Camera, CameraRig
from mocap.errors import DataError
from mocap.viewer.view import look_at

# Standard deviations of the spread that makes each camera of a rig a little different.
_FOCAL_SPREAD = 0.01
_CENTRE_SPREAD_PX = 8.0
_AIM_SPREAD_M = 0.05
_ROLL_SPREAD_RAD = 0.02
# k1 k2 p1 p2 k3 of a usual C-mount lens.
_LENS = np.array([-0.10, 0.04, 0.0, 0.0, 0.0])
_LENS_SPREAD = np.array([0.02, 0.01, 4e-4, 4e-4, 2e-3])


def ring_rig(
    n_cameras: int = 4,
    *,
    radius: float = 4.0,
    height: tuple[float, float] = (1.5, 2.5),
    size: tuple[int, int] = (1080, 1080),
    focal: float = 1100.0,
    distortion: float = 1.0,
    target: tuple[float, float, float] = (0.0, 0.0, 1.0),
    seed: int = 0,
) -> CameraRig:
    """Cameras on a ring round the capture volume, each a little different as real ones are.

    Parameters
    ----------
    n_cameras : int
    radius : float
        Of the ring, metres.
    height : (float, float)
        Lowest and highest camera, metres above the floor.
    size : (int, int)
        Image (width, height), px.
    focal : float
        Focal length, px.
    distortion : float
        Strength of the Brown-Conrady distortion: 1 is a usual C-mount lens (k1 about -0.1), 0 none.
    target : (x, y, z)
        What all cameras look at, metres.
    seed : int
        Of the differences between the cameras.

    Returns
    -------
    CameraRig
        Named cam_0, cam_1, ...

    Raises
    ------
    DataError
        No camera, or a radius that is not positive.
    """
    if n_cameras < 1 or radius <= 0:
        found = f"{n_cameras} cameras, radius {radius} m"
        raise DataError("no ring", expected="at least one camera, a positive radius", found=found, where="ring_rig")
    rng = np.random.default_rng(seed)
    cameras = []
    for v in range(n_cameras):
        angle = 2 * np.pi * (v + 0.5 + 0.15 * rng.uniform(-1, 1)) / n_cameras
        x, y = target[0] + radius * np.cos(angle), target[1] + radius * np.sin(angle)
        centre = np.array([x, y, rng.uniform(*height)])
        aim = np.asarray(target) + rng.normal(0, _AIM_SPREAD_M, 3)
        R, t = look_at(centre, aim, rng.normal(0, _ROLL_SPREAD_RAD))
        f = focal * (1 + rng.normal(0, _FOCAL_SPREAD))
        middle = (np.array(size) - 1) / 2 + rng.normal(0, _CENTRE_SPREAD_PX, 2)
        K = np.array([[f, 0.0, middle[0]], [0.0, f * (1 + rng.normal(0, 5e-4)), middle[1]], [0.0, 0.0, 1.0]])
        lens = distortion * (_LENS + _LENS_SPREAD * rng.normal(size=5))
        cameras.append(Camera(f"cam_{v}", size, K, lens, R, t))
    return CameraRig(tuple(cameras), world_source="synthetic: floor at z = 0, origin in the middle of the ring")
