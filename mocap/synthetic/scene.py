"""A synthetic scene: cameras, people, how they and the room look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.errors import DataError
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.figure import Look
from mocap.synthetic.mesh import Mesh, merge
from mocap.synthetic.motion import Motion, procedural_motion
from mocap.synthetic.rig import ring_rig

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """What is rendered.

    Attributes
    ----------
    rig : CameraRig
    motion : Motion
    looks : tuple of Look
        One per person.
    seed : int
        Of the room.
    """

    rig: CameraRig
    motion: Motion
    looks: tuple[Look, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.looks) != len(self.motion.bodies):
            raise DataError(
                "a scene needs one look per person",
                expected=f"{len(self.motion.bodies)}",
                found=f"{len(self.looks)}",
                where="Scene.looks",
            )


def make_scene(
    n_frames: int = 100,
    fps: float = 30.0,
    seed: int = 0,
    *,
    n_cameras: int = 4,
    n_people: int = 1,
    kind: MotionKind = MotionKind.TAKE,
    size: tuple[int, int] = (1080, 1080),
    rig: CameraRig | None = None,
) -> Scene:
    """A scene from a seed: a ring of cameras round people who move.

    The rig is `ring_rig` of the seed unless given; its focal length fits the image size.
    """
    if rig is None:
        rig = ring_rig(n_cameras, size=size, focal=1100.0 * min(size) / 1080, seed=seed)
    motion = procedural_motion(n_frames, fps, seed, kind, n_people=n_people)
    looks = tuple(Look.random([seed, p, 2]) for p in range(n_people))
    return Scene(rig, motion, looks, seed)


def build_room(seed: int = 0, radius: float = 7.0, height: float = 4.0) -> Mesh:
    """A round room: tiled floor at z = 0 and a wall with panels, in muted colours.

    Parameters
    ----------
    seed : int
        Of the colours.
    radius, height : float
        Of the wall, metres. Cameras stand inside.

    Returns
    -------
    Mesh
        Without weights (zero joints); faces look inward.
    """
    rng = np.random.default_rng([seed, 3])
    return merge([_floor(rng, radius), _wall(rng, radius, height)])


def _quads(corners: Array, colours: Array) -> Mesh:
    """Separate quads [n, 4, 3] (counter-clockwise seen from the front) in one colour each."""
    n = len(corners)
    first = 4 * np.arange(n)[:, None]
    triangles = np.concatenate([first + (0, 1, 2), first + (0, 2, 3)]).astype(np.int32)
    return Mesh(corners.reshape(-1, 3), triangles, np.repeat(colours, 4, axis=0), np.zeros((4 * n, 0)))


def _floor(rng: np.random.Generator, radius: float) -> Mesh:
    tile = 0.5
    n = int(np.ceil(radius / tile))
    x, y = (a.ravel() * tile for a in np.meshgrid(np.arange(-n, n), np.arange(-n, n), indexing="ij"))
    zero = np.zeros_like(x)
    corners = np.stack(
        [np.stack([x + dx * tile, y + dy * tile, zero], -1) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))],
        1,
    )
    checker = (np.round(x / tile) + np.round(y / tile)) % 2
    shade = 0.55 + 0.05 * checker + 0.03 * rng.normal(size=len(x))
    return _quads(corners, np.clip(shade[:, None] * (1.0, 0.96, 0.88), 0, 1))


def _wall(rng: np.random.Generator, radius: float, height: float) -> Mesh:
    n, rows = 48, 4
    i, k = (a.ravel() for a in np.meshgrid(np.arange(n), np.arange(rows), indexing="ij"))

    def corner(di: int, dk: int) -> Array:
        angle = 2 * np.pi * (i + di) / n
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), height * (k + dk) / rows], -1)

    corners = np.stack([corner(1, 0), corner(0, 0), corner(0, 1), corner(1, 1)], 1)
    column = 0.03 * rng.normal(size=n)
    shade = 0.70 - 0.04 * k + column[i]
    return _quads(corners, np.clip(shade[:, None] * (0.92, 0.95, 1.0), 0, 1))
