"""How well identities are kept: CLEAR MOT and IDF1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mocap.errors import DataError

Array = NDArray[np.float64]

SAME_PERSON_M = 0.5
"""A predicted person within this mean joint distance of a true one can be that person."""

# Frames at a time: bounds the memory of all pairs of people.
_CHUNK = 1 << 11


@dataclass(frozen=True)
class IdentityScore:
    """Tracking of people over a take.

    Attributes
    ----------
    mota : float
        1 - (misses + false positives + switches) / true person-frames; at most 1, may be negative.
    motp : float, metres
        Mean distance of matched people.
    idf1, idp, idr : float
        F1, precision and recall of identities over the whole take, 0..1.
    misses, false_positives, switches : int
    truths : int
        True person-frames.
    """

    mota: float
    motp: float
    idf1: float
    idp: float
    idr: float
    misses: int
    false_positives: int
    switches: int
    truths: int


def person_distances(prediction: Array, truth: Array, least_joints: int = 5) -> Array:
    """Mean joint distance [T, A, P] of every true [T, A, J, 3] and predicted [T, P, J, 3] person.

    Metres; inf with fewer than `least_joints` joints in common (or fewer than J where J is less).
    """
    out = np.empty((len(truth), truth.shape[1], prediction.shape[1]))
    for start in range(0, len(truth), _CHUNK):
        part = slice(start, start + _CHUNK)
        d = np.linalg.norm(prediction[part, None].astype(np.float64) - truth[part, :, None], axis=-1)
        count = np.isfinite(d).sum(-1)
        mean = np.where(np.isfinite(d), d, 0).sum(-1) / np.maximum(count, 1)
        out[part] = np.where(count >= min(least_joints, d.shape[-1]), mean, np.inf)
    return out


def identity_score(
    distance: Array,
    truth_present: NDArray[np.bool_],
    prediction_present: NDArray[np.bool_],
    limit: float = SAME_PERSON_M,
) -> IdentityScore:
    """MOTA and MOTP (Bernardin & Stiefelhagen, EURASIP JIVP 2008) and IDF1 (Ristani et al., ECCV-W 2016).

    CLEAR MOT keeps each person's last identity while it stays within the limit and assigns the rest with
    the least summed distance; a switch is a true person whose predicted identity differs from the
    last one it had, however long ago. All as py-motmetrics counts it. IDF1 pairs identities once for
    the whole take so that most person-frames agree.

    Parameters
    ----------
    distance : [T, A, P], metres
        Of true to predicted persons; inf where they cannot be compared.
    truth_present : bool [T, A]
    prediction_present : bool [T, P]
    limit : float, metres
        Pairs farther apart do not match.

    Returns
    -------
    IdentityScore
        Ratios are NaN where the truth is empty.

    Raises
    ------
    DataError
        Shapes that do not fit.
    """
    T, A, P = distance.shape
    if truth_present.shape != (T, A) or prediction_present.shape != (T, P):
        found = f"{truth_present.shape} and {prediction_present.shape}"
        raise DataError("presence does not fit the distances", expected=f"{(T, A)} and {(T, P)}", found=found)
    possible = (distance < limit) & truth_present[:, :, None] & prediction_present[:, None]
    cost = np.where(possible, distance, np.inf)
    matched, total, switches = _follow(cost)
    truths, predictions = int(truth_present.sum()), int(prediction_present.sum())
    misses, false = truths - matched, predictions - matched
    overlap = possible.sum(0)
    rows, columns = linear_sum_assignment(-overlap)
    right = int(overlap[rows, columns].sum())
    nan = float("nan")
    return IdentityScore(
        mota=1 - (misses + false + switches) / truths if truths else nan,
        motp=total / matched if matched else nan,
        idf1=2 * right / (truths + predictions) if truths + predictions else nan,
        idp=right / predictions if predictions else nan,
        idr=right / truths if truths else nan,
        misses=misses,
        false_positives=false,
        switches=switches,
        truths=truths,
    )


def _follow(cost: Array) -> tuple[int, float, int]:
    """Matches, their summed distance, and switches. Each frame depends on the one before it."""
    partner: dict[int, int] = {}  # last identity of each true person
    matched, total, switches = 0, 0.0, 0
    for frame in cost:
        pairs: dict[int, int] = {}
        for a in sorted(partner):
            # An identity that several had is kept by the first of them, as py-motmetrics does.
            if np.isfinite(frame[a, partner[a]]) and partner[a] not in pairs.values():
                pairs[a] = partner[a]
        rows = [a for a in range(frame.shape[0]) if a not in pairs and np.isfinite(frame[a]).any()]
        columns = [p for p in range(frame.shape[1]) if p not in pairs.values()]
        if rows and columns:
            rest = frame[np.ix_(rows, columns)]
            # Unmatched must cost more than any set of matches, so that as many as possible match.
            dear = np.where(np.isfinite(rest), rest, 1e6)
            for i, k in zip(*linear_sum_assignment(dear), strict=True):
                if np.isfinite(rest[i, k]):
                    pairs[rows[i]] = columns[k]
        switches += sum(a in partner and partner[a] != p for a, p in pairs.items())
        partner |= pairs
        matched += len(pairs)
        total += sum(float(frame[a, p]) for a, p in pairs.items())
    return matched, total, switches
