"""Camera times from the people in the take: coarse by trying, then to a fraction of a millisecond."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.synchronisation import Gap, SynchronisationMethod, SynchronisationSettings, TimeModel
from calibration.time_refinement import Clocks
from mocap.synchronisation.coarse import CoarseOffsets, Sights, coarse_offsets
from mocap.synchronisation.drops import Drop, find_drop
from mocap.synchronisation.fine import fine_clocks
from mocap.types import Keypoints2D

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_MOST_DROPS = 6
# Not decided: an offset known worse than this part of a frame says less than the cameras' name plate.
_VAGUE_FRAMES = 0.3
# Beyond doubt not genlocked: more than this part of a frame, and far more than its uncertainty.
_CLEAR_FRAMES, _CLEAR_STD = 0.25, 4.0


@dataclass(frozen=True, eq=False)
class MotionTimes:
    """What the motion says of the cameras' times.

    Attributes
    ----------
    times : TimeModel
        What is used from here on.
    statements : tuple of str
        Per camera, in words: offset, certainty and what it was taken for.
    offset_s, std_s : float64 [V]
        What was measured, used or not; NaN where it cannot be decided.
    coarse : CoarseOffsets
        With the curves of cost against offset.
    drops : tuple of Drop
        Frames that were lost or stored twice without the file saying so.
    """

    times: TimeModel
    statements: tuple[str, ...]
    offset_s: Array
    std_s: Array
    coarse: CoarseOffsets
    drops: tuple[Drop, ...] = ()


def times_from_motion(
    keypoints: Keypoints2D, rig: CameraRig, settings: SynchronisationSettings, rate: Array | None = None
) -> MotionTimes:
    """Find each camera's time offset (and drift in long takes).

    Parameters
    ----------
    keypoints : Keypoints2D
        Frame numbers as each camera counts them.
    rig : CameraRig
        Must have every camera of `keypoints`.
    settings : SynchronisationSettings
        AUTO uses what was found only where cameras are beyond doubt apart, or their rates differ.
    rate : float64 [V], optional
        Frame rates as shares of the keypoints' own.

    Returns
    -------
    MotionTimes
        Cameras whose time cannot be decided keep offset 0 and are named in a warning.
    """
    rig = rig.select(keypoints.cameras)
    V = len(rig)
    rate = np.ones(V) if rate is None else np.asarray(rate, np.float64)
    coarse, drops, gaps = _coarse(keypoints, rig, rate, settings.search_s)
    clocks = Clocks(np.zeros(V), np.zeros(V), np.full((2 * V, 2 * V), np.nan), np.full(V, np.nan))
    decided = np.isfinite(coarse.offset_s)
    if decided.sum() >= 2:
        clocks = fine_clocks(keypoints, rig, rate, coarse, gaps)
    std = np.where(decided, clocks.offset_std_s, np.nan)
    step = 1 / (keypoints.fps * rate)
    decided &= std <= _VAGUE_FRAMES * step
    std = np.where(decided, std, np.nan)
    offset = np.where(decided, clocks.offset_s, np.nan)
    apart = decided & (np.abs(offset) > _CLEAR_FRAMES * step + _CLEAR_STD * std)
    used = settings.method is SynchronisationMethod.MOTION or bool(apart.any()) or bool((rate != 1).any())
    statements = tuple(
        _statement(n, v, clocks, offset, std, coarse, step[v], used) + _lost(v, drops) for v, n in enumerate(rig.names)
    )
    notable = drops or (used and apart.any())
    (logger.warning if notable else logger.info)("camera times: %s", "; ".join(statements))
    times = TimeModel(
        rig.names,
        np.where(decided & used, offset, 0.0),
        np.where(decided & used, clocks.drift, 0.0),
        std,
        "motion in the take" if used else "genlocked: no offset shows in the motion",
        rate,
        np.where(decided, clocks.drift_std, np.nan),
        gaps,
    )
    return MotionTimes(times, statements, offset, std, coarse, drops)


def _coarse(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, search_s: float
) -> tuple[CoarseOffsets, tuple[Drop, ...], tuple[Gap, ...]]:
    """Offsets to about a frame; frames that were lost are found one gap after the other and taken into account."""
    drops: list[Drop] = []
    coarse, found = _scan(keypoints, rig, rate, search_s, ())
    while found is not None and len(drops) < _MOST_DROPS:
        gaps = tuple(d.gap for d in drops)
        tried, _ = _scan(keypoints, rig, rate, search_s, (*gaps, found.gap))
        missing = _counted(keypoints, rig, rate, tried, gaps, found.gap)
        if missing == 0:
            break
        found = replace(found, gap=replace(found.gap, missing=missing))
        drops.append(found)
        if missing < 0:
            return coarse, tuple(drops), gaps
        coarse, found = _scan(keypoints, rig, rate, search_s, (*gaps, found.gap))
    return coarse, tuple(drops), tuple(d.gap for d in drops)


def _scan(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, search_s: float, gaps: tuple[Gap, ...]
) -> tuple[CoarseOffsets, Drop | None]:
    nothing = np.zeros(len(rig))
    clocks = TimeModel(rig.names, nothing, nothing, nothing, "counted", rate, gaps=gaps)
    sights = Sights.of(keypoints, rig, clocks)
    coarse = coarse_offsets(sights, search_s)
    return coarse, find_drop(sights, coarse, clocks, keypoints.fps)


def _counted(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, coarse: CoarseOffsets, gaps: tuple[Gap, ...], gap: Gap
) -> int:
    """How many frames are missing: the camera counts as another one behind the gap, 0 where that does not tell."""
    if not np.isfinite(coarse.offset_s[gap.camera]):
        return 0
    clocks = fine_clocks(keypoints, rig, rate, coarse, (*gaps, gap), behind=gap)
    period = 1 / (keypoints.fps * rate[gap.camera])
    frames = (clocks.offset_s[-1] - clocks.offset_s[gap.camera]) / period + gap.missing
    std = float(np.hypot(clocks.offset_std_s[-1], clocks.offset_std_s[gap.camera])) / period
    whole = round(float(frames)) if np.isfinite(frames) else 0
    return whole if std < _VAGUE_FRAMES and abs(frames - whole) < _VAGUE_FRAMES + 3 * std else 0


def _lost(camera: int, drops: tuple[Drop, ...]) -> str:
    """What is said of a camera's lost frames."""
    text = ""
    for d in drops:
        if d.gap.camera == camera:
            what = "lost, put back" if d.gap.missing > 0 else "too many, not corrected"
            text += (
                f"; {abs(d.gap.missing)} frames {what}: before frame {d.gap.frame} (between {d.earliest} and "
                f"{d.latest}), found from the motion"
            )
    return text


def _statement(
    name: str, v: int, clocks: Clocks, offset: Array, std: Array, coarse: CoarseOffsets, step: float, used: bool
) -> str:
    if not np.isfinite(offset[v]):
        if not np.isfinite(coarse.offset_s[v]):
            return f"{name}: cannot be decided from this motion (no offset fits clearly better than the others)"
        return f"{name}: cannot be decided from this motion (too little movement)"
    if v == coarse.reference:
        return f"{name}: reference"
    text = f"{name}: {1e3 * offset[v]:+.2f} +- {1e3 * std[v]:.2f} ms ({offset[v] / step:+.2f} frames)"
    if clocks.drift_std[v] > 0:
        text += f", drift {1e6 * clocks.drift[v]:+.1f} +- {1e6 * clocks.drift_std[v]:.1f} ppm"
    return text if used else text + ", taken for 0"
