"""When a foot stands: slow and low, relative to the ground under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, minimum_filter1d

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Seconds over which a speed is taken.
_SPEED_S = 0.08
# A point that stands is slower than this, m/s: three times the speed that noise gives to standing feet,
# within bounds. It stands on until it is half as fast again.
_NOISE_FACTOR = 3.0
_SLOW = (0.12, 0.40)
_RELEASE = 1.5
# Share of the time that a foot stands at least (stance takes 60 % of a walking cycle, 35 % of a running
# one; Novacheck, Gait & Posture 7, 1998): the speed below which it moves that long is noise.
_STANCE_SHARE = 0.2
# A point higher than this (m) above the lowest place where it is slow within a second may be on a step,
# or be held still: it must be slower by a factor, and for longer.
_LOCAL_S, _RAISED, _RAISED_SHARE = 1.0, 0.05, 0.5
_LEAST_S, _RAISED_LEAST_S = 0.1, 0.3
# Seconds from one contact of a point to its next.
_ROOM_S = 0.15
# A point that creeps stands for as long as it stays near one place: this many times as far as points
# that stand stray at the median, within bounds (m).
_STRAY_FACTOR, _STRAY = 2.0, (0.01, 0.04)


@dataclass(frozen=True)
class Contact:
    """A point of a foot that stands.

    Attributes
    ----------
    foot, point : int
        0 left, 1 right; 0 heel (or ankle), 1 toes.
    start, stop : int
        First frame and the one after the last.
    """

    foot: int
    point: int
    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """Its frames."""
        return slice(self.start, self.stop)


def find_contacts(places: Array, known: Mask, rate: float) -> list[Contact]:
    """Contacts of both feet.

    Parameters
    ----------
    places : float64 [T, 2, 2, 3] m
        Heel and toes of the left and the right foot, in the world; even steps in time.
    known : bool [T, 2, 2]
        Where they were seen.
    rate : float
        Frames per second.

    Returns
    -------
    list of Contact
        By foot, point and time.
    """
    if len(places) < 3:
        return []
    speed = _speed(places, rate)
    rest = np.quantile(speed[known], _STANCE_SHARE) if known.any() else 0.0
    slow = float(np.clip(_NOISE_FACTOR * rest, *_SLOW))
    out = [
        c
        for foot in (0, 1)
        for point in (0, 1)
        for c in _of_point(
            places[:, foot, point, 2], speed[:, foot, point], known[:, foot, point], slow, rate, foot, point
        )
    ]
    strays = [_stray(places[c.rows, c.foot, c.point]).max() for c in out]
    near = float(np.clip(_STRAY_FACTOR * np.median(strays), *_STRAY)) if strays else 0.0
    least = max(3, int(_LEAST_S * rate))
    steady = [
        Contact(c.foot, c.point, c.start + a, c.start + b)
        for c in out
        for a, b in _steady(places[c.rows, c.foot, c.point], near, least)
    ]
    steady.sort(key=lambda c: (c.foot, c.point, c.start))
    return _with_room(steady, max(2, round(_ROOM_S * rate)), least)


def _with_room(contacts: list[Contact], room: int, least: int) -> list[Contact]:
    """Contacts of a point, in order, with so many frames between each and the next that it can get there."""
    starts, stops = [c.start for c in contacts], [c.stop for c in contacts]
    for i in range(len(contacts) - 1):
        a, b = contacts[i], contacts[i + 1]
        if (a.foot, a.point) == (b.foot, b.point):
            lack = max(0, room - (b.start - a.stop))
            stops[i] -= (lack + 1) // 2
            starts[i + 1] += lack // 2
    new = [Contact(c.foot, c.point, a, b) for c, a, b in zip(contacts, starts, stops, strict=True)]
    return [c for c in new if c.stop - c.start >= least]


def _stray(places: Array) -> Array:
    """Distances [T] of places [T, 3] from their median."""
    return np.asarray(np.linalg.norm(places - np.median(places, axis=0), axis=-1))


def _steady(places: Array, near: float, least: int) -> list[tuple[int, int]]:
    """Spans of places [T, 3], of at least `least` frames, in which none strays further than `near`."""
    if len(places) < least:
        return []
    inside = _stray(places) <= near
    if inside.all():
        return [(0, len(places))]
    edges = np.flatnonzero(np.diff(np.r_[0, inside.astype(np.int8), 0]))
    spans = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    # A median may lie where the point never was: then the halves are looked at on their own.
    middle = len(places) // 2
    a, b = max(spans, key=lambda s: s[1] - s[0]) if spans else (middle, middle)
    own = [(a, b)] if b - a >= least else []
    rest = _steady(places[:a], near, least), _steady(places[b:], near, least)
    return [*rest[0], *own, *((b + x, b + y) for x, y in rest[1])]


def _of_point(z: Array, speed: Array, known: Mask, slow: float, rate: float, foot: int, point: int) -> list[Contact]:
    raised = z - _ground(z, speed < slow, rate) > _RAISED
    bound = np.where(raised, _RAISED_SHARE * slow, slow)
    begins, goes_on = known & (speed < bound), known & (speed < _RELEASE * bound)
    regions, count = label(goes_on)
    holds = np.zeros(count + 1, bool)
    holds[np.unique(regions[begins])] = True
    holds[0] = False
    edges = np.flatnonzero(np.diff(np.r_[0, holds[regions].astype(np.int8), 0]))
    spans = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    least = [max(3.0, s * rate) for s in (_LEAST_S, _RAISED_LEAST_S)]
    return [Contact(foot, point, a, b) for a, b in spans if b - a >= least[int(np.median(raised[a:b]))]]


def _ground(z: Array, slow: Mask, rate: float) -> Array:
    """Height [T] of the ground under a point: the least at which it was slow, a second before or after."""
    candidates = np.where(slow, z, np.inf)
    return np.asarray(minimum_filter1d(candidates, 2 * int(_LOCAL_S * rate) + 1, mode="nearest"))


def _speed(places: Array, rate: float) -> Array:
    """Speeds [T, 2, 2], m/s, over some hundredths of a second about each frame."""
    half = max(1, round(0.5 * _SPEED_S * rate))
    rows = np.arange(len(places))
    a, b = np.maximum(rows - half, 0), np.minimum(rows + half, len(places) - 1)
    length = np.linalg.norm(places[b] - places[a], axis=-1)
    return np.asarray(length * rate / (b - a)[:, None, None])
