"""Whether the cameras still stand as calibrated, judged by the people they film."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.refinement import RigCorrection, refine_rotations
from calibration.synchronisation import CameraRefinement
from mocap.matching import MatchingSettings, match_people
from mocap.stretches import spread_windows
from mocap.triangulation import TriangulationSettings, triangulate
from mocap.types import Keypoints2D, Matches

logger = logging.getLogger(__name__)

_WINDOWS, _WINDOW_FRAMES = 8, 250
_MAX_POINTS = 4000
_MIN_CONFIDENCE = 0.3
_MIN_VIEWS = 3  # two views have hardly any redundancy
_ROUNDS = 2

# Beyond doubt: a camera sees everything off by more than a detector's own habits explain (it places
# joints a centimetre or two to one side, depending on the view: up to 5 mrad at 4 m), the turn takes
# most of that away, and it stands above its uncertainty.
_CLEAR_OFFSET_RAD = 6e-3
_CLEAR_GAIN = 0.5
_CLEAR_TURN = 2.0


def check_rig(keypoints: Keypoints2D, rig: CameraRig, mode: CameraRefinement) -> RigCorrection:
    """Look for cameras that were nudged after calibration.

    Parameters
    ----------
    keypoints : Keypoints2D
        Of the whole take, at common times; a sample of windows is used.
    rig : CameraRig
        Of the same cameras.
    mode : CameraRefinement
        AUTO keeps a correction only where the evidence is clear.

    Returns
    -------
    RigCorrection
        Zero rotation where nothing was looked for, found, or clear enough.
    """
    none = RigCorrection.none(len(rig))
    if mode is CameraRefinement.OFF or len(rig) < _MIN_VIEWS:
        return none
    sample = spread_windows(keypoints, _WINDOWS, _WINDOW_FRAMES)
    correction = none
    for _ in range(_ROUNDS):
        corrected = correction.apply(rig)
        matches = match_people(sample, corrected, MatchingSettings())
        observations, points = _samples(matches, corrected)
        found = refine_rotations(rig, observations, points)
        if not found.rotation.any():
            return none
        correction = found
    applied = mode is CameraRefinement.ON or _is_clear(correction, rig)
    _report(rig, correction, applied=applied)
    return correction if applied else none


def _is_clear(correction: RigCorrection, rig: CameraRig) -> bool:
    worst = int(np.argmax(correction.offset_before / rig.K[:, 0, 0]))
    offset = correction.offset_before[worst] / rig.K[worst, 0, 0]
    gain = correction.offset_after[worst] / correction.offset_before[worst]
    certainty = (np.abs(correction.rotation[worst]) / correction.std[worst]).max()
    return bool(offset > _CLEAR_OFFSET_RAD and gain < _CLEAR_GAIN and certainty > _CLEAR_TURN)


def _report(rig: CameraRig, correction: RigCorrection, *, applied: bool) -> None:
    turns = np.degrees(np.linalg.norm(correction.rotation, axis=1))
    rows = zip(rig.names, correction.offset_before, turns, correction.offset_after, strict=True)
    text = "; ".join(
        f"{n}: {before:.1f} px off, {turn:.2f} degrees, then {after:.1f} px" for n, before, turn, after in rows
    )
    if applied:
        logger.warning("cameras turned since calibration, corrected (calibrate anew when you can): %s", text)
    else:
        logger.info("cameras stand as calibrated: %s", text)


def _samples(matches: Matches, rig: CameraRig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Observations [V, N, 2] and points [N, 3] of joints that enough views see with confidence."""
    points = triangulate(matches, rig, TriangulationSettings()).positions.astype(np.float64)
    trusted = matches.confidence >= _MIN_CONFIDENCE
    observations = np.where(trusted[..., None], matches.keypoints, np.nan).astype(np.float64)
    enough = (trusted.sum(0) >= _MIN_VIEWS) & np.isfinite(points).all(-1)
    chosen = np.flatnonzero(enough)
    chosen = chosen[:: max(1, len(chosen) // _MAX_POINTS)]
    V = len(rig)
    return observations.reshape(V, -1, 2)[:, chosen], points.reshape(-1, 3)[chosen]
