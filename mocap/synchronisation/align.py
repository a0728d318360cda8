"""How the cameras stood in time and space during the take."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.refinement import RigCorrection
from calibration.synchronisation import (
    SynchronisationMethod,
    SynchronisationSettings,
    TimeModel,
    check_row_delay,
    synchronise,
)
from mocap.errors import DataError
from mocap.resampling import to_common_time
from mocap.rig_check import check_rig
from mocap.synchronisation.motion import NOTHING_RECORDED, MotionTimes, times_from_motion
from mocap.synchronisation.recorded import Recorded
from mocap.types import Keypoints2D

logger = logging.getLogger(__name__)

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
    keypoints: Keypoints2D, rig: CameraRig, settings: SynchronisationSettings, rate: Array | None = None,
    recorded: Recorded = NOTHING_RECORDED,
) -> Alignment:  # fmt: skip
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
    recorded : Recorded, optional
        Time stamps, timecode, sound, flash (methods auto and motion); row delays.

    Raises
    ------
    SettingsError
        An offset is given for a camera that does not exist, or a row delay that no camera has.
    DataError
        No two cameras saw people at the same time.
    """
    delays = recorded.row_delays(len(rig))
    for v, delay in enumerate(delays.tolist()):
        own = keypoints.fps * (1.0 if rate is None else float(rate[v]))
        check_row_delay(rig.names[v], delay, rig.cameras[v].size[1], own)
    if settings.method not in (SynchronisationMethod.AUTO, SynchronisationMethod.MOTION):
        times = replace(synchronise(rig.names, settings, rate), row_delay_s=delays)
        check_overlap(keypoints, times)
        return Alignment(times, check_rig(to_common_time(keypoints, times), rig, settings.refine_cameras))
    evidence = times_from_motion(keypoints, rig, settings, rate, recorded)
    correction = check_rig(to_common_time(keypoints, evidence.times), rig, settings.refine_cameras)
    if correction.rotation.any():
        # Cameras that look elsewhere than calibrated bias the times a little: once more without that.
        evidence = times_from_motion(keypoints, correction.apply(rig), settings, rate, recorded)
    check_overlap(keypoints, evidence.times)
    return Alignment(evidence.times, correction, evidence)


def check_overlap(keypoints: Keypoints2D, times: TimeModel) -> None:
    """Say which cameras saw people only while no other did.

    Raises
    ------
    DataError
        No two cameras saw people at the same time.
    """
    seen = np.asarray((keypoints.confidence > 0).any((2, 3)))
    spans: dict[int, tuple[float, float]] = {}
    for v in np.flatnonzero(seen.any(1)).tolist():
        ends = keypoints.frames[np.flatnonzero(seen[v])[[0, -1]]].astype(np.float64)
        first, last = times.exposure_times(v, ends, keypoints.fps)
        spans[v] = (float(first), float(last))
    alone = [
        v for v, (a, b) in spans.items() if not any(a <= d and c <= b for w, (c, d) in spans.items() if w != v)
    ]  # fmt: skip
    if len(spans) < 2 or not alone:
        return
    text = "; ".join(f"{times.cameras[v]}: {a:.2f} to {b:.2f} s" for v, (a, b) in spans.items())
    if len(alone) == len(spans):
        raise DataError(
            "no two cameras saw anybody at the same time", expected="recordings that overlap", found=text,
            where="the common clock", hint="check synchronise.offsets_s and that the videos are of one take",
        )  # fmt: skip
    names = ", ".join(times.cameras[v] for v in alone)
    logger.warning("camera %s saw people only while no other did, and adds nothing (%s)", names, text)
