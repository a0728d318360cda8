"""Feet that stand are kept from sliding: where each contact is held, and how hard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.contacts import Contact
from mocap.kinematics.inverse import Targets

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# How hard a point that stands is held, and how hard the seen points hold a foot: m, one standard deviation.
_HELD_STD, _SEEN_STD = 0.0003, 0.004
# Seconds over which a hold sets in and fades.
_BLEND_S = 0.10
# Sweeps that bring heel and toes of a foot to their distance.
_SWEEPS = 10


def anchors(contacts: list[Contact], places: Array, apart: tuple[float, float]) -> Array:
    """Where contacts are held.

    Parameters
    ----------
    contacts : list of Contact
    places : float64 [T, 2, 2, 3] m
        Heel and toes of both feet before.
    apart : (float, float)
        Distance of heel and toes of the left and the right foot, metres.

    Returns
    -------
    float64 [C, 3] m
        The mean place over each contact, moved so that heel and toes that stand together are as far
        apart as the foot is long: else the foot would jump when one of them lifts off.
    """
    held = np.array([places[c.rows, c.foot, c.point].mean(0) for c in contacts]).reshape(-1, 3)
    pairs = [
        (i, j)
        for i, a in enumerate(contacts)
        for j, b in enumerate(contacts)
        if a.foot == b.foot and a.point < b.point and max(a.start, b.start) < min(a.stop, b.stop)
    ]
    for _ in range(_SWEEPS):
        for i, j in pairs:
            line = held[j] - held[i]
            length = float(np.linalg.norm(line))
            if length > 1e-6:
                move = 0.5 * (length - apart[contacts[i].foot]) / length * line
                held[i] += move
                held[j] -= move
    return held


def strength(contacts: list[Contact], frames: int, rate: float) -> Array:
    """How much of a foot's place each contact decides, 0..1: float64 [C, T]; 1 throughout the contact."""
    rows = np.arange(frames)
    blend = max(1.0, _BLEND_S * rate)
    out = np.zeros((len(contacts), frames))
    for i, c in enumerate(contacts):
        outside = np.maximum(np.maximum(c.start - rows, rows - (c.stop - 1)), 0) / blend
        s = np.clip(1 - outside, 0.0, 1.0)
        out[i] = s**3 * (10 - 15 * s + 6 * s * s)
    return out


def with_contacts(
    targets: Targets, contacts: list[Contact], held: Array, share: Array, nodes: Ints, local: Array
) -> Targets:
    """Targets with the held points added.

    Parameters
    ----------
    targets : Targets
    contacts : list of Contact
    held : float64 [C, 3] m
    share : float64 [C, T]
        As of `strength`.
    nodes, local : int [2, 2], float64 [2, 2, 3] m
        Heel and toes of both feet.
    """
    T = len(targets.seen)
    total, place = np.zeros((T, 4)), np.zeros((T, 4, 3))
    most = 1 / _HELD_STD**2
    for c, at, s in zip(contacts, held, share, strict=True):
        # A hold of precision W against points of precision D decides W / (W + D) of the place.
        W = np.minimum(s / np.maximum(1 - s, 1e-9) / _SEEN_STD**2, most)
        k = 2 * c.foot + c.point
        total[:, k] += W
        place[:, k] += W[:, None] * at
    place /= np.maximum(total, 1e-12)[..., None]
    return Targets(
        np.concatenate([targets.node, nodes.ravel()]), np.concatenate([targets.local, local.reshape(4, 3)]),
        np.concatenate([targets.tail, np.zeros(4, bool)]), np.concatenate([targets.seen, place], 1),
        np.concatenate([targets.information, total[..., None, None] * np.eye(3)], 1), targets.neutral,
    )  # fmt: skip


def slide(contacts: list[Contact], places: Array) -> Array:
    """Farthest distance (m) of each contact's point from its mean place: float64 [C]."""
    out = np.zeros(len(contacts))
    for i, c in enumerate(contacts):
        p = places[c.rows, c.foot, c.point]
        out[i] = np.linalg.norm(p - p.mean(0), axis=-1).max()
    return out
