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
_SLENDER, _THINNEST, _THICKEST = 0.17, 0.02, 0.08
# Length (metres) of what ends a chain: hands and toes, and the head.
_END, _HEAD = 0.12, 0.22
# Half widths and half depths (metres) of what lies in the body's middle.
_TRUNK, _NECK, _SKULL = (0.14, 0.1), (0.055, 0.055), (0.075, 0.09)


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


@dataclass(frozen=True)
class _Part:
    """A capsule of node `node` from `start` to `end`, or in the body's middle one with an elliptic section."""

    node: int
    start: Array
    end: Array
    section: tuple[float, float] | None = None


def capsule_skin(animation: Animation) -> Skin:
    """A capsule from every node to each of its children, and a short one where a chain ends."""
    scale = animation.unit.per_metre
    left = animation.axes.file_from_world[:, 0]
    parts = [p for p in _parts(animation, left) if np.linalg.norm(p.end - p.start) > 1e-6 * scale]
    shapes = [_capsule(p, left, scale) for p in parts]
    counts = np.cumsum([0] + [len(x) for x, _, _ in shapes])
    return Skin(
        np.concatenate([x for x, _, _ in shapes]),
        np.concatenate([n for _, n, _ in shapes]),
        np.concatenate([t + c for (_, _, t), c in zip(shapes, counts[:-1], strict=True)]),
        np.concatenate([np.full(len(x), p.node) for (x, _, _), p in zip(shapes, parts, strict=True)]),
    )


def _parts(animation: Animation, left: Array) -> list[_Part]:
    scale = animation.unit.per_metre
    at, parents = animation.rest_positions, animation.parents
    in_middle = np.abs(at @ left) < 1e-3 * scale
    parts = []
    for b, p in enumerate(parents.tolist()):
        if p < 0 or _still(animation, p):
            continue
        middle = bool(in_middle[b] and in_middle[p])
        # Arms hang on the trunk's bones, not on the neck's.
        section = (_NECK if in_middle[_hanging(parents, p)].all() else _TRUNK) if middle else None
        parts.append(_Part(p, at[p], at[b], section))
        away = at[b] - at[p]
        length = float(np.linalg.norm(away))
        if not (parents == b).any() and length > 0:
            reach = _HEAD * scale if middle else min(_END * scale, 0.6 * length)
            parts.append(_Part(b, at[b], at[b] + away / length * reach, _SKULL if middle else None))
    return parts


def _hanging(parents: NDArray[np.int64], b: int) -> list[int]:
    """A node and all that hangs on it; parents come before children."""
    found = {b}
    for c, p in enumerate(parents.tolist()):
        if p in found:
            found.add(c)
    return sorted(found)


def _still(animation: Animation, b: int) -> bool:
    """Whether a node is a root that stays behind while the body moves."""
    return animation.parents[b] < 0 and b != animation.moving


def _capsule(part: _Part, left: Array, scale: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Vertices, normals and triangles of a capsule."""
    axis = part.end - part.start
    length = float(np.linalg.norm(axis))
    w = axis / length
    if part.section is None:
        wide = deep = cap = min(float(np.clip(_SLENDER * length, _THINNEST * scale, _THICKEST * scale)), 0.5 * length)
        u = np.cross(w, np.eye(3)[np.abs(w).argmin()])
    else:
        wide, deep = scale * part.section[0], scale * part.section[1]
        cap = min(deep, 0.4 * length)
        u = left - (left @ w) * w
    u = u / np.linalg.norm(u)
    v = np.cross(w, u)
    tilt = np.linspace(-np.pi / 2, 0, _RINGS + 1)[1:]
    tilts = np.concatenate([tilt, -tilt[::-1]])
    centres = np.where(np.arange(len(tilts)) < _RINGS, cap, length - cap) + cap * np.sin(tilts)
    turn = np.arange(_SIDES) * 2 * np.pi / _SIDES
    c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
    around = np.cos(tilts)[:, None, None] * (wide * c * u + deep * s * v)
    rings = part.start + centres[:, None, None] * w + around
    # Across an ellipsoid: the position divided by the squares of its half axes.
    normals = np.cos(tilts)[:, None, None] * (c * u / wide + s * v / deep) + np.sin(tilts)[:, None, None] * w / cap
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    x = np.concatenate([part.start[None], rings.reshape(-1, 3), part.end[None]])
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
