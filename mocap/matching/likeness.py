"""Whether two tracks are one person: what bodies and places say, as log likelihood ratios."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Rows over which limb lengths are taken together: what lasts from frame to frame (pose, occlusion) changes.
BLOCK_ROWS = 32
# Standard deviations of log limb lengths: of people's size, of single limbs of equally tall people (adults'
# stature varies by 4-7 %, a limb's share of it by 2-4 %), and of a block's median where the take cannot say.
_SIZE_STD, _SHAPE_STD, _BLOCK_STD = 0.055, 0.03, 0.04
# What no number of blocks averages out.
_LASTING_STD = 0.01
# Fewest blocks from which the spread of a limb is learnt, and fewest limbs that make a comparison.
_LEAST_BLOCKS, _LEAST_LIMBS = 8, 3
# A person who is not seen is this far from where they were (metres), and this much farther per second.
_PLACE_STD, _WALK_STD = 0.2, 0.8
# Where people may be, m2: what being near is worth.
_STAGE_M2 = 30.0


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Values of a track, one per block of rows, summed up so that parts of a track add.

    Attributes
    ----------
    total, square : float64 [...]
        Sums over the blocks of the value and of its square, weighted by the share of the block that was seen.
    blocks : float64 [...]
        Sum of these shares.
    """

    total: Array
    square: Array
    blocks: Array

    def __add__(self, other: Self) -> Self:
        return type(self)(self.total + other.total, self.square + other.square, self.blocks + other.blocks)

    @property
    def mean(self) -> Array:
        """Mean value [...]; 0 where never seen."""
        return self.total / np.where(self.blocks > 0, self.blocks, 1.0)

    @property
    def spread(self) -> tuple[Array, Array]:
        """Sum of squares of the blocks about their mean [...], and its degrees of freedom; 0 below two blocks."""
        many = self.blocks >= 2
        about = np.maximum(self.square - self.blocks * self.mean**2, 0.0)
        return np.where(many, about, 0.0), np.where(many, self.blocks - 1, 0.0)


class LimbLengths(BlockSums):
    """Limb lengths of a track: the log of a block's median length, metres, of L limbs; arrays are [L]."""

    @staticmethod
    def measured(length: Array, rows: NDArray[np.int64]) -> LimbLengths:
        """From lengths [n, L] (metres, NaN where not measured) in the rows [n] (increasing) of a recording."""
        total, square, blocks = np.zeros((3, length.shape[1]))
        _sum_blocks(np.ascontiguousarray(length), np.ascontiguousarray(rows), total, square, blocks)
        return LimbLengths(total, square, blocks)


@njit(cache=True, error_model="numpy", nogil=True)
def _sum_blocks(length: Array, rows: NDArray[np.int64], total: Array, square: Array, blocks: Array) -> None:
    """Sums [L] over blocks of rows [n] of the log of the median length, weighted by the share that is known."""
    kept = np.empty(BLOCK_ROWS)
    start = 0
    while start < len(rows):
        stop = start
        while stop < len(rows) and rows[stop] // BLOCK_ROWS == rows[start] // BLOCK_ROWS:
            stop += 1
        for limb in range(length.shape[1]):
            count = 0
            for n in range(start, stop):
                value = length[n, limb]
                if np.isfinite(value):
                    k = count
                    while k > 0 and kept[k - 1] > value:
                        kept[k] = kept[k - 1]
                        k -= 1
                    kept[k] = value
                    count += 1
            low, high = kept[max(count - 1, 0) // 2], kept[count // 2] if count % 2 == 0 else 0.0
            middle = low if count % 2 == 1 else (low + high) / 2
            if count > 0 and middle > 0.0:
                value, share = log(middle), count / BLOCK_ROWS
                total[limb] += share * value
                square[limb] += share * (value * value)
                blocks[limb] += share
        start = stop


def limb_differences(limbs: LimbLengths, blocks: Array, length: Array) -> Array:
    """Median relative differences [M] from others, given `blocks` and `mean` [M, L]; inf with fewer than three."""
    both = (limbs.blocks > 0) & (blocks > 0)
    count = both.sum(1)
    if length.shape[1] < 3:
        return np.full(len(length), np.inf)
    off = np.sort(np.abs(np.where(both, limbs.mean - length, np.nan)), axis=1)  # NaN last
    row, half = np.arange(len(off)), np.maximum(count - 1, 0)
    middle = (off[row, half // 2] + off[row, np.minimum((half + 1) // 2, off.shape[1] - 1)]) / 2
    return np.where(count >= 3, middle, np.inf)


def block_std(bodies: list[LimbLengths]) -> Array:
    """How much a limb's length [L] differs from block to block within tracks; a prior where there are few."""
    spread, count = np.array([body.spread for body in bodies]).sum(0)
    prior = float(_LEAST_BLOCKS)
    return np.asarray(np.sqrt((spread + prior * _BLOCK_STD**2) / (count + prior)))


def body_likeness(before: list[LimbLengths], after: list[LimbLengths], std: Array) -> Array:
    """Log likelihood ratio [N, M] of one body to two, from limb lengths; 0 where too few can be compared.

    Parameters
    ----------
    before, after : lists of N and M
    std : float64 [L]
        Of a block's log length, from `block_std`.

    Notes
    -----
    r = log a - log b of the limbs is N(0, E) for one body, with E the errors of both measurements, and
    N(0, E + 2 (size^2 11^T + shape^2 I)) for two people drawn from the population: two zero-mean
    normals, the second with a rank-one part, whose determinant and inverse are closed (Sherman-Morrison).
    """
    a, b = (np.stack([body.mean for body in side]) for side in (before, after))
    na, nb = (np.stack([body.blocks for body in side]) for side in (before, after))
    result = np.zeros((len(before), len(after)))
    for i in range(len(before)):
        known = (na[i] > 0) & (nb > 0)
        r = np.where(known, a[i] - b, 0.0)
        error = 2 * _LASTING_STD**2 + std**2 * (1 / np.where(known, na[i], 1.0) + 1 / np.where(known, nb, 1.0))
        two = error + 2 * _SHAPE_STD**2
        inverse, size = known / two, 2 * _SIZE_STD**2
        common = 1 + size * inverse.sum(1)
        same = (known * np.log(error)).sum(1) + (known * r**2 / error).sum(1)
        other = (known * np.log(two)).sum(1) + np.log(common) + (r**2 * inverse).sum(1)
        other -= size * (r * inverse).sum(1) ** 2 / common
        result[i] = np.where(known.sum(1) >= _LEAST_LIMBS, (other - same) / 2, 0.0)
    return result


def place_likeness(distance: Array, seconds: Array) -> Array:
    """Log likelihood ratio of somebody seen again `distance` metres away after `seconds`, against anybody's place."""
    std = _PLACE_STD + _WALK_STD * np.maximum(seconds, 0.0)
    return np.asarray(np.log(_STAGE_M2 / (2 * np.pi * std**2)) - 0.5 * (distance / std) ** 2)
