"""How well detections of different views are put together, whoever they are called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AssociationScore:
    """Pairs of detections of one frame in different views.

    Attributes
    ----------
    precision : float
        Share of the pairs joined that show one person, 0..1; NaN where none was joined.
    recall : float
        Share of the pairs that show one person that were joined, 0..1; NaN where there is none.
    """

    precision: float
    recall: float


def association_score(slot: NDArray[np.integer], person: NDArray[np.integer]) -> AssociationScore:
    """Precision and recall of cross-view pairs.

    Parameters
    ----------
    slot : int [V, T, P]
        Slot that shows each predicted person, -1 none.
    person : int [V, T, S]
        True person that each slot shows, -1 nobody.
    """
    who = np.where(slot >= 0, np.take_along_axis(person, np.maximum(slot, 0).astype(np.int64), axis=2), -1)
    joined = right = possible = 0
    for a in range(len(slot)):
        for b in range(a):
            both = (slot[a] >= 0) & (slot[b] >= 0)
            joined += int(both.sum())
            right += int((both & (who[a] == who[b]) & (who[a] >= 0)).sum())
            for p in range(int(person.max(initial=-1)) + 1):
                possible += int(((person[a] == p).any(-1) & (person[b] == p).any(-1)).sum())
    nan = float("nan")
    return AssociationScore(right / joined if joined else nan, right / possible if possible else nan)
