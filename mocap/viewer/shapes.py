"""Unit shapes as triangles, for viewers that place them by scale and turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mesh = tuple[NDArray[np.float32], NDArray[np.uint32]]
"""Vertices [N, 3] and triangles [M, 3], counter-clockwise from outside."""

_AROUND, _RINGS = 14, 10


def ball() -> Mesh:
    """A ball of radius 1 round the origin."""
    polar = np.linspace(0, np.pi, _RINGS)
    return _turned(np.sin(polar), np.cos(polar))


def tube() -> Mesh:
    """A closed cylinder of radius 1 from the origin to (0, 0, 1)."""
    return _turned(np.array([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))


def octahedron() -> Mesh:
    """An octahedron with its corners at distance 1 on the axes."""
    vertices = np.concatenate([np.eye(3), -np.eye(3)]).astype(np.float32)
    faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    return vertices, np.array(faces, np.uint32)


def _turned(radius: NDArray[np.float64], height: NDArray[np.float64]) -> Mesh:
    """The surface that a line from top to bottom makes when it is turned about z."""
    angle = 2 * np.pi * np.arange(_AROUND) / _AROUND
    x, y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    z = np.repeat(height[:, None], _AROUND, 1)
    i, j = np.meshgrid(np.arange(len(radius) - 1), np.arange(_AROUND), indexing="ij")
    a, b = i * _AROUND + j, i * _AROUND + (j + 1) % _AROUND
    triangles = np.stack([np.stack([a, a + _AROUND, b], -1), np.stack([b, a + _AROUND, b + _AROUND], -1)], 2)
    return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32), triangles.reshape(-1, 3).astype(np.uint32)
