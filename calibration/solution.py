"""What a calibration found, with what it is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig


@dataclass(frozen=True, eq=False)
class CalibrationSolution:
    """Result of a joint calibration from N observations of a target in B poses by C cameras.

    Attributes
    ----------
    rig : CameraRig
        In the frame of the reference camera until a world frame is chosen (`calibration.world_frame`).
    covariance : float64 [D, D]
        Of the free camera parameters, after the gauge (reference camera's pose) is taken out.
    parameter_camera : int64 [D]
        The camera each free parameter belongs to.
    parameter_index : int64 [D]
        Which of `calibration.camera.CAMERA_PARAMETERS` it is: fx fy cx cy | k1 k2 p1 p2 k3 | rotation
        (left-multiplied increment, rad) | translation (m).
    time_offset_s : float64 [C]
        What to add to a camera's time stamps to get common time; zeros when not estimated.
    time_offset_std_s : float64 [C]
        Standard deviation (s); NaN when not estimated. Errors that all points of a view share count once.
    rms_offsets_px : (float, float)
        RMS residual of the inliers without and with the time offsets; NaN when not estimated.
    rig_from_target : (float64 [B, 3], float64 [B, 3])
        Rotation vectors and translations of ``x_rig = R x_target + t`` per pose; NaN where not solved.
    residual : float64 [N, 2]
        Observed minus projected pixel; NaN where the pose was not solved.
    inlier : bool [N]
        The observations that decided the result.
    sigma_px : float64 [C]
        Robust standard deviation of the inlier residuals, per coordinate.
    """

    rig: CameraRig
    covariance: NDArray[np.float64]
    parameter_camera: NDArray[np.int64]
    parameter_index: NDArray[np.int64]
    time_offset_s: NDArray[np.float64]
    time_offset_std_s: NDArray[np.float64]
    rms_offsets_px: tuple[float, float]
    rig_from_target: tuple[NDArray[np.float64], NDArray[np.float64]]
    residual: NDArray[np.float64]
    inlier: NDArray[np.bool_]
    sigma_px: NDArray[np.float64]
