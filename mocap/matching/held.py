"""What a track shows while views hold it, compiled: by how many, and how long its limbs are."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, error_model="numpy", nogil=True)
def views_that_hold(owner: NDArray[np.int64], tracks: NDArray[np.int64], held: NDArray[np.int64]) -> None:
    """Number of views, held [T, M], in which the tracks [T, M] own a slot: owner [V, T, S]."""
    for v in range(owner.shape[0]):
        for t in range(owner.shape[1]):
            for m in range(tracks.shape[1]):
                if tracks[t, m] < 0:
                    continue
                for s in range(owner.shape[2]):
                    if owner[v, t, s] == tracks[t, m]:
                        held[t, m] += 1
                        break


@njit(cache=True, error_model="numpy", nogil=True)
def limb_lengths(
    poses: NDArray[np.float32], at: NDArray[np.int64], views: NDArray[np.int64], limb_index: NDArray[np.int64],
    length: Array,
) -> None:  # fmt: skip
    """Lengths [n, L] of limbs in the rows `at` [n] of poses [T, J, 3], m; NaN where `views` [n] are fewer than two."""
    for n in range(len(at)):
        for limb in range(len(limb_index)):
            i, j, t = limb_index[limb, 0], limb_index[limb, 1], at[n]
            square = np.float32(0.0)
            for x in range(3):
                e = poses[t, i, x] - poses[t, j, x]
                square += e * e
            length[n, limb] = np.sqrt(square) if views[n] >= 2 else np.nan
