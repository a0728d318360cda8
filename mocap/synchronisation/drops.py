"""Frames that a camera lost in the middle without its file saying so, found from the motion.

Behind the loss the camera's clock is late by as many frames: its views fit the others' at one offset
before and at another one after. A split of the take with two offsets is tried against one offset
(or one offset and a drift) for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.synchronisation import Gap, TimeModel
from calibration.time_scan import OffsetCosts, costs_at, signed_ranks
from mocap.synchronisation.coarse import CoarseOffsets, Sights, against_group

Array = NDArray[np.float64]

_BIN_S, _MOST_BINS = 0.2, 150
_LEAST_BINS = 8  # on each side: less tells no offset
LEAST_SIDE_S = _LEAST_BINS * _BIN_S
# Each side must fit its own offset better than the other side's by so many standard errors (Wilcoxon's
# signed ranks: the gain is as uneven as the motion). What is found is counted, and refused, by the fine estimate.
_CLEAR = 2.5
_ALIKE_FRAMES = 6  # errors of neighbouring frames are alike
_LONG_S = 30.0  # from here on a drift could be taken for a loss
_DRIFTS = np.linspace(-150e-6, 150e-6, 13)


@dataclass(frozen=True)
class Drop:
    """A loss of frames.

    Attributes
    ----------
    gap : Gap
        `missing` is negative where frames were stored more than once.
    earliest, latest : int
        Where `gap.frame` lies with a probability of 95 %.
    certainty : float
        Standard errors; of the less certain side.
    """

    gap: Gap
    earliest: int
    latest: int
    certainty: float


@dataclass(frozen=True, eq=False)
class _Split:
    """Rows of the offsets before and after, and the bin between."""

    before: int
    after: int
    bin: int
    certainty: float
    gain: float


@dataclass(frozen=True, eq=False)
class _Binned:
    """Misfit [L, B] by offset and bins of the camera's own time, whether it was seen, their start and width, s."""

    misfit: Array
    seen: NDArray[np.bool_]
    start: float
    width: float


def find_drop(sights: Sights, coarse: CoarseOffsets, clocks: TimeModel, fps: float) -> Drop | None:
    """The clearest loss of frames in any camera, None where there is none.

    Parameters
    ----------
    sights : Sights
    coarse : CoarseOffsets
        Of these sights.
    clocks : TimeModel
        Rates, and the gaps that are known.
    fps : float
        Of the session.
    """
    best, most = None, 0.0
    for camera in range(len(sights.times)):
        known = np.where(np.arange(len(sights.times)) == camera, np.nan, coarse.offset_s)
        parts = against_group(camera, known, coarse.evidence)
        if not parts:
            continue
        offsets = parts[0][1].offsets_s
        period = 1 / (fps * clocks.rate[camera])
        binned = _binned(camera, parts, coarse.offset_s)
        split = _split(binned, offsets, period)
        if split is None or split.certainty < _CLEAR or split.gain <= most:
            continue
        most = split.gain
        missing = round(float(offsets[split.before] - offsets[split.after]) / period)
        at = _position(sights, camera, known, coarse, (float(offsets[split.before]), float(offsets[split.after])),
                       binned.start + split.bin * binned.width, binned.width)  # fmt: skip
        earliest, frame, latest = (_stored(clocks, camera, s / period) for s in at)
        best = Drop(Gap(camera, frame, missing), earliest, latest, split.certainty)
    return best


def _stored(clocks: TimeModel, camera: int, count: float) -> int:
    """The stored frame of a count; the first behind the gap where it lies within one that is known."""
    frame = float(clocks.stored(camera, np.array(count)))
    if np.isfinite(frame):
        return round(frame)
    firsts = np.array([g.frame for g in clocks.gaps if g.camera == camera])
    return int(firsts[clocks.counts(camera, firsts) > count][0])


def _own_time(camera: int, pair: tuple[int, int], time: Array, offset: Array, late: float) -> Array:
    """Moments of a pair on a camera's own clock; `late` is what that is behind the common one."""
    return time if camera == pair[0] else time + offset[pair[0]] - late


def _binned(camera: int, parts: list[tuple[tuple[int, int], OffsetCosts]], offset: Array) -> _Binned:
    """Misfit of a camera with those of known offset."""
    total = np.nanmean([np.nanmean(np.where(np.isfinite(p.cost), p.cost, np.nan)) for _, p in parts])
    late = offset[camera] if np.isfinite(offset[camera]) else -_best(parts, float(total))
    times = [_own_time(camera, pair, p.time, offset, late) for pair, p in parts]
    low, high = min(t.min() for t in times), max(t.max() for t in times)
    count = int(np.clip(np.ceil((high - low) / _BIN_S), 1, _MOST_BINS))
    width = max((high - low) / count, 1e-9)
    sums, seen = np.zeros((2, len(parts[0][1].offsets_s), count))
    for (_, p), t in zip(parts, times, strict=True):
        there = np.isfinite(p.cost)
        cost = np.where(there, p.cost, 0.0)
        rows = np.clip(((t - low) / width).astype(np.int64), 0, count - 1)
        np.add.at(sums.T, rows, cost.T)
        np.add.at(seen.T, rows, there.T)
    mean = np.where(seen > 0, sums / np.maximum(seen, 1), np.nan)
    # Offsets at which the cameras did not film together are neither good nor bad.
    usual = np.where(np.isfinite(mean).any(0), np.nanmedian(np.where(seen.any(0), mean, total), axis=0), total)
    return _Binned(np.where(np.isfinite(mean), mean, usual), np.isfinite(mean), low, width)


