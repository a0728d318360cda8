"""What a joint calibration estimates: cameras and target poses as plain arrays, and how steps change them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.projection import Lenses

Array = NDArray[np.float64]

INTRINSICS = 9  # fx fy cx cy k1 k2 p1 p2 k3, as in calibration.camera.CAMERA_PARAMETERS
ROTATION, TRANSLATION = slice(9, 12), slice(12, 15)
TIME_OFFSET = 15
CAMERA_BLOCK = 16  # the fifteen of calibration.camera.CAMERA_PARAMETERS and the time offset (s)
POSE_BLOCK = 6


def rotation_matrix(vector: Array) -> Array:
    """Rotation vectors [..., 3] (rad) as matrices [..., 3, 3]."""
    return Rotation.from_rotvec(vector.reshape(-1, 3)).as_matrix().reshape(*vector.shape, 3)


@dataclass(frozen=True, eq=False)
class RigState:
    """The unknowns of C cameras and B target poses.

    Attributes
    ----------
    intrinsics : float64 [C, 9]
        fx fy cx cy (px) and the five distortion coefficients.
    R, t : float64 [C, 3, 3] and [C, 3]
        ``x_camera = R x_rig + t`` (m).
    offset : float64 [C]
        Seconds to add to a camera's time stamps.
    target_rotation, target_translation : float64 [B, 3, 3] and [B, 3]
        ``x_rig = R x_target + t`` at each pose's time.
    twist : float64 [B, 6]
        How the target moves at that time: rotation (left-multiplied, rad/s) and translation (m/s).
    fisheye : bool [C]
    """

    intrinsics: Array
    R: Array
    t: Array
    offset: Array
    target_rotation: Array
    target_translation: Array
    twist: Array
    fisheye: NDArray[np.bool_]

    @property
    def K(self) -> Array:
        """float64 [C, 3, 3], px."""
        K = np.zeros((len(self.intrinsics), 3, 3))
        K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = self.intrinsics[:, :4].T
        K[:, 2, 2] = 1.0
        return K

    def lenses(self, camera: NDArray[np.int64]) -> Lenses:
        """The lenses of the given cameras [M], one per view; points are to be given in camera axes."""
        return Lenses(self.K[camera], self.intrinsics[camera, 4:], self.R[camera], self.t[camera], self.fisheye[camera])

    def moved(self, cameras: Array, poses: Array) -> RigState:
        """The state after a step: `cameras` [C, 16] and `poses` [B, 6] in the blocks' order."""
        return replace(
            self,
            intrinsics=self.intrinsics + cameras[:, :INTRINSICS],
            R=rotation_matrix(cameras[:, ROTATION]) @ self.R,
            t=self.t + cameras[:, TRANSLATION],
            offset=self.offset + cameras[:, TIME_OFFSET],
            target_rotation=rotation_matrix(poses[:, :3]) @ self.target_rotation,
            target_translation=self.target_translation + poses[:, 3:],
        )
