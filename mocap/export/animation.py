"""One person's motion as an animation file holds it: target skeleton, axes, unit and even times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.export.presets import Axes, Conventions
from mocap.export.sampling import Sampling, sample_rotations, sample_sources, sample_values, sampling
from mocap.export.settings import LengthUnit
from mocap.export.targets import Node, target_nodes
from mocap.types import SkeletalMotion

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Animation:
    """Motion of a target skeleton. N samples, B nodes, parents before children; file axes and unit.

    Attributes
    ----------
    name : str
        Of the person.
    nodes : tuple of str
    parents : int [B]
    rest_axes : float64 [B, 3, 3]
        World rotations of the nodes in the T-pose.
    rest_positions : float64 [B, 3]
        World positions there, feet on the floor.
    rotations : float64 [N, B, 3, 3]
        World rotations of the nodes.
    positions : float64 [N, B, 3]
        World positions.
    source : uint8 [N, B]
    rotation_std : float64 [N, B] rad
        NaN where nothing tells it.
    frames : float64 [N]
        Frame numbers of the take; fractions between frames.
    fps, frame_time : float
        Frames per second, and seconds from one to the next.
    axes : Axes
    unit : LengthUnit
    moving : int
        The node that carries the motion through space; all others keep their distance to their parent.
    """

    name: str
    nodes: tuple[str, ...]
    parents: NDArray[np.int64]
    rest_axes: Array
    rest_positions: Array
    rotations: Array
    positions: Array
    source: NDArray[np.uint8]
    rotation_std: Array
    frames: Array
    fps: float
    frame_time: float
    axes: Axes
    unit: LengthUnit
    moving: int

    @property
    def times(self) -> Array:
        """Seconds from the first sample: float64 [N]."""
        return np.arange(len(self.frames), dtype=np.float64) * self.frame_time

    def local_rotations(self) -> Array:
        """Rotations relative to the parent: float64 [N, B, 3, 3]."""
        return _relative(self.rotations, self.parents)

    def local_quaternions(self) -> Array:
        """The same as quaternions, scalar last, without jumps of sign: float64 [N, B, 4]."""
        local = self.local_rotations()
        q = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_quat(canonical=True).reshape(*local.shape[:2], 4)
        sign = np.where((q[1:] * q[:-1]).sum(-1) < 0, -1.0, 1.0)
        q[1:] *= np.cumprod(sign, 0)[..., None]
        return q

    def rest_rotations(self) -> Array:
        """Rotations relative to the parent in the T-pose: float64 [B, 3, 3]."""
        return _relative(self.rest_axes[None], self.parents)[0]

    def rest_translations(self) -> Array:
        """Positions in the parent's axes in the T-pose: float64 [B, 3]."""
        return _within(self.rest_positions[None], self.rest_axes[None], self.parents)[0]

    def moving_translations(self) -> Array:
        """Position of the moving node in its parent's axes: float64 [N, 3]."""
        parent = self.parents[self.moving]
        if parent < 0:
            return self.positions[:, self.moving]
        away = self.positions[:, self.moving] - self.positions[:, parent]
        return np.einsum("nij,ni->nj", self.rotations[:, parent], away)


