"""Whether two tracks look alike, each view compared with itself: clothes, or what a detector says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.matching.likeness import BLOCK_ROWS, BlockSums, LimbLengths

Array = NDArray[np.float64]

# What of a look's variance within a track lasts (light at another place), so that blocks do not average it out.
_LASTING_SHARE = 0.5
# Degrees of freedom that the spread between tracks has as a guess of the spread within.
_PRIOR = 4.0
# A comparison of looks counts as that of so many independent numbers, and at most this much.
_LOOK_NUMBERS, _LOOK_LIMIT, _TINY = 3.0, 8.0, 1e-12


class Looks(BlockSums):
    """What a track looks like to V views, in E numbers: a block's mean; arrays are [V, E]."""

    @staticmethod
    def measured(look: Array, rows: NDArray[np.int64]) -> Looks:
        """From what the views saw [V, n, E] (NaN where nothing) in the rows [n] (increasing) of a recording."""
        if not look.shape[2]:
            return Looks(*np.zeros((3, len(look), 0)))
        starts = np.flatnonzero(np.diff(rows // BLOCK_ROWS, prepend=-1))
        known = np.isfinite(look)
        count = np.add.reduceat(known.astype(float), starts, axis=1)
        mean = np.add.reduceat(np.where(known, look, 0.0), starts, axis=1) / np.maximum(count, 1)
        share = count / BLOCK_ROWS
        return Looks((share * mean).sum(1), (share * mean**2).sum(1), share.sum(1))


def look_likeness(before: list[Looks], after: list[Looks]) -> Array:
    """Log likelihood ratio [N, M] of one person's clothes to two people's; 0 where no view saw both.

    Notes
    -----
    Each view is compared with itself only, so that cameras need not agree about colours. How far one
    person's look strays from block to block, and how far people's looks differ, are learnt from the tracks
    themselves: where all look alike, or there is one track, nothing is said. Views and numbers hang
    together (one light, one cloth): the difference is averaged over the views, and the ratio counts
    as that of at most three independent numbers, within +-8.
    """
    every = list({id(look): look for look in (*before, *after)}.values())
    within, between = _look_spread(every)
    a, b = (np.stack([look.mean for look in side]) for side in (before, after))
    na, nb = (np.stack([look.blocks for look in side]) for side in (before, after))
    E = a.shape[2]
    result = np.zeros((len(before), len(after)))
    for i in range(len(before)):
        both = (na[i] > 0) & (nb > 0)  # [M, V, E]
        views = both.sum(1)
        r = np.where(both, a[i] - b, 0.0).sum(1) / np.maximum(views, 1)
        blocks = np.where(both, 1 / np.where(both, na[i], 1.0) + 1 / np.where(both, nb, 1.0), 0.0)
        error = within * (blocks.sum(1) / np.maximum(views, 1) + 2 * _LASTING_SHARE) + _TINY
        two = error + 2 * between
        ratio = 0.5 * (np.log(two / error) + r**2 / two - r**2 / error)
        result[i] = np.where(views > 0, ratio, 0.0).sum(1) * min(1.0, _LOOK_NUMBERS / max(E, 1))
    return np.clip(result, -_LOOK_LIMIT, _LOOK_LIMIT)


def _look_spread(looks: list[Looks]) -> tuple[Array, Array]:
    """Variances [E] of a block's look within tracks, and of tracks' looks between them beyond that."""
    mean, blocks = np.stack([k.mean for k in looks]), np.stack([k.blocks for k in looks])
    spread, known = np.array([k.spread for k in looks]).sum((0, 2))
    seen = blocks > 0
    count = seen.sum(0)
    middle = np.where(seen, mean, 0.0).sum(0) / np.maximum(count, 1)
    apart = np.where(seen, (mean - middle) ** 2, 0.0).sum((0, 1)) / np.maximum((count - 1).clip(0).sum(0), 1)
    # Where little is known of the spread within, all of it may be: then nothing is left between.
    least = np.maximum(apart, _TINY)
    own = np.maximum(spread / np.maximum(known, 1.0), 1e-6 * least)
    within = np.exp((known * np.log(own) + _PRIOR * np.log(least)) / (known + _PRIOR))
    return within, np.maximum(apart - within, 0.0)


@dataclass(frozen=True, eq=False)
class Body:
    """What a track says about who it is: limb lengths and looks."""

    limbs: LimbLengths
    looks: Looks

    def __add__(self, other: Body) -> Body:
        return Body(self.limbs + other.limbs, self.looks + other.looks)
