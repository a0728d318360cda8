"""Limb lengths over time: a skeleton's bones do not change, so their spread tells an error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import LIMBS_12, Skeleton

Array = NDArray[np.float64]


def limb_lengths(positions: Array, skeleton: Skeleton) -> Array:
    """Lengths of `mocap.skeleton.LIMBS_12`: [..., J, 3] m -> [..., 12] m, NaN where an end is missing."""
    ends = np.array([(skeleton.index(a), skeleton.index(b)) for a, b in LIMBS_12])
    difference = positions[..., ends[:, 0], :] - positions[..., ends[:, 1], :]
    return np.asarray(np.linalg.norm(difference.astype(np.float64), axis=-1))


def limb_spread(positions: Array, skeleton: Skeleton) -> Array:
    """Standard deviation over time divided by the mean, of each of the twelve limbs.

    Parameters
    ----------
    positions : [T, P, J, 3], metres
    skeleton : Skeleton

    Returns
    -------
    float64 [P, 12], dimensionless
        NaN for a limb seen in fewer than two frames.
    """
    lengths = limb_lengths(positions, skeleton)
    known = np.isfinite(lengths)
    count = known.sum(0)
    clean = np.where(known, lengths, 0.0)
    mean = clean.sum(0) / np.maximum(count, 1)
    variance = (np.where(known, lengths - mean, 0.0) ** 2).sum(0) / np.maximum(count, 1)
    return np.where(count >= 2, np.sqrt(variance) / np.where(mean > 0, mean, np.nan), np.nan)


def limb_length_error(prediction: Array, truth: Array, skeleton: Skeleton) -> Array:
    """Mean absolute difference of each limb's length from the truth's, metres.

    Parameters
    ----------
    prediction, truth : [..., J, 3], metres
        Same persons, joints of `skeleton`.
    skeleton : Skeleton

    Returns
    -------
    float64 [12], metres
        In the order of `mocap.skeleton.LIMBS_12`; NaN for a limb that is never in both. No paper's
        definition: data sets with marker truth have no constant limbs to compare with otherwise.
    """
    difference = np.abs(limb_lengths(prediction, skeleton) - limb_lengths(truth, skeleton)).reshape(-1, len(LIMBS_12))
    known = np.isfinite(difference)
    total, count = np.where(known, difference, 0.0).sum(0), known.sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
