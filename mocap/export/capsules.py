"""A simple body of capsules, one per bone: something to see, and a skin for programs that ask for one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.export.animation import Animation

Array = NDArray[np.float64]

_SIDES = 8
_RINGS = 3  # of each round end

# Radius as a part of the bone's length, and its bounds in metres.
_SLENDER, _THINNEST, _THICKEST = 0.2, 0.02, 0.08
# Length (metres) of what ends a chain: head, hands, toes.
_END = 0.12


@dataclass(frozen=True, eq=False)
class Skin:
    """A mesh in the T-pose, each vertex bound to one node.

    Attributes
    ----------
    positions, normals : float64 [K, 3]
        File axes and unit.
    triangles : int [M, 3]
        Counterclockwise from outside.
    node : int [K]
    """

    positions: Array
    normals: Array
    triangles: NDArray[np.int64]
    node: NDArray[np.int64]


def capsule_skin(animation: Animation) -> Skin:
    """A capsule from every node to each of its children, and a short one where a chain ends."""
    scale = animation.unit.per_metre
    at, parents = animation.rest_positions, animation.parents
    ends = [(int(p), at[p], at[b]) for b, p in enumerate(parents) if p >= 0 and not _still(animation, int(p))]
    for b in range(len(parents)):
        if not (parents == b).any() and parents[b] >= 0:
            away = at[b] - at[parents[b]]
            length = np.linalg.norm(away)
            if length > 0:
                ends.append((b, at[b], at[b] + away / length * min(_END * scale, 0.6 * length)))
    parts = [(b, *_capsule(a, z, scale)) for b, a, z in ends if np.linalg.norm(z - a) > 1e-6 * scale]
    counts = np.cumsum([0] + [len(x) for _, x, _, _ in parts])
    return Skin(
        np.concatenate([x for _, x, _, _ in parts]),
        np.concatenate([n for _, _, n, _ in parts]),
        np.concatenate([t + c for (_, _, _, t), c in zip(parts, counts[:-1], strict=True)]),
        np.concatenate([np.full(len(x), b) for b, x, _, _ in parts]),
    )


def _still(animation: Animation, b: int) -> bool:
    """Whether a node is a root that stays behind while the body moves."""
    return animation.parents[b] < 0 and b != animation.moving


def _capsule(a: Array, z: Array, scale: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Vertices, normals and triangles of a capsule from a to z."""
    axis = z - a
    length = float(np.linalg.norm(axis))
    w = axis / length
    radius = min(np.clip(_SLENDER * length, _THINNEST * scale, _THICKEST * scale), 0.5 * length)
    u = np.cross(w, np.eye(3)[np.abs(w).argmin()])
    u /= np.linalg.norm(u)
    v = np.cross(w, u)
    tilt = np.linspace(-np.pi / 2, 0, _RINGS + 1)[1:]
    tilts = np.concatenate([tilt, -tilt[::-1]])
    centres = np.where(np.arange(len(tilts)) < _RINGS, radius, length - radius)
    turn = np.arange(_SIDES) * 2 * np.pi / _SIDES
    around = np.cos(turn)[:, None] * u + np.sin(turn)[:, None] * v
    normals = np.cos(tilts)[:, None, None] * around + np.sin(tilts)[:, None, None] * w
    rings = a + centres[:, None, None] * w + radius * normals
    x = np.concatenate([a[None], rings.reshape(-1, 3), z[None]])
    n = np.concatenate([-w[None], normals.reshape(-1, 3), w[None]])
    return x, n, _triangles(len(tilts))


def _triangles(rings: int) -> NDArray[np.int64]:
    i = np.arange(_SIDES)
    j = (i + 1) % _SIDES
    last = 1 + rings * _SIDES
    out = [np.stack([0 * i, 1 + j, 1 + i], 1)]
    for r in range(rings - 1):
        a, b = 1 + r * _SIDES, 1 + (r + 1) * _SIDES
        out += [np.stack([a + i, a + j, b + j], 1), np.stack([a + i, b + j, b + i], 1)]
    out.append(np.stack([1 + (rings - 1) * _SIDES + i, 1 + (rings - 1) * _SIDES + j, np.full(_SIDES, last)], 1))
    return np.concatenate(out)