def _best(parts: list[tuple[tuple[int, int], OffsetCosts]], usual: float) -> float:
    cost = sum(np.where(np.isfinite(p.cost), p.cost, usual).mean(1) for _, p in parts)
    return float(parts[0][1].offsets_s[int(np.argmin(cost))])


def _split(told: _Binned, offsets: Array, period: float) -> _Split | None:
    """Where two offsets, whole frames apart, fit best; None where one does as well, or cameras hardly overlap."""
    binned, width = told.misfit, told.width
    L, B = binned.shape
    if B < 2 * _LEAST_BINS:
        return None
    step = offsets[1] - offsets[0]
    front = np.cumsum(binned, 1)
    back = front[:, -1:] - front
    seen_front: NDArray[np.int64] = np.cumsum(told.seen, 1)
    seen_back: NDArray[np.int64] = seen_front[:, -1:] - seen_front
    best: tuple[float, int, int, int] | None = None
    for b in range(_LEAST_BINS, B - _LEAST_BINS + 1):
        first, second = int(np.argmin(front[:, b - 1])), int(np.argmin(back[:, b - 1]))
        for frames in {np.floor((first - second) * step / period), np.ceil((first - second) * step / period)} - {0.0}:
            shift = round(frames * period / step)
            rows = np.arange(max(0, first - 2, shift), min(L, first + 3, L + shift))
            if not len(rows):
                continue
            # Each side's offset must show in what the cameras filmed together, not in that they hardly did.
            enough = np.minimum(seen_front[rows, b - 1], seen_back[rows - shift, b - 1]) >= _LEAST_BINS
            cost = np.where(enough, front[rows, b - 1] + back[rows - shift, b - 1], np.inf)
            k = int(np.argmin(cost))
            if enough[k] and (best is None or cost[k] < best[0]):
                best = (float(cost[k]), int(rows[k]), int(rows[k] - shift), b)
    if best is None:
        return None
    _, before, after, b = best
    two = np.where(np.arange(B) < b, binned[before], binned[after])
    gains = [binned[after, :b] - two[:b], binned[before, b:] - two[b:]]
    if B * width > _LONG_S:
        gains.append(_drifting(binned, step, width) - two)
    return _Split(before, after, b, min(_certainty(g) for g in gains), float(gains[0].sum() + gains[1].sum()))


def _drifting(binned: Array, step: float, width: float) -> Array:
    """Misfit [B] at the best single offset and drift."""
    L, B = binned.shape
    late = (np.arange(B) - (B - 1) / 2) * width
    best, least = binned[int(np.argmin(binned.sum(1)))], np.inf
    for drift in _DRIFTS:
        shift = np.round(drift * late / step).astype(np.int64)
        rows = np.clip(np.arange(L)[:, None] + shift, 0, L - 1)
        moved = binned[rows, np.arange(B)]
        k = int(np.argmin(moved.sum(1)))
        if moved[k].sum() < least:
            best, least = moved[k], float(moved[k].sum())
    return best


def _certainty(gain: Array) -> float:
    return signed_ranks(gain) if (np.abs(gain) > 1e-9).sum() >= _LEAST_BINS else 0.0


def _position(
    sights: Sights, camera: int, known: Array, coarse: CoarseOffsets, offsets: tuple[float, float], near: float,
    width: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Own time (s) of the first frame behind the loss: 2.5 %, most probable, 97.5 %."""
    own, gain = [], []
    for a, b in coarse.evidence:
        other = b if camera == a else a
        if camera not in (a, b) or not np.isfinite(known[other]):
            continue
        # By the pair's own axis; see `shifted`.
        wanted = np.array([o + known[a] if camera == b else -known[b] - o for o in offsets])
        time = _own_time(camera, (a, b), sights.times[a], known, -offsets[0])
        rows = np.flatnonzero(np.abs(time - near) <= 2 * width + abs(offsets[0] - offsets[1]))
        if not len(rows):
            continue
        part = costs_at(
            (sights.directions[a], sights.directions[b]), (sights.times[a], sights.times[b]),
            sights.centres[b] - sights.centres[a], wanted, rows,
        )  # fmt: skip
        before, after = part.cost.astype(np.float64)
        if camera == b:
            # What the later offset calls this moment lies that much earlier in the file.
            there = np.isfinite(after)
            if not there.any():
                continue
            late = offsets[0] - offsets[1]
            after = np.interp(time[rows], time[rows][there] - late, after[there], left=np.nan, right=np.nan)
        own.append(time[rows])
        gain.append(after - before)
    if not own:
        return near - width, near, near + width
    times, gains = np.concatenate(own), np.concatenate(gain)
    order = np.flatnonzero(np.isfinite(gains))[np.argsort(times[np.isfinite(gains)], kind="stable")]
    times, gains = times[order], gains[order]
    if len(times) < 3:
        return near - width, near, near + width
    front = np.cumsum(gains)
    k = int(np.argmax(front))
    sides = [g for g in (gains[: k + 1], gains[k + 1 :]) if len(g) > 1]
    noise = max(float(np.mean([g.var() for g in sides])), 1e-6)
    size = float(np.mean([abs(g.mean()) for g in sides]))
    chance = np.exp(2 * size * (front - front[k]) / (noise * _ALIKE_FRAMES))
    cumulative = np.cumsum(chance) / chance.sum()
    after = np.append(times[1:], times[-1])
    low, high = (int(np.searchsorted(cumulative, q)) for q in (0.025, 0.975))
    return float(after[low]), float(after[k]), float(after[min(high, len(after) - 1)])
