"""Small builders of triangle meshes: lofts, ellipsoids, planes; and their skinning.

Meshes are plain arrays, so that figures can be built and tested without Open3D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mesh:
    """A coloured triangle mesh.

    Attributes
    ----------
    vertices : float64 [N, 3], metres
    triangles : int [M, 3]
        Counter-clockwise seen from outside.
    colours : float64 [N, 3], 0..1 (RGB)
    weights : float64 [N, B]
        How much each vertex follows each joint; rows sum to 1.
    """

    vertices: Array
    triangles: NDArray[np.int32]
    colours: Array
    weights: Array

    def normals(self) -> Array:
        """Unit vertex normals [N, 3], weighted by area."""
        corner = self.vertices[self.triangles]
        face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normals = np.zeros_like(self.vertices)
        for i in range(3):
            np.add.at(normals, self.triangles[:, i], face)
        return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.triangles + s for m, s in zip(meshes, starts, strict=True)]).astype(np.int32),
        np.concatenate([m.colours for m in meshes]),
        np.concatenate([m.weights for m in meshes]),
    )


def rigid(n: int, joint: int, joints: int) -> Array:
    """Weights [n, joints] that follow one joint."""
    weights = np.zeros((n, joints))
    weights[:, joint] = 1.0
    return weights


def _grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Triangles of a surface of `rows` rings of `columns` vertices, closed round the ring."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    return np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 2).reshape(-1, 3).astype(np.int32)


def loft(
    centres: ArrayLike, radii: ArrayLike, side: ArrayLike, around: int = 24, between: int = 5
) -> tuple[Array, NDArray[np.int32]]:
    """A closed tube of elliptic rings along a line of centres, smooth between them.

    Parameters
    ----------
    centres : [n, 3], metres
    radii : [n, 2], metres
        Half axes of each ring: along `side`, and across it.
    side : [3]
        Unit vector in the plane of the rings.
    around, between : int
        Vertices per ring; rings per given ring.

    Returns
    -------
    vertices : float64 [N, 3]; triangles : int32 [M, 3]
    """
    centres, radii, side = np.asarray(centres, float), np.asarray(radii, float), np.asarray(side, float)
    at = np.linspace(0, len(centres) - 1, (len(centres) - 1) * between + 1)
    knots = np.arange(len(centres), dtype=np.float64)
    c = np.stack([np.interp(at, knots, centres[:, i]) for i in range(3)], -1)
    r = np.asarray(PchipInterpolator(knots, radii)(at))
    axis = centres[-1] - centres[0]
    axis = axis / np.linalg.norm(axis)
    across = np.cross(axis, side)
    # Round caps: rings that shrink like a circle beyond each end.
    bulge = np.sin(np.linspace(0, np.pi / 2, 5))[1:]
    shrink = np.cos(np.linspace(0, np.pi / 2, 5))[1:]
    shrink[-1] = 1e-3
    head = c[0] - bulge[::-1, None] * axis * r[0].min() * 0.8
    tail = c[-1] + bulge[:, None] * axis * r[-1].min() * 0.8
    c = np.concatenate([head, c, tail])
    r = np.concatenate([shrink[::-1, None] * r[0], r, shrink[:, None] * r[-1]])
    angle = 2 * np.pi * np.arange(around) / around
    ring = np.cos(angle)[:, None] * side * r[:, None, :1] + np.sin(angle)[:, None] * across * r[:, None, 1:]
    return (c[:, None] + ring).reshape(-1, 3), _grid_triangles(len(c), around)


def ellipsoid(centre: ArrayLike, radii: ArrayLike, rows: int = 16, around: int = 24) -> tuple[Array, NDArray[np.int32]]:
    """An ellipsoid with half axes `radii` [3] along x, y, z (metres): vertices and triangles."""
    polar = np.linspace(1e-3, np.pi - 1e-3, rows)[::-1]
    angle = 2 * np.pi * np.arange(around) / around
    unit = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(angle),
            np.sin(polar)[:, None] * np.sin(angle),
            np.cos(polar)[:, None] * np.ones(around),
        ],
        -1,
    )
    return (np.asarray(centre) + unit * np.asarray(radii)).reshape(-1, 3), _grid_triangles(rows, around)


def skin(mesh: Mesh, normals: Array, rest: Array, orientations: Array, positions: Array) -> tuple[Array, Array]:
    """Linear blend skinning of one pose.

    Parameters
    ----------
    mesh : Mesh
        In the rest pose.
    normals : [N, 3]
        Of the rest pose.
    rest : [B, 3], orientations : [B, 3, 3], positions : [B, 3]
        Joints in rest (their orientations are the identity) and posed; metres.

    Returns
    -------
    vertices, normals : float64 [N, 3]
        Posed, world.
    """
    shift = positions - np.einsum("bij,bj->bi", orientations, rest)
    blended = mesh.weights @ np.concatenate([orientations.reshape(-1, 9), shift], -1)
    R = blended[:, :9].reshape(-1, 3, 3)
    vertices = np.einsum("nij,nj->ni", R, mesh.vertices) + blended[:, 9:]
    turned = np.einsum("nij,nj->ni", R, normals)
    return vertices, turned / np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-12)
