"""How well each chosen slot agrees with the person's other views, and the best alternative."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.lens_kernels import pixels_of

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

# An alternative is compared over at least this many joints.
_MIN_JOINTS = 3


@njit(cache=True, error_model="numpy")
def _slot_error(keypoints: Floats, u: Array) -> float:
    """Mean distance of a slot's joints [J, 2] from pixels u [J, 2]; inf with too few."""
    total, n = 0.0, 0
    for j in range(u.shape[0]):
        x, y = keypoints[j, 0] - u[j, 0], keypoints[j, 1] - u[j, 1]
        e = np.sqrt(x * x + y * y)
        if not np.isnan(e):
            total += e
            n += 1
    return total / n if n >= _MIN_JOINTS else np.inf


@njit(cache=True, error_model="numpy")
def _taken_error(keypoints: Floats, observation: NDArray[np.int32], u: Array) -> float:
    """The same for the joints taken, observation [J], from the slots keypoints [S, J, 2]; NaN with too few."""
    J = u.shape[0]
    total, n = 0.0, 0
    for j in range(J):
        at = observation[j]
        if at >= 0 and not np.isnan(u[j, 0]):
            x, y = keypoints[at // J, at % J, 0] - u[j, 0], keypoints[at // J, at % J, 1] - u[j, 1]
            total += np.sqrt(x * x + y * y)
            n += 1
    return total / n if n >= _MIN_JOINTS else np.nan


@njit(cache=True, error_model="numpy", nogil=True)
def agreement(
    K: Array, distortion: Array, fisheye: Bools, R: Array, t: Array, poses: Array, keypoints: Floats,
    slot: NDArray[np.int16], observation: NDArray[np.int32], score: Floats, runner_up: Floats,
) -> None:  # fmt: skip
    """Mean reprojection errors of every person in every view, px.

    Parameters
    ----------
    K, distortion, fisheye, R, t : the V cameras.
    poses : float64 [P, T, J, 3], metres; NaN where not known.
    keypoints : float32 [V, T, S, J, 2], px
    slot : int16 [V, T, P], observation : int32 [V, T, P, J]
    score : float32 [V, T, P]
        Of the joints taken; NaN with fewer than 3.
    runner_up : float32 [V, T, P]
        Of the best other slot, as labelled; NaN where there is none.
    """
    V, T, S, J = keypoints.shape[:4]
    u, scratch = np.empty((J, 2)), np.empty((2, 2))
    for v in range(V):
        for f in range(T):
            for p in range(poses.shape[0]):
                pixels_of(K[v], distortion[v], fisheye[v], R[v], t[v], poses[p, f], scratch, u)
                mine = slot[v, f, p]
                score[v, f, p] = np.nan if mine < 0 else _taken_error(keypoints[v, f], observation[v, f, p], u)
                best = np.inf
                for s in range(S):
                    if s != mine:
                        best = min(best, _slot_error(keypoints[v, f, s], u))
                runner_up[v, f, p] = best if np.isfinite(best) else np.nan
