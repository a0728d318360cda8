"""Live tracks between chunks of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(eq=False)
class TrackState:
    """Live tracks between chunks of frames; M track slots, J joints.

    Attributes
    ----------
    pose : float64 [M, J, 3]
        Last joints, metres; NaN where never seen.
    velocity : float64 [M, 3], m/s
    ident : int64 [M]
        Tracklet number, -1 where the slot is free.
    unseen : float64 [M]
        Seconds since two views saw the track (while it is young), or any view.
    apart : float64 [M]
        Seconds since two views saw the track.
    support : float64 [M]
        Seconds in sum that two or more views saw it.
    hold : float64 [M]
        Views that hold it, averaged over the last half second.
    counter : int64 [1]
        Next tracklet number.
    """

    pose: Array
    velocity: Array
    ident: NDArray[np.int64]
    unseen: Array
    apart: Array
    support: Array
    hold: Array
    counter: NDArray[np.int64]

    @staticmethod
    def empty(tracks: int, joints: int) -> TrackState:
        """No track alive."""
        return TrackState(
            pose=np.full((tracks, joints, 3), np.nan),
            velocity=np.zeros((tracks, 3)),
            ident=np.full(tracks, -1),
            unseen=np.zeros(tracks),
            apart=np.zeros(tracks),
            support=np.zeros(tracks),
            hold=np.zeros(tracks),
            counter=np.zeros(1, np.int64),
        )
