"""The MAP smoother's records: what it is given, what it knows while it works, and what it learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mocap.filtering.gaps import Mask
from mocap.persistence import Persistence

if TYPE_CHECKING:
    from mocap.filtering.bones import Bone

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a take taught about S series, step by step: enough to smooth any part of it as in the whole.

    Attributes
    ----------
    first : float64 [S]
        Level that the first step started from; NaN for series never seen.
    level, outlier_rate : float64 [steps, S]
    trees : list of trees of bones, or None where lengths are not held
    """

    first: Array
    level: Array
    outlier_rate: Array
    trees: list[list[Bone]] | None

    def completed(self) -> Lesson | None:
        """With the middle of what was learnt for series never seen; None where none was."""
        seen = np.isfinite(self.first)
        if not seen.any():
            return None
        first, level, rate = self.first.copy(), self.level.copy(), self.outlier_rate.copy()
        first[~seen] = np.exp(np.median(np.log(first[seen])))
        level[:, ~seen] = np.exp(np.median(np.log(level[:, seen]), axis=1, keepdims=True))
        rate[:, ~seen] = np.median(rate[:, seen], axis=1, keepdims=True)
        return Lesson(first, level, rate, self.trees)


@dataclass(frozen=True, eq=False)
class Samples:
    """What is known of S series at N times; the recording's parts one after the other.

    Attributes
    ----------
    positions, covariance : float64 [N, S, 3] m, [N, S, 3, 3] m2
    valid, present : bool [N, S]
        Observed samples, and samples that belong to a run (gaps to fill count).
    row_dt : float64 [N]
        Spacing of the samples, seconds.
    part : int [N]
        Continuous part of the recording; runs do not cross from one to the next.
    credit : float64 [N, S], optional
        Share of a sample's information that may count in the covariance of the result; 1 unless given.
    persistence : Persistence
        How the samples' errors hang together in time.
    overlap : float64 [N, S, 2], optional
        How far a sample's error is made of the same parts as those one and two samples before it, 0..1;
        1 unless given.
    """

    positions: Array
    covariance: Array
    valid: Mask
    present: Mask
    row_dt: Array
    part: Ints
    credit: Array | None = None
    persistence: Persistence = Persistence()
    overlap: Array | None = None


@dataclass(frozen=True, eq=False)
class State:
    """Everything that is known of S series of N samples, updated in place.

    Attributes
    ----------
    y, information : float64 [S, N, 3] m, [S, N, 3, 3] m^-2
        Observations and the inverse of their covariance; 0 where there is none.
    present : bool [S, N]
    spans : list of int [R, 2]
        Per series the runs that are smoothed.
    dt : float64 [N]
    parts : list of slice
    x, covariance : float64 [S, N, 3] m, [S, N, 3, 3] m2
    weight : float64 [S, N]
        Of the observations, against outliers.
    square, variance : float64 [S, N]
        See `learn_activity`.
    level, outlier_rate : float64 [S]
    activity : float64 [S, N]
    freedom : float64 [S, N]
        Samples that the local activity was learnt from.
    credit : float64 [S, N]
        Share of a sample's information that may count in the covariance of the result.
    persistence : Persistence
        How the errors of the observations hang together in time.
    root : float64 [S, N, 3, 3] m^-1
        Symmetric root of the information; empty where errors are independent.
    overlap : float64 [S, N, 2]
    told : list of float64 [N, 3, 3] or None
        Per series the information that came from other series.
    """

    y: Array
    information: Array
    present: Mask
    spans: list[Ints]
    dt: Array
    parts: list[slice]
    x: Array
    covariance: Array
    weight: Array
    square: Array
    variance: Array
    level: Array
    outlier_rate: Array
    activity: Array
    freedom: Array
    credit: Array
    persistence: Persistence
    root: Array
    overlap: Array
    told: list[Array | None]
