"""What is drawn, as plain arrays: skeletons, floor, cameras, trails. Needs no Open3D.

People differ by colour; left limbs are bright, right limbs dark. Where a joint comes from shows
without colour too: triangulated joints are full balls with full bones, lifted ones small balls with
thin bones, interpolated ones octahedra with dashed bones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.errors import DataError
from mocap.skeleton import Skeleton, identify
from mocap.types import Source, Trajectories3D
from mocap.viewer.certainty import certainty_colours, standard_deviation
from mocap.viewer.lighting import shade
from mocap.viewer.settings import Colouring, ViewSettings

Array = NDArray[np.float64]
Ints = NDArray[np.int32]

# Okabe & Ito (2008), colours that colour-blind people tell apart.
PALETTE: Array = np.array(
    [
        (0.90, 0.62, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.80, 0.47, 0.65),
        (0.94, 0.89, 0.26), (0.00, 0.45, 0.70), (0.84, 0.37, 0.00),
    ]
)  # fmt: skip

_BALL_ROWS, _BALL_AROUND = 9, 12
_BONE_AROUND = 10
_DASHES = 4


@dataclass(frozen=True, eq=False)
class Surface:
    """Vertices [N, 3] (m), triangles [M, 3] (counter-clockwise from outside), colours [N, 3] (0..1, shaded)."""

    vertices: Array
    triangles: Ints
    colours: Array


@dataclass(frozen=True, eq=False)
class Lines:
    """Points [N, 3] (m), segments [M, 2], colours [M, 3] (0..1)."""

    points: Array
    segments: Ints
    colours: Array


def person_colour(person_id: int) -> Array:
    """Colour of a person, RGB 0..1: the same wherever this person is drawn."""
    return PALETTE[int(person_id) % len(PALETTE)]


def known_skeleton(joint_names: tuple[str, ...]) -> Skeleton | None:
    """The skeleton of these joints, None where it is none that is known: points without bones."""
    try:
        return identify(joint_names)
    except DataError:
        return None


class SkeletonModel:
    """The people of a result as one surface of constant topology; `frame` poses it.

    Parameters
    ----------
    trajectories : Trajectories3D
    settings : ViewSettings
    """

    def __init__(self, trajectories: Trajectories3D, settings: ViewSettings) -> None:
        self._positions = trajectories.positions.astype(np.float64)
        self._source = trajectories.source
        self._settings = settings
        self.bones = bones_of(trajectories.joint_names)
        self._trajectories = trajectories
        self._tones = person_tones(trajectories.person_ids, trajectories.joint_names)
        people, joints = self._positions.shape[1:3]
        self._sizes = settings.joint_radius_m * np.tile(joint_sizes(trajectories.joint_names), people)
        self._ball, ball_triangles = _ball()
        self._octahedron = self._ball / np.abs(self._ball).sum(-1, keepdims=True)
        self._ring, bone_triangles = _bone()
        self.triangles = np.concatenate(
            [
                _repeat(ball_triangles, len(self._ball), people * joints),
                _repeat(bone_triangles, len(self._ring[0]), people * len(self.bones))
                + people * joints * len(self._ball),
            ]
        ).astype(np.int32)

    def frame(self, t: int) -> Surface:
        """The surface at row `t`; missing joints and their bones shrink to nothing."""
        certain = self._settings.colour is Colouring.CERTAINTY
        self._colours = certainty_colours(standard_deviation(self._trajectories, t)) if certain else self._tones
        balls, ball_normals, ball_colours = self._balls(t)
        bones, bone_normals, bone_colours = self._bones(t)
        vertices = np.concatenate([balls, bones])
        colours = shade(np.concatenate([ball_colours, bone_colours]), np.concatenate([ball_normals, bone_normals]))
        return Surface(vertices, self.triangles, colours)

    def _balls(self, t: int) -> tuple[Array, Array, Array]:
        source = self._source[t].ravel()
        centre = np.nan_to_num(self._positions[t].reshape(-1, 3))
        size = np.array([0.0, 1.0, 0.62, 1.05])[source] * self._sizes
        angular = (source == Source.INTERPOLATED)[:, None, None]
        shape = np.where(angular, self._octahedron, self._ball)
        vertices = centre[:, None] + size[:, None, None] * shape
        normals = np.broadcast_to(self._ball, shape.shape)
        colours = np.repeat(self._colours.reshape(-1, 3), len(self._ball), 0)
        return vertices.reshape(-1, 3), normals.reshape(-1, 3), colours

    def _bones(self, t: int) -> tuple[Array, Array, Array]:
        a, b = self.bones[:, 0], self.bones[:, 1]
        start, end = (self._positions[t][:, i].reshape(-1, 3) for i in (a, b))
        sources = np.stack([self._source[t][:, i].ravel() for i in (a, b)])
        there = (sources != Source.MISSING).all(0)
        start, end = np.nan_to_num(start), np.nan_to_num(end)
        axis = end - start
        length = np.linalg.norm(axis, axis=-1, keepdims=True)
        axis = axis / np.maximum(length, 1e-9)
        # Any vector that is not along the bone gives a frame round it.
        helper = np.where(np.abs(axis[:, 2:]) < 0.9, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
        u = np.cross(axis, helper)
        u /= np.maximum(np.linalg.norm(u, axis=-1, keepdims=True), 1e-9)
        v = np.cross(axis, u)
        along, angle, solid, dashed = self._ring
        radial = np.cos(angle)[:, None] * u[:, None] + np.sin(angle)[:, None] * v[:, None]
        radius = np.where((sources == Source.LIFTED).any(0), 0.4, 1.0) * there * self._settings.bone_radius_m
        profile = np.where((sources == Source.INTERPOLATED).any(0)[:, None], dashed, solid)
        vertices = (
            start[:, None]
            + along[:, None] * (end - start)[:, None] * there[:, None, None]
            + (radius[:, None] * profile)[..., None] * radial
        )
        colours = np.repeat(self._colours[:, b].reshape(-1, 3), len(along), 0)
        return vertices.reshape(-1, 3), radial.reshape(-1, 3), colours


def bones_of(joint_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Joints [B, 2] that each bone links; none where the skeleton is not known."""
    skeleton = known_skeleton(joint_names)
    return np.zeros((0, 2), np.int64) if skeleton is None else np.asarray(skeleton.bone_index)


