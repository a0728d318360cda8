"""A camera's coarse time against others', with the help of cameras whose times are not known either.

A motion that repeats itself leaves each pair of cameras a rival: another offset, few blocks of time to tell
it from the true one. A third camera cannot be at the right time with both where one is shifted against the
other: it goes with either, and its pair with the other tells the two offsets apart too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.time_scan import NEIGHBOURHOOD_S, OffsetCosts, OffsetCurve, block_gains, judge_curves, mean_cost

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Helper:
    """A camera that neither is the one to be placed nor belongs to the group.

    Attributes
    ----------
    to_group : tuple of OffsetCosts
        Its pairs with members, by what its clock shows later than the common one.
    to_camera : OffsetCosts
        Its pair with the camera to be placed, by what its clock shows later than that one's.
    """

    to_group: tuple[OffsetCosts, ...]
    to_camera: OffsetCosts


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What a helper costs at best by the camera's offset [L], and the row of its own offset there [L]."""

    helper: Helper
    cost: Array
    row: Rows


def judge_with_helpers(evidence: Sequence[OffsetCosts], helpers: Sequence[Helper]) -> OffsetCurve:
    """The best offset of a camera and how far it stands out.

    Parameters
    ----------
    evidence : sequence of OffsetCosts
        Its pairs with the group's members, by what its clock shows later than the common one.
    helpers : sequence of Helper
        On the same axis, symmetric about 0; those that are not are left out. For every offset of the camera
        each is at the offset of its own that costs least.

    Returns
    -------
    OffsetCurve
        As `judge` for the evidence alone where no helper tells anything.
    """
    offsets = evidence[0].offsets_s
    fitted = [_fit(h) for h in helpers if _same_axis(offsets, h)]
    # A helper that can stand nowhere tells nothing.
    fitted = [f for f in fitted if np.isfinite(f.cost).any()]

    def gains(best: int, rival: int) -> list[Array]:
        return [block_gains(e, best, rival) for e in evidence] + [
            g for f in fitted for g in _gains(f, offsets, best, rival)
        ]

    return judge_curves(offsets, [*(mean_cost(e.cost) for e in evidence), *(f.cost for f in fitted)], gains)


def _same_axis(offsets: Array, helper: Helper) -> bool:
    axes = [e.offsets_s for e in (*helper.to_group, helper.to_camera)]
    return len(offsets) % 2 == 1 and all(len(a) == len(offsets) for a in axes)


def _fit(helper: Helper) -> _Fitted:
    """Least sum of what the helper costs the group and the camera, over its own offset."""
    group = np.stack([mean_cost(e.cost) for e in helper.to_group])
    told = np.isfinite(group).all(0)
    own = np.where(told, np.where(told, group, 0).mean(0), np.inf)
    between = mean_cost(helper.to_camera.cost)
    count = len(between)
    padded = np.concatenate([np.full(count, np.inf), np.where(np.isfinite(between), between, np.inf),
                             np.full(count, np.inf)])  # fmt: skip
    cost, row = np.empty(count), np.empty(count, np.int64)
    for i in range(count):  # the camera's offset; at row k of the helper's the two are k - i apart
        start = count + count // 2 - i
        total = own + padded[start : start + count]
        row[i] = int(total.argmin())
        cost[i] = total[row[i]]
    return _Fitted(helper, np.where(np.isfinite(cost), cost, np.nan), row)


def _gains(fitted: _Fitted, offsets: Array, best: int, rival: int) -> list[Array]:
    """What the pairs of a helper gain that are at other offsets in the best case than in the rival one."""
    if not np.isfinite(fitted.cost[[best, rival]]).all():  # it can stand nowhere in one of the two
        return []
    here, there = int(fitted.row[best]), int(fitted.row[rival])
    middle, out = len(offsets) // 2, []
    if abs(offsets[here] - offsets[there]) > NEIGHBOURHOOD_S:
        out += [block_gains(e, here, there) for e in fitted.helper.to_group]
    apart_here, apart_there = middle + here - best, middle + there - rival
    if abs(offsets[apart_here] - offsets[apart_there]) > NEIGHBOURHOOD_S:
        out.append(block_gains(fitted.helper.to_camera, apart_here, apart_there))
    return out
