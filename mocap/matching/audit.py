"""How well each chosen slot agrees with the person's other views, and the best alternative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, project, rays
from mocap.matching.poses import poses_from_views
from mocap.matching.settings import MatchingSettings
from mocap.types import Keypoints2D, Matches

Array = NDArray[np.float64]

# An alternative is compared over at least this many joints.
_MIN_JOINTS = 3


def agreement(matches: Matches, keypoints: Keypoints2D, rig: CameraRig, settings: MatchingSettings) -> Matches:
    """`matches` with `score` and `runner_up` filled.

    Parameters
    ----------
    matches : Matches
    keypoints : Keypoints2D
        Where the slots came from.
    rig : CameraRig
        In the order of `matches.cameras`.
    settings : MatchingSettings
    """
    V, T, P, J = matches.confidence.shape
    S = keypoints.confidence.shape[2]
    score, runner_up = np.full((V, T, P), np.nan), np.full((V, T, P), np.nan)
    lenses, centres = Lenses.of(rig), rig.centres
    for start in range(0, T, settings.chunk_frames):
        rows = slice(start, min(start + settings.chunk_frames, T))
        for p in range(P):
            pixels = matches.keypoints[:, rows, p].astype(float)
            d = rays(lenses, pixels)[1]
            weight = np.where(np.isfinite(d[..., 0]), matches.confidence[:, rows, p], 0.0)
            poses = np.full((rows.stop - start, J, 3), np.nan)
            poses_from_views(centres, d, weight.astype(float), poses)
            projected = project(lenses, poses)
            score[:, rows, p] = _mean_error(projected, pixels)
            best = np.full((V, rows.stop - start), np.inf)
            for s in range(S):
                error = _mean_error(projected, keypoints.keypoints[:, rows, s])
                other = (matches.slot[:, rows, p] != s) & (error < best)
                best[other] = error[other]
            runner_up[:, rows, p] = np.where(np.isfinite(best), best, np.nan)
    score[matches.slot < 0] = np.nan
    return replace(matches, score=score, runner_up=runner_up)


def _mean_error(projected: Array, pixels: NDArray) -> Array:
    """Mean distance [V, T] px over the joints of [V, T, J, 2] that both have; NaN with fewer than 3."""
    distance = np.linalg.norm(projected - pixels, axis=-1)
    both = np.isfinite(distance)
    count = both.sum(-1)
    total = np.where(both, distance, 0.0).sum(-1)
    return np.where(count >= _MIN_JOINTS, total / np.maximum(count, 1), np.nan)
