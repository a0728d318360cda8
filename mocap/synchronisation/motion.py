"""Camera times from the people in the take: coarse by trying, then to a fraction of a millisecond."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.synchronisation import Gap, SynchronisationMethod, SynchronisationSettings, TimeModel
from calibration.time_evidence import ClockEvidence, combine
from calibration.time_refinement import Clocks
from calibration.time_scan import CLEAR, OffsetCurve
from mocap.synchronisation.coarse import CoarseOffsets, Sights, coarse_offsets
from mocap.synchronisation.drops import LEAST_SIDE_S, Drop, find_drop
from mocap.synchronisation.fine import fine_clocks
from mocap.synchronisation.recorded import Recorded
from mocap.types import Keypoints2D

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_MOST_DROPS = 6
NOTHING_RECORDED = Recorded()
_NOT_APART = "genlocked: no offset shows in the motion"
_NOT_TOLD = "taken for genlocked, as nothing shows otherwise; the motion does not tell of all cameras"
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


@dataclass(frozen=True, eq=False)
class _Times:
    """Offset, its standard deviation (s; NaN where undecided), drift and its standard deviation; each [V]."""

    offset: Array
    std: Array
    drift: Array
    drift_std: Array


def times_from_motion(
    keypoints: Keypoints2D, rig: CameraRig, settings: SynchronisationSettings, rate: Array | None = None,
    recorded: Recorded = NOTHING_RECORDED,
) -> MotionTimes:  # fmt: skip
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
    recorded : Recorded, optional
        Time stamps, timecode, sound: taken together with the motion by their certainty, and instead of it
        where the motion does not tell.

    Returns
    -------
    MotionTimes
        Cameras whose time cannot be decided keep offset 0 and are named in a warning.
    """
    rig = rig.select(keypoints.cameras)
    V = len(rig)
    rate = np.ones(V) if rate is None else np.asarray(rate, np.float64)
    coarse, drops, gaps = _coarse(keypoints, rig, rate, settings.search_s, recorded)
    coarse = _helped(coarse, recorded, 1 / (keypoints.fps * rate))
    found, said = _measured(keypoints, rig, rate, coarse, gaps, recorded.row_delays(V)), [""] * V
    if recorded.evidence:
        found, said = _with_recorded(found, coarse.reference, recorded)
    offset, std = found.offset, found.std
    decided, step = np.isfinite(offset), 1 / (keypoints.fps * rate)
    apart = decided & (np.abs(offset) > _CLEAR_FRAMES * step + _CLEAR_STD * std)
    used = settings.method is SynchronisationMethod.MOTION or bool(apart.any()) or bool((rate != 1).any())
    statements = tuple(
        _statement(n, v, found, coarse, step[v], used) + said[v] + _lost(v, drops, recorded.gaps)
        for v, n in enumerate(rig.names)
    )
    notable = drops or (used and apart.any())
    (logger.warning if notable else logger.info)("camera times: %s", "; ".join(statements))
    times = TimeModel(
        rig.names,
        np.where(decided & used, offset, 0.0),
        np.where(decided & used, found.drift, 0.0),
        std,
        _how_known(decided, used, recorded),
        rate,
        found.drift_std,
        gaps,
        recorded.row_delays(V),
    )
    return MotionTimes(times, statements, offset, std, coarse, drops)


def _how_known(decided: NDArray[np.bool_], used: bool, recorded: Recorded) -> str:
    """Where the times come from, in words."""
    if used:
        return " and ".join(["motion in the take", *(p.source for p in recorded.evidence)])
    return _NOT_APART if decided.all() else _NOT_TOLD


def _helped(coarse: CoarseOffsets, recorded: Recorded, step: Array) -> CoarseOffsets:
    """With offsets that other sources know to about a frame, for cameras that the motion cannot place."""
    for part in recorded.evidence:
        offset, reference = coarse.offset_s.copy(), coarse.reference
        sure = part.told & (part.std_s <= step)
        if not np.isfinite(offset).any() and sure.sum() >= 2:
            reference = int(np.flatnonzero(sure)[0])
            offset[reference] = 0.0
        if not sure[reference]:
            continue
        missing = sure & ~np.isfinite(offset)
        offset[missing] = (part.offset_s - part.offset_s[reference])[missing]
        coarse = replace(coarse, offset_s=offset, reference=reference)
    return coarse


