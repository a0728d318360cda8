"""2D keypoints of cameras that expose at different times, brought to common times."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.synchronisation import TimeModel
from mocap.errors import DataError
from mocap.types import Keypoints2D

_log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# Between two neighbouring frames a person does not move farther than this part of their own size.
_GATE = 0.5

# Fractions of a frame below this count as none.
_SAME = 1e-6


def to_common_time(keypoints: Keypoints2D, times: TimeModel) -> Keypoints2D:
    """Keypoints as if every camera had exposed at frame / fps of the common clock.

    Parameters
    ----------
    keypoints : Keypoints2D
        Frame numbers as each camera counts them.
    times : TimeModel
        Of the same cameras.

    Returns
    -------
    Keypoints2D
        Same frames. Between two frames of a camera keypoints are interpolated linearly (with a rolling shutter
        between the two moments at which it read the rows that a joint lies in); since slots
        carry no identity, a slot's partner in the neighbouring frame is the nearest person, if each
        is the other's nearest and within half the person's size. A sample is missing where either
        frame lacks it or is not recorded. The input itself when all offsets are zero.

    Raises
    ------
    DataError
        The time model is of other cameras.
    """
    if times.cameras != keypoints.cameras:
        raise DataError(
            "the time model does not fit the keypoints", expected=", ".join(keypoints.cameras),
            found=", ".join(times.cameras), where="to_common_time",
        )  # fmt: skip
    if times.is_identity or not len(keypoints.frames):
        return keypoints
    points = np.full_like(keypoints.keypoints, np.nan)
    confidence = np.zeros_like(keypoints.confidence)
    uncertainty = np.full_like(keypoints.uncertainty, np.nan)
    appearance = np.empty_like(keypoints.appearance)
    common = keypoints.frames / keypoints.fps
    for v in range(len(keypoints.cameras)):
        delay = float(times.row_delay_s[v] * times.rate[v] * keypoints.fps)
        if delay:
            counts, wanted = (
                times.counts(v, keypoints.frames.astype(np.float64)),
                times.counts_at(v, common, keypoints.fps),
            )
            found = _resample_rows(keypoints, v, counts, wanted, delay)
        else:
            found = _resample(keypoints, v, times.frames_at(v, common, keypoints.fps))
        points[v], confidence[v], uncertainty[v], appearance[v] = found
    return replace(
        keypoints, keypoints=points, confidence=confidence, uncertainty=uncertainty, appearance=appearance
    )  # fmt: skip


def _resample(keypoints: Keypoints2D, view: int, wanted: Array) -> tuple[Array, Array, Array, Array]:
    """One view at fractional frame numbers [T]: keypoints, confidence, uncertainty, appearance."""
    frames = keypoints.frames
    n = len(frames)
    step = int(np.gcd.reduce(np.diff(frames))) if n > 1 else 1
    left = np.clip(np.searchsorted(frames, wanted + _SAME, side="right") - 1, 0, n - 1)
    part = (wanted - frames[left]) / step
    right = np.minimum(left + 1, n - 1)
    exact = np.abs(part) < _SAME
    between = (part > 0) & (part < 1) & (frames[right] - frames[left] == step)
    part = np.where(exact, 0.0, part)
    # The nearer frame leads, so that the slots' order follows the better evidence.
    lead = np.where(part <= 0.5, left, right)
    other = np.where(part <= 0.5, right, left)
    weight = np.where(part <= 0.5, part, 1 - part)[:, None, None]
    points, confidence, uncertainty = (
        a[view].astype(np.float64) for a in (keypoints.keypoints, keypoints.confidence, keypoints.uncertainty)
    )
    partner = _partners(points[lead], points[other])
    rows = other[:, None]
    slot = np.maximum(partner, 0)
    paired = (partner >= 0) & between[:, None]
    kept = (exact[:, None] | paired)[..., None]
    alone = exact[:, None, None]
    w = np.where(alone, 0.0, weight)
    there = np.where(alone[..., None], points[lead], points[rows, slot])
    x = (1 - w[..., None]) * points[lead] + w[..., None] * there
    # An interpolated point is no surer than the less sure of its two.
    c = np.where(alone, confidence[lead], np.minimum(confidence[lead], confidence[rows, slot]))
    # NaN (not known) stays NaN through the sum.
    u = np.where(alone, uncertainty[lead], np.hypot((1 - w) * uncertainty[lead], w * uncertainty[rows, slot]))
    x = np.where(kept[..., None], x, np.nan)
    look = np.where(kept, keypoints.appearance[view, lead], np.nan)
    return x, np.where(kept, c, 0.0), np.where(kept, u, np.nan), look


def _resample_rows(
    keypoints: Keypoints2D, view: int, counts: Array, wanted: Array, delay: float
) -> tuple[Array, Array, Array, Array]:
    """As `_resample`, of a camera that reads its rows one after the other, `delay` frames apart.

    Of the frames about a wanted time, the one in which row 0 (or, read from below, the last row) is next to it leads;
    a joint's moment lies between that frame and the one before or behind, as its row says. Frames [T] and wanted
    times [T] are counts (`TimeModel.counts`): where some were lost, rows are read on until a frame that is not there.
    """
    n = len(counts)
    step = int(np.gcd.reduce(np.diff(keypoints.frames))) if n > 1 else 1
    lead = np.searchsorted(counts, wanted + _SAME, side="right") - 1
    if delay < 0:
        lead = np.searchsorted(counts, wanted - _SAME, side="left")
    near = (lead >= 0) & (lead < n)
    lead = np.clip(lead, 0, n - 1)
    near &= np.abs(wanted - counts[lead]) < step
    all_views = keypoints.keypoints, keypoints.confidence, keypoints.uncertainty
    parts = tuple(a[view].astype(np.float64) for a in all_views)
    x0, c0, u0 = (a[lead] for a in parts)
    moment = counts[lead][:, None, None] + delay * x0[..., 1]
    later = wanted[:, None, None] >= moment
    sides = [_neighbours(parts, counts, lead, side, step) for side in (-1, 1)]
    x1, c1, u1 = (np.where(later if a.ndim == 3 else later[..., None], b, a) for a, b in zip(*sides, strict=True))
    there = counts[lead][:, None, None] + np.where(later, step, -step) + delay * x1[..., 1]
    exact = np.abs(wanted[:, None, None] - moment) < _SAME
    w = np.where(exact, 0.0, (wanted[:, None, None] - moment) / (there - moment))
    kept = near[:, None, None] & (exact | ((w > 0) & (w <= 1)))
    x = np.where(exact[..., None], x0, (1 - w[..., None]) * x0 + w[..., None] * x1)
    c = np.where(exact, c0, np.minimum(c0, c1))
    u = np.where(exact, u0, np.hypot((1 - w) * u0, w * u1))
    look = np.where(kept.any(-1)[..., None], keypoints.appearance[view, lead], np.nan)
    return np.where(kept[..., None], x, np.nan), np.where(kept, c, 0.0), np.where(kept, u, np.nan), look


def _neighbours(parts: Sequence[Array], counts: Array, lead: Rows, side: int, step: int) -> tuple[Array, Array, Array]:
    """Points, confidence and uncertainty of the same people in the frame before (-1) or behind (1); NaN where none."""
    other = np.clip(lead + side, 0, len(counts) - 1)
    partner = _partners(parts[0][lead], parts[0][other])
    there = (partner >= 0) & (counts[other] - counts[lead] == side * step)[:, None]
    x, c, u = (a[other[:, None], np.maximum(partner, 0)] for a in parts)
    return np.where(there[..., None, None], x, np.nan), np.where(there[..., None], c, 0.0), u


def _partners(here: Array, there: Array) -> Rows:
    """For each slot [T, P] of `here` the slot of `there` that is the same person, -1 where none is."""
    distance = _distances(here, there)
    nearest = distance.argmin(2)
    back = distance.argmin(1)
    mutual = np.take_along_axis(back, nearest, 1) == np.arange(here.shape[1])
    least = np.take_along_axis(distance, nearest[..., None], 2)[..., 0]
    seen = np.asarray(np.isfinite(here).all(-1))
    any_seen = np.asarray(seen.any(-1))
    high = np.where(seen[..., None], here, -np.inf).max(2)
    low = np.where(seen[..., None], here, np.inf).min(2)
    size = np.where(any_seen, np.linalg.norm(np.where(any_seen[..., None], high - low, 0), axis=-1), 0)
    return np.where(mutual & (least <= _GATE * size), nearest, -1)


def _distances(here: Array, there: Array) -> Array:
    """Mean distance (px) over the joints both have: [T, P, P], infinite without one in common."""
    frames, slots = here.shape[:2]
    out = np.full((frames, slots, slots), np.inf)
    for p in range(slots):
        d = np.linalg.norm(here[:, p : p + 1] - there, axis=-1)
        known = np.isfinite(d)
        count = known.sum(-1)
        mean = np.where(known, d, 0).sum(-1) / np.maximum(count, 1)
        out[:, p] = np.where(count > 0, mean, np.inf)
    return out