def person_tones(person_ids: NDArray[np.int64], joint_names: tuple[str, ...]) -> Array:
    """Colours [P, J, 3]: the person's, bright on the left, dark on the right."""
    tone = np.array([{"l": 1.12, "r": 0.62}.get(n[:1], 0.9) if n[1:2] == "_" else 0.9
                     for n in _canonical_names(joint_names)])  # fmt: skip
    base = np.array([person_colour(p) for p in person_ids]).reshape(-1, 3)
    return np.clip(base[:, None] * tone[:, None], 0, 1)


# Joints that lie close together are drawn small.
_SMALL = ("eye", "ear", "nose", "mouth", "pinky", "index", "thumb")


def joint_sizes(joint_names: tuple[str, ...]) -> Array:
    """Share [J] of the usual radius that each joint is drawn with."""
    return np.array([0.45 if any(part in n for part in _SMALL) else 1.0 for n in _canonical_names(joint_names)])


def _canonical_names(joint_names: tuple[str, ...]) -> tuple[str, ...]:
    skeleton = known_skeleton(joint_names)
    return joint_names if skeleton is None else skeleton.joints


def _repeat(triangles: Ints, n_vertices: int, times: int) -> Ints:
    return (triangles[None] + n_vertices * np.arange(times)[:, None, None]).reshape(-1, 3).astype(np.int32)