def _measured(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, coarse: CoarseOffsets, gaps: tuple[Gap, ...],
    row_delay: Array,
) -> _Times:  # fmt: skip
    """What the motion alone says, to a fraction of a frame."""
    V = len(rig)
    clocks = Clocks(np.zeros(V), np.zeros(V), np.full((2 * V, 2 * V), np.nan), np.full(V, np.nan))
    decided = np.isfinite(coarse.offset_s)
    if decided.sum() >= 2:
        clocks = fine_clocks(keypoints, rig, rate, coarse, gaps, row_delay=row_delay)
    std = np.where(decided, clocks.offset_std_s, np.nan)
    decided &= std <= _VAGUE_FRAMES / (keypoints.fps * rate)
    return _Times(
        np.where(decided, clocks.offset_s, np.nan),
        np.where(decided, std, np.nan),
        np.where(decided, clocks.drift, 0.0),
        np.where(decided, clocks.drift_std, np.nan),
    )


def _with_recorded(motion: _Times, reference: int, recorded: Recorded) -> tuple[_Times, list[str]]:
    """Times from motion and all other sources, and what those say of each camera; drifts of these where it has none."""
    offset, std, said = _offsets_with_recorded(motion.offset, motion.std, reference, recorded)
    drift, drift_std = motion.drift, motion.drift_std
    for part in recorded.evidence:
        against = part.drift - part.drift[reference]
        other = np.isfinite(offset) & ~np.isfinite(motion.offset) & np.isfinite(against)
        drift = np.where(other, against, drift)
        drift_std = np.where(other, np.hypot(part.drift_std, part.drift_std[reference]), drift_std)
    return _Times(offset, std, drift, drift_std), said


def _offsets_with_recorded(
    offset: Array, std: Array, reference: int, recorded: Recorded
) -> tuple[Array, Array, list[str]]:
    """Offsets and standard deviations from motion and all other sources, and what those say of each camera."""
    motion = ClockEvidence("motion", offset, std)
    if not motion.told[reference]:
        offset, std = offset.copy(), std.copy()
        offset[reference], std[reference] = 0.0, 0.0
        motion = ClockEvidence("motion", offset, std)
    together = combine((motion, *recorded.evidence), reference)
    said = [""] * len(offset)
    for part in recorded.evidence:
        there, certainty = part.against(reference)
        for v in np.flatnonzero(np.isfinite(there)).tolist():
            if v != reference:
                against = ", contradicts and is not used" if (v, part.source) in together.contradicting else ""
                said[v] += f"; {part.source} {1e3 * there[v]:+.2f} +- {1e3 * certainty[v]:.2f} ms{against}"
    alone = np.isfinite(together.offset_s).sum() < 2
    return (np.full_like(offset, np.nan), np.full_like(std, np.nan), said) if alone else (
        together.offset_s, together.std_s, said
    )  # fmt: skip


def _coarse(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, search_s: float, recorded: Recorded
) -> tuple[CoarseOffsets, tuple[Drop, ...], tuple[Gap, ...]]:
    """Offsets to about a frame; frames that were lost are found one gap after the other and taken into account."""
    drops: list[Drop] = []
    gaps = recorded.gaps
    coarse, found = _scan(keypoints, rig, rate, search_s, gaps)
    while found is not None and len(drops) < _MOST_DROPS:
        tried, _ = _scan(keypoints, rig, rate, search_s, (*gaps, found.gap))
        missing = _counted(keypoints, rig, rate, tried, replace(recorded, gaps=gaps), found.gap)
        if missing == 0:
            break
        found = replace(found, gap=replace(found.gap, missing=missing))
        drops.append(found)
        if missing < 0:
            return coarse, tuple(drops), gaps
        gaps = (*gaps, found.gap)
        coarse, found = _scan(keypoints, rig, rate, search_s, gaps)
    return coarse, tuple(drops), gaps


def _scan(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, search_s: float, gaps: tuple[Gap, ...]
) -> tuple[CoarseOffsets, Drop | None]:
    nothing = np.zeros(len(rig))
    clocks = TimeModel(rig.names, nothing, nothing, nothing, "counted", rate, gaps=gaps)
    sights = Sights.of(keypoints, rig, clocks)
    coarse = coarse_offsets(sights, search_s)
    return coarse, find_drop(sights, coarse, clocks, keypoints.fps)


