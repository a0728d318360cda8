"""Which joint of which slot every joint of a person is taken from, compiled: read, reordered, carried out."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]


@njit(cache=True, error_model="numpy", nogil=True)
def gather(d: Array, weight: Array, observation: NDArray[np.int32], p: int, taken: Array, w: Array) -> None:
    """Rays and weights of the observations of person p.

    Parameters
    ----------
    d : float64 [V, T, S, J, 3], weight : float64 [V, T, S, J]
    observation : int32 [V, T, P, J]
        slot * J + joint; -1 where none.
    p : int
    taken : float64 [V, T, J, 3], w : float64 [V, T, J]
        Results; NaN and 0 where there is nothing.
    """
    V, T, _, J = observation.shape
    for v in range(V):
        for t in range(T):
            for j in range(J):
                at = observation[v, t, p, j]
                s, i = at // J, at % J
                if at >= 0 and weight[v, t, s, i] > 0.0:
                    w[v, t, j] = weight[v, t, s, i]
                    for x in range(3):
                        taken[v, t, j, x] = d[v, t, s, i, x]
                else:
                    w[v, t, j] = 0.0
                    for x in range(3):
                        taken[v, t, j, x] = np.nan


@njit(cache=True, error_model="numpy", nogil=True)
def put_back(observation: NDArray[np.int32], p: int, order: NDArray[np.int16], weight: Array) -> None:
    """Observations [V, T, P, J] of person p in the order [V, T, J] that was found; -1 where the weight is 0."""
    V, T, _, J = observation.shape
    old = np.empty(J, np.int32)
    for v in range(V):
        for t in range(T):
            for j in range(J):
                old[j] = observation[v, t, p, j]
            for j in range(J):
                observation[v, t, p, j] = old[order[v, t, j]] if weight[v, t, j] > 0.0 else -1


@njit(cache=True, error_model="numpy", nogil=True)
def take_observations(
    keypoints: Floats, confidence: Floats, uncertainty: Floats, observation: NDArray[np.int32], pixels: Floats,
    taken_confidence: Floats, taken_uncertainty: Floats,
) -> None:  # fmt: skip
    """What the observations [V, T, P, J] say, of keypoints [V, T, S, J, 2], confidence and uncertainty [V, T, S, J].

    The results are NaN with confidence 0 where there is none.
    """
    V, T, P, J = observation.shape
    for v in range(V):
        for t in range(T):
            for p in range(P):
                for j in range(J):
                    at = observation[v, t, p, j]
                    if at < 0:
                        pixels[v, t, p, j, 0] = pixels[v, t, p, j, 1] = np.nan
                        taken_confidence[v, t, p, j], taken_uncertainty[v, t, p, j] = 0.0, np.nan
                        continue
                    s, i = at // J, at % J
                    pixels[v, t, p, j, 0], pixels[v, t, p, j, 1] = keypoints[v, t, s, i, 0], keypoints[v, t, s, i, 1]
                    taken_confidence[v, t, p, j] = confidence[v, t, s, i]
                    taken_uncertainty[v, t, p, j] = uncertainty[v, t, s, i]