def _sheet(rows: int, around: int) -> Ints:
    """Triangles of `rows` rings of `around` vertices, closed round the ring."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    return np.stack([np.stack([a, b, a + around], -1), np.stack([b, b + around, a + around], -1)], 2).reshape(-1, 3)


def _ball() -> tuple[Array, Ints]:
    polar = np.linspace(np.pi, 0, _BALL_ROWS)
    angle = 2 * np.pi * np.arange(_BALL_AROUND) / _BALL_AROUND
    x, y = np.sin(polar)[:, None] * np.cos(angle), np.sin(polar)[:, None] * np.sin(angle)
    z = np.repeat(np.cos(polar)[:, None], _BALL_AROUND, 1)
    return np.stack([x, y, z], -1).reshape(-1, 3), _sheet(_BALL_ROWS, _BALL_AROUND)


def _bone() -> tuple[tuple[Array, Array, Array, Array], Ints]:
    """Rings along a bone: share of the length, angle, radius when solid, radius when dashed."""
    edges = np.repeat(np.linspace(0, 1, 2 * _DASHES), 2)[1:-1]
    on = np.repeat((np.arange(2 * _DASHES - 1) % 2 == 0).astype(float), 2)
    # Each dash is closed by rings of no radius at its ends.
    edges = np.concatenate([[0.0], edges, [1.0]])
    on = np.concatenate([[0.0], on, [0.0]])
    solid = np.ones_like(on)
    solid[[0, -1]] = 0.0
    angle = 2 * np.pi * np.arange(_BONE_AROUND) / _BONE_AROUND
    n = len(edges)
    rings = (
        np.repeat(edges, _BONE_AROUND),
        np.tile(angle, n),
        np.repeat(solid, _BONE_AROUND),
        np.repeat(on, _BONE_AROUND),
    )
    return rings, _sheet(n, _BONE_AROUND)


def floor_tiles(centre: Array, radius: float, tile: float = 0.5) -> Surface:
    """A square chequered floor at z = 0 round a place [2 or 3], tiles of `tile` metres on whole multiples of it."""
    n = max(int(np.ceil(radius / tile)), 1)
    first = np.round(np.asarray(centre)[:2] / tile).astype(int)
    i, j = (a.ravel() for a in np.meshgrid(np.arange(-n, n), np.arange(-n, n), indexing="ij"))
    i, j = i + first[0], j + first[1]
    corners = [np.stack([(i + a) * tile, (j + b) * tile, 0.0 * i], -1) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    quad = np.arange(len(i))[:, None] * 4
    triangles = np.concatenate([quad + (0, 1, 2), quad + (0, 2, 3)]).astype(np.int32)
    grey = np.where((i + j) % 2 == 0, 0.80, 0.74)
    return Surface(np.stack(corners, 1).reshape(-1, 3), triangles, np.repeat(grey[:, None] * np.ones(3), 4, 0))


def axes_lines(length: float = 0.5) -> Lines:
    """The world's axes at the origin, a hair above the floor: x red, y green, z blue."""
    points = np.concatenate([np.zeros((1, 3)), length * np.eye(3)]) + (0, 0, 0.004)
    colours = np.array([(0.80, 0.25, 0.20), (0.25, 0.60, 0.25), (0.20, 0.35, 0.80)])
    return Lines(points, np.array([(0, 1), (0, 2), (0, 3)], np.int32), colours)


def camera_frustums(rig: CameraRig, depth: float = 0.35) -> Lines:
    """The cameras of a rig as pyramids whose base is the image at `depth` metres.

    The image's upper edge carries a notch, so that "up" shows.
    """
    width, height = (np.array([c.size[i] for c in rig.cameras], dtype=np.float64) for i in (0, 1))
    corner = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, -0.22)])
    u = np.stack([corner[None, :, 0] * width[:, None], corner[None, :, 1] * height[:, None]], -1)
    K = rig.K
    xy = (u - K[:, None, :2, 2]) / np.stack([K[:, 0, 0], K[:, 1, 1]], -1)[:, None]
    rays = depth * np.concatenate([xy, np.ones((*xy.shape[:2], 1))], -1)
    apex = np.zeros((len(rig), 1, 3))
    local = np.concatenate([apex, rays], 1) - rig.t[:, None]
    points = np.einsum("vji,vnj->vni", rig.R, local)
    edges = np.array([(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1), (1, 5), (5, 2)])
    segments = (edges[None] + 6 * np.arange(len(rig))[:, None, None]).reshape(-1, 2).astype(np.int32)
    return Lines(points.reshape(-1, 3), segments, np.tile((0.25, 0.28, 0.33), (len(segments), 1)))


_TRAILING = ("l_wrist", "r_wrist", "l_ankle", "r_ankle")


def trails(trajectories: Trajectories3D, t: int, seconds: float) -> Lines:
    """The way of wrists and ankles over the last `seconds` before row `t`, fading into the past."""
    names = _canonical_names(trajectories.joint_names)
    joints = [names.index(n) for n in _TRAILING if n in names]
    age = (trajectories.frames[t] - trajectories.frames[: t + 1]) / trajectories.fps
    rows = np.flatnonzero(age <= seconds)
    points = trajectories.positions[rows][:, :, joints].astype(np.float64)
    R, P, J = points.shape[:3]
    index = np.arange(R * P * J).reshape(R, P, J)
    segments = np.stack([index[:-1], index[1:]], -1)
    whole = np.isfinite(points[:-1]).all(-1) & np.isfinite(points[1:]).all(-1)
    fade = np.clip(age[rows[1:]] / max(seconds, 1e-9), 0, 1)[:, None, None, None]
    colour = np.stack([person_colour(p) for p in trajectories.person_ids])[None, :, None]
    colours = np.broadcast_to((1 - fade) * 0.8 * colour + fade * 0.85, (max(R - 1, 0), P, J, 3))
    return Lines(np.nan_to_num(points).reshape(-1, 3), segments[whole].astype(np.int32), colours[whole])