def _counted(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, coarse: CoarseOffsets, recorded: Recorded, gap: Gap
) -> int:
    """How many frames are missing: the camera counts as another one behind the gap, 0 where that does not tell."""
    if not np.isfinite(coarse.offset_s[gap.camera]):
        return 0
    if _shared(keypoints, rig, rate, coarse, (*recorded.gaps, gap), gap) < LEAST_SIDE_S:
        return 0
    gaps, delay = (*recorded.gaps, gap), recorded.row_delays(len(rig))
    clocks = fine_clocks(keypoints, rig, rate, coarse, gaps, behind=gap, row_delay=delay)
    period = 1 / (keypoints.fps * rate[gap.camera])
    frames = (clocks.offset_s[-1] - clocks.offset_s[gap.camera]) / period + gap.missing
    std = float(np.hypot(clocks.offset_std_s[-1], clocks.offset_std_s[gap.camera])) / period
    whole = round(float(frames)) if np.isfinite(frames) else 0
    return whole if std < _VAGUE_FRAMES and abs(frames - whole) < _VAGUE_FRAMES + 3 * std else 0


def _shared(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, coarse: CoarseOffsets, gaps: tuple[Gap, ...], gap: Gap
) -> float:
    """How long (s) another camera filmed along before the gap, or behind it: the shorter of the two."""
    decided, nothing = np.isfinite(coarse.offset_s), np.zeros(len(rig))
    offset = np.where(decided, coarse.offset_s, 0.0)
    clocks = TimeModel(rig.names, offset, nothing, nothing, "coarse", rate, gaps=gaps)
    first, last = keypoints.frames[[0, -1]].astype(np.float64)
    sides = [
        clocks.exposure_times(gap.camera, np.array(ends), keypoints.fps)
        for ends in ((first, gap.frame - 1.0), (float(gap.frame), last))
    ]
    others = [
        clocks.exposure_times(v, np.array([first, last]), keypoints.fps)
        for v in np.flatnonzero(decided).tolist()
        if v != gap.camera
    ]
    return min(
        max((float(min(side[1], other[1]) - max(side[0], other[0])) for other in others), default=0.0) for side in sides
    )


def _lost(camera: int, drops: tuple[Drop, ...], stamped: tuple[Gap, ...]) -> str:
    """What is said of a camera's lost frames."""
    text = "".join(
        f"; {g.missing} frames lost, put back: before frame {g.frame}, by the time stamps"
        for g in stamped
        if g.camera == camera
    )
    for d in drops:
        if d.gap.camera == camera:
            what = "lost, put back" if d.gap.missing > 0 else "too many, not corrected"
            text += (
                f"; {abs(d.gap.missing)} frames {what}: before frame {d.gap.frame} (between {d.earliest} and "
                f"{d.latest}), found from the motion"
            )
    return text


def _statement(name: str, v: int, found: _Times, coarse: CoarseOffsets, step: float, used: bool) -> str:
    offset, std = found.offset, found.std
    if not np.isfinite(offset[v]):
        if not np.isfinite(coarse.offset_s[v]):
            return f"{name}: cannot be decided from this motion ({_why_not(coarse.curves[v])}), taken for 0"
        return f"{name}: cannot be decided from this motion (too little movement), taken for 0"
    if v == coarse.reference:
        return f"{name}: reference"
    text = f"{name}: {1e3 * offset[v]:+.2f} +- {1e3 * std[v]:.2f} ms ({offset[v] / step:+.2f} frames)"
    if found.drift_std[v] > 0:
        text += f", drift {1e6 * found.drift[v]:+.1f} +- {1e6 * found.drift_std[v]:.1f} ppm"
    return text if used else text + ", taken for 0"


def _why_not(curve: OffsetCurve | None) -> str:
    """What the motion tells of a camera's offset that it does not decide."""
    if curve is None or np.isnan(curve.best_s):
        return "it never sees people while another camera does"
    best = f"fits the others best at {-1e3 * curve.best_s:+.0f} ms"
    if not curve.certainty:
        return f"{best}, but too short or too still to say how much better than elsewhere"
    return f"{best}, but better than elsewhere by {curve.certainty:.1f} standard errors only, {CLEAR:.0f} needed"