def make_animation(motion: SkeletalMotion, row: int, wanted: Conventions, rate: float, aligned: bool) -> Animation:
    """One person's motion on a target skeleton.

    The pose is that of our skeleton in every node: a target's node turns from its T-pose as our bone
    does from ours, and sits where our joint is. A bone that several nodes divide stays straight; its
    twist is spread over them.

    Parameters
    ----------
    motion : SkeletalMotion
    row : int
        Index of the person.
    wanted : Conventions
    rate : float
        Frame rate of the file; 0: the take's.
    aligned : bool
        Whether all nodes' axes are the file's at rest, whatever the target's are (BVH knows no others).

    Raises
    ------
    ExportError
        The motion lacks bones that the target needs.
    """
    s = sampling(motion.frames, motion.fps, rate)
    local = sample_rotations(motion.rotations[:, row].astype(np.float64), s)
    root = sample_values(motion.root_positions[:, row].astype(np.float64), s)
    offsets = motion.offsets[row].astype(np.float64)
    names, parents = list(motion.joint_names), motion.parents
    nodes = target_nodes(wanted.rig, motion.joint_names, parents)
    world, where = _forward(local, root, offsets, parents)
    rest = _forward(np.broadcast_to(np.eye(3), (1, len(names), 3, 3)), np.zeros((1, 3)), offsets, parents)[1]
    rest[..., 2] -= rest[..., 2].min()
    F, scale = wanted.axes.file_from_world, wanted.unit.per_metre
    axes = np.stack([F @ n.axes if n.axes is not None and not aligned else np.eye(3) for n in nodes])
    turned = np.stack([_turn(n, names, local, world, offsets, parents) for n in nodes], 1)
    bones = [names.index(n.bone) if n.bone else -1 for n in nodes]
    source = sample_sources(motion.source[:, row], s)
    std = _std(motion, row, s)
    return Animation(
        name=f"person{motion.person_ids[row]}",
        nodes=tuple(n.name for n in nodes),
        parents=np.array([[m.name for m in nodes].index(n.parent) if n.parent else -1 for n in nodes]),
        rest_axes=axes,
        rest_positions=_places(nodes, names, rest, np.broadcast_to(np.eye(3), world[:1].shape), offsets)[0]
        @ F.T
        * scale,
        rotations=F @ turned @ F.T @ axes,
        positions=_places(nodes, names, where, world, offsets) @ F.T * scale,
        source=np.stack([source[:, b] if b >= 0 else source.max(1) for b in bones], 1),
        rotation_std=np.stack([std[:, b] if b >= 0 else np.full(len(std), np.nan) for b in bones], 1),
        frames=_frame_numbers(motion, s),
        fps=s.fps,
        frame_time=s.frame_time,
        axes=wanted.axes,
        unit=wanted.unit,
        moving=[n.bone for n in nodes].index(names[int(np.flatnonzero(parents < 0)[0])]),
    )


def _forward(local: Array, root: Array, offsets: Array, parents: NDArray[np.int64]) -> tuple[Array, Array]:
    """World rotations [N, B, 3, 3] and positions [N, B, 3]."""
    world, where = local.copy(), np.empty(local.shape[:3])
    for b, parent in enumerate(parents):
        if parent < 0:
            where[:, b] = root
        else:
            world[:, b] = world[:, parent] @ local[:, b]
            where[:, b] = where[:, parent] + world[:, parent] @ offsets[b]
    return world, where


def _turn(
    node: Node, names: list[str], local: Array, world: Array, offsets: Array, parents: NDArray[np.int64]
) -> Array:
    """World rotation [N, 3, 3] of a node away from its T-pose."""
    if not node.bone:
        return np.broadcast_to(np.eye(3), (len(local), 3, 3))
    b = names.index(node.bone)
    if node.share >= 1:
        return world[:, b]
    # The share of the twist about the bone that the node has taken up; the points on the bone stay.
    along = offsets[names.index(node.toward)]
    along = along / np.linalg.norm(along)
    q = Rotation.from_matrix(local[:, b]).as_quat()
    angle = 2 * np.arctan2(q[:, :3] @ along, q[:, 3])
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    back = Rotation.from_rotvec((node.share - 1) * angle[:, None] * along).as_matrix()
    return world[:, b] @ back


def _places(nodes: tuple[Node, ...], names: list[str], where: Array, world: Array, offsets: Array) -> Array:
    """World positions [N, B', 3] of a target's nodes."""
    out = np.zeros((len(where), len(nodes), 3))
    for i, node in enumerate(nodes):
        if node.bone:
            b = names.index(node.bone)
            out[:, i] = where[:, b]
            if node.along:
                out[:, i] += node.along * (world[:, b] @ offsets[names.index(node.toward)])
    return out


def _std(motion: SkeletalMotion, row: int, s: Sampling) -> Array:
    std = motion.rotation_std[:, row].astype(np.float64)
    return np.where((s.part > 0)[:, None], np.maximum(std[s.row], std[s.after]), std[s.row])


def _frame_numbers(motion: SkeletalMotion, s: Sampling) -> Array:
    frames = motion.frames.astype(np.float64)
    return frames[s.row] + s.part * (frames[s.after] - frames[s.row])


def _relative(world: Array, parents: NDArray[np.int64]) -> Array:
    has = parents >= 0
    out = world.copy()
    out[:, has] = np.swapaxes(world[:, parents[has]], -1, -2) @ world[:, has]
    return out


def _within(positions: Array, world: Array, parents: NDArray[np.int64]) -> Array:
    has = parents >= 0
    out = positions.copy()
    out[:, has] = np.einsum(
        "nbij,nbi->nbj", world[:, parents[has]], positions[:, has] - positions[:, parents[has]]
    )  # fmt: skip
    return out
