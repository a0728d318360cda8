"""Which predicted person stands for which true one, and one transform between two worlds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mocap.errors import DataError
from mocap.metrics.identity import person_distances
from mocap.metrics.position_error import joint_errors, procrustes
from mocap.metrics.settings import Alignment, Association

Array = NDArray[np.float64]
Pairs = list[tuple[int, int]]

# A person farther off than this (metres, mean over joints) is not the person meant.
_ABSENT = 0.5


def matched_persons(predicted: Array, actual: Array, association: Association) -> tuple[Array, Pairs]:
    """The prediction for each true person.

    Parameters
    ----------
    predicted : [T, P, J, 3], actual : [T, A, J, 3], metres
    association : Association

    Returns
    -------
    matched : [T, A, J, 3]
        NaN where there is nobody.
    pairs : list of (row of truth, row of prediction)
        For TRACK the pairs of the take; else all that occur.

    Raises
    ------
    DataError
        FULLEST where the truth has several people.
    """
    matched = np.full_like(actual, np.nan)
    if not predicted.shape[1]:
        return matched, []
    if association is Association.TRACK:
        pairs = _pair_persons(predicted, actual)
        for t, p in pairs:
            matched[:, t] = predicted[:, p]
        return matched, pairs
    if association is Association.FULLEST:
        if actual.shape[1] != 1:
            raise DataError("the fullest person stands for one only", expected="ground truth of one person",
                            found=f"{actual.shape[1]}", hint="use --association track or nearest")  # fmt: skip
        row = np.isfinite(predicted).all(-1).sum(-1).argmax(-1)[:, None]
        there = np.ones(row.shape, bool)
    else:
        distance = person_distances(predicted, actual)
        row, there = distance.argmin(-1), np.isfinite(distance.min(-1))
    matched = np.take_along_axis(predicted, row[..., None, None], 1)
    matched = np.where(there[..., None, None], matched, np.nan)
    pairs = [(t, int(p)) for t in range(row.shape[1]) for p in np.unique(row[there[:, t], t])]
    return matched, pairs


def _pair_persons(predicted: Array, actual: Array) -> Pairs:
    """Pairs (truth, prediction) with the least summed distance, a person missing for _ABSENT metres."""
    cost = np.full((actual.shape[1], predicted.shape[1]), _ABSENT)
    present = np.isfinite(actual).all(-1)
    for p in range(predicted.shape[1]):
        errors = joint_errors(predicted[:, p : p + 1], actual)
        distance = np.where(np.isfinite(errors), np.minimum(errors, _ABSENT), _ABSENT)
        cost[:, p] = np.where(present, distance, 0).sum((0, 2)) / np.maximum(present.sum((0, 2)), 1)
    rows, columns = linear_sum_assignment(cost)
    # A take with one person on either side is compared whatever the distance: an offset between
    # two worlds must show up as an error, not as a missing person.
    alone = actual.shape[1] == predicted.shape[1] == 1
    return [(int(t), int(p)) for t, p in zip(rows, columns, strict=True) if alone or cost[t, p] < _ABSENT]


def align_take(matched: Array, actual: Array, alignment: Alignment) -> Array:
    """The matched poses [T, A, J, 3] moved by one rigid or similarity transform, fitted to the truth.

    Least squares over all joint samples of the take (Umeyama, PAMI 13, 1991).

    Raises
    ------
    DataError
        Fewer than three joint samples in common.
    """
    if alignment is Alignment.NONE:
        return matched
    X, Y = matched.reshape(1, -1, 3), actual.reshape(1, -1, 3)
    valid = np.asarray(np.isfinite(X).all(-1) & np.isfinite(Y).all(-1))
    if valid.sum() < 3:
        raise DataError("nothing to align by", expected="at least three joint samples in common",
                        found=f"{int(valid.sum())}")  # fmt: skip
    scale, R, t = procrustes(X, Y, valid)
    if alignment is Alignment.RIGID:
        scale, t = np.ones(1), Y[valid].mean(0) - X[valid].mean(0) @ R[0].T
    return np.asarray(scale[0] * matched @ R[0].T + t.reshape(3))
