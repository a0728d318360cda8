"""From where a scene is looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.camera import Camera
from mocap.errors import DataError
from mocap.types import Trajectories3D
from mocap.viewer.clip import Clip, as_clip
from mocap.viewer.scene import known_skeleton
from mocap.viewer.settings import ViewSettings

Array = NDArray[np.float64]

# Round the motion, for what is drawn beyond the joints; share of the picture that it then fills.
_PADDING_M = 0.12
_FILL = 0.94


def look_at(centre: ArrayLike, target: ArrayLike, roll: float = 0.0) -> tuple[Array, Array]:
    """Pose of a camera that looks at a point, upright in a z-up world.

    Parameters
    ----------
    centre, target : [3], metres
        Where the camera is and what it looks at; not one straight above the other.
    roll : float
        Turn about the optical axis, radians.

    Returns
    -------
    R : float64 [3, 3], t : float64 [3]
        World to camera (OpenCV axes).

    Raises
    ------
    DataError
        The camera would look straight up or down, where "upright" has no meaning.
    """
    centre, target = np.asarray(centre, dtype=np.float64), np.asarray(target, dtype=np.float64)
    forward = target - centre
    right = np.cross(forward, (0.0, 0.0, 1.0))
    if np.linalg.norm(right) < 1e-9:
        raise DataError("a camera that looks straight up or down has no upright pose", where="look_at")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    upright = np.stack([right, np.cross(forward, right), forward])
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ upright
    return R, -R @ centre


class Orbit:
    """A view that keeps the whole motion in the picture and may swing round it.

    Parameters
    ----------
    positions : [T, P, J, 3], metres
        NaN where missing.
    front : float
        Direction the first person faces, radians about the vertical from +x.
    settings : ViewSettings

    Raises
    ------
    DataError
        No position at all.
    """

    def __init__(self, positions: Array, front: float, settings: ViewSettings) -> None:
        points = positions.reshape(-1, 3)
        points = points[np.isfinite(points).all(-1)].astype(np.float64)
        if not len(points):
            raise DataError(
                "nothing to show: no joint has a position",
                hint="see `mocap why SESSION filter` for what became of the observations",
                where="view",
            )
        # A few wild samples must not shrink everything else.
        low, high = np.percentile(points, [0.5, 99.5], axis=0)
        low[2] = min(low[2], 0.0)
        self.target = (low + high) / 2
        self.radius = max(float(np.linalg.norm(high - low)) / 2, 0.5)
        self._settings, self._front = settings, front
        self._distance = self._enough(low - _PADDING_M, high + _PADDING_M)

    def _enough(self, low: Array, high: Array) -> float:
        """Distance from which the box low..high is in the picture throughout the swing."""
        corners = np.array([(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        tan_y = np.tan(np.radians(self._settings.field_of_view_deg) / 2)
        tangents = tan_y * np.array([self._settings.width / self._settings.height, 1.0]) * _FILL
        needed = []
        for progress in np.linspace(0, 1, 9):
            away = self._away(progress)
            R, _ = look_at(self.target + away, self.target)
            local = (corners - self.target) @ R.T
            needed.append((np.abs(local[:, :2]) / tangents - local[:, 2:]).max())
        return float(max(needed))

    def camera(self, progress: float = 0.5) -> Camera:
        """The view at a share 0..1 of the video, without distortion."""
        s = self._settings
        R, t = look_at(self.target + self._distance * self._away(progress), self.target)
        f = s.height / 2 / np.tan(np.radians(s.field_of_view_deg) / 2)
        K = np.array([[f, 0.0, (s.width - 1) / 2], [0.0, f, (s.height - 1) / 2], [0.0, 0.0, 1.0]])
        return Camera("view", (s.width, s.height), K, np.zeros(5), R, t)

    def _away(self, progress: float) -> Array:
        """Unit vector from the target to the view."""
        s = self._settings
        swing = 0.5 * np.radians(s.orbit_deg) * np.sin(2 * np.pi * (progress - 0.5))
        azimuth = self._front + np.radians(s.azimuth_deg) + swing
        elevation = np.radians(s.elevation_deg)
        return np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])


def through(camera: Camera, settings: ViewSettings) -> Camera:
    """A view from where a camera stands that holds all its picture, without its distortion."""
    w, h = camera.size
    scale = min(settings.width / w, settings.height / h)
    # Pixel centres are whole numbers: a picture of w pixels goes from -1/2 to w - 1/2.
    middle = scale * (camera.K[:2, 2] - (np.array([w, h]) - 1) / 2)
    cx, cy = middle + (np.array([settings.width, settings.height]) - 1) / 2
    K = np.array([[scale * camera.K[0, 0], 0.0, cx], [0.0, scale * camera.K[1, 1], cy], [0.0, 0.0, 1.0]])
    return Camera("view", (settings.width, settings.height), K, np.zeros(5), camera.R, camera.t)


def facing(left: Array, right: Array) -> float:
    """Mean direction that people face, from their left and right hips (or shoulders) [N, 3].

    Returns
    -------
    float
        Radians about the vertical from +x; -pi/2 (facing -y) where nothing is known.
    """
    across = (left - right)[:, :2]
    across = across[np.isfinite(across).all(-1)]
    forward = np.stack([across[:, 1], -across[:, 0]], -1)  # left x up
    middle = forward[len(forward) // 2] if len(forward) else np.array([0.0, -1.0])
    return float(np.arctan2(middle[1], middle[0]))


def make_orbit(result: Trajectories3D | Clip, settings: ViewSettings) -> Orbit:
    """The view that keeps all people in the picture, from where the first of them is seen from the front."""
    clip = as_clip(result)
    positions = clip.sample
    skeleton = known_skeleton(clip.joint_names)
    front = -np.pi / 2
    if skeleton is not None:
        left, right = (positions[:, 0, skeleton.index(f"{s}_hip")] if positions.shape[1] else None for s in "lr")
        front = front if left is None or right is None else facing(left, right)
    # A little from the side, where depth shows.
    return Orbit(positions, front + np.radians(25.0), settings)
