"""How the cameras stood in time and space during the take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.refinement import RigCorrection
from calibration.synchronisation import SynchronisationMethod, SynchronisationSettings, TimeModel, synchronise
from mocap.resampling import to_common_time
from mocap.rig_check import check_rig
from mocap.synchronisation.motion import MotionTimes, times_from_motion
from mocap.types import Keypoints2D

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alignment:
    """What the synchronise stage finds.

    Attributes
    ----------
    times : TimeModel
    correction : RigCorrection
    evidence : MotionTimes or None
        What the motion says of the times; None where they were stated.
    """

    times: TimeModel
    correction: RigCorrection
    evidence: MotionTimes | None = None


def align_cameras(
    keypoints: Keypoints2D, rig: CameraRig, settings: SynchronisationSettings, rate: Array | None = None
) -> Alignment:
    """Find the cameras' times and whether they were nudged since calibration.

    Parameters
    ----------
    keypoints : Keypoints2D
        Frame numbers as each camera counts them.
    rig : CameraRig
        Of the same cameras.
    settings : SynchronisationSettings
    rate : float64 [V], optional
        Frame rates as shares of the keypoints' own.

    Raises
    ------
    SettingsError
        An offset is given for a camera that does not exist.
    """
    if settings.method not in (SynchronisationMethod.AUTO, SynchronisationMethod.MOTION):
        times = synchronise(rig.names, settings, rate)
        return Alignment(times, check_rig(to_common_time(keypoints, times), rig, settings.refine_cameras))
    evidence = times_from_motion(keypoints, rig, settings, rate)
    correction = check_rig(to_common_time(keypoints, evidence.times), rig, settings.refine_cameras)
    if correction.rotation.any():
        # Cameras that look elsewhere than calibrated bias the times a little: once more without that.
        evidence = times_from_motion(keypoints, correction.apply(rig), settings, rate)
    return Alignment(evidence.times, correction, evidence)
