"""The skeleton as the solver sees it: nodes with the axes they turn about, in arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.humanoid import NAMES, PARENTS
from mocap.kinematics.ranges import JOINTS, angle_limits, usual_precision

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_TWIST = "ForeArmTwist"

# Power of the noise that drives the second derivative of angles (rad2/s3) and of the root (m2/s3):
# accelerations of some 30 rad/s2 and 5 m/s2 that last a tenth of a second, those of brisk motion.
# The filter has smoothed already; this decides where little is seen.
_LIMB_NOISE, _TRUNK_NOISE, ROOT_NOISE = 100.0, 30.0, 2.5
# The same of the first derivative (rad2/s, m2/s): wide enough to leave what is seen as it is, it keeps
# what is not seen from flying on.
SPEED_NOISE, ROOT_SPEED_NOISE = 2.0, 2.0


def _name(node: str) -> tuple[str, int]:
    """A bone's name without its side, and its side: 1 left, -1 right, 0 neither."""
    for prefix, side in (("Left", 1), ("Right", -1)):
        if node.startswith(prefix):
            return node[len(prefix) :], side
    return node, 0


def _nodes() -> tuple[tuple[str, ...], Ints, Ints]:
    """Names, parents and bones of the nodes: the bones, and after each forearm the joint that turns it."""
    names: list[str] = []
    parents: list[int] = []
    bones: list[int] = []
    last: dict[int, int] = {-1: -1}
    for b, bone in enumerate(NAMES):
        names.append(bone)
        parents.append(last[int(PARENTS[b])])
        bones.append(b)
        last[b] = len(names) - 1
        if bone.endswith("ForeArm"):
            names.append(bone + "Twist")
            parents.append(last[b])
            bones.append(b)
            last[b] = len(names) - 1
    return tuple(names), np.array(parents), np.array(bones)


NODES, NODE_PARENTS, NODE_BONES = _nodes()
FIRST_NODE: Ints = np.array([NODES.index(n) for n in NAMES])
"""The node that stands at each bone's start."""


@dataclass(frozen=True, eq=False)
class Chain:
    """What turns about what, and how far.

    Attributes
    ----------
    parents : int [N]
    offsets : float64 [N, 3] m
        From the parent node, at rest.
    unknown : int [N, 3]
        Which unknown of a frame turns the node about each of its axes; -1: it does not turn. The
        first three unknowns move the root.
    node, axis : int [D - 3]
        Of each turning unknown.
    low, high : float64 [N, 3] rad
    usual : float64 [N, 3] rad^-2
        Precision of each angle about 0.
    noise : float64 [N] rad2/s3
        See `_LIMB_NOISE`.
    """

    parents: Ints
    offsets: Array
    unknown: Ints
    node: Ints
    axis: Ints
    low: Array
    high: Array
    usual: Array
    noise: Array

    @property
    def size(self) -> int:
        """Unknowns of a frame."""
        return len(self.node) + 3

    def path(self, node: int) -> list[int]:
        """The unknowns that move a point fixed to a node, without those of the root's place."""
        out: list[int] = []
        while node >= 0:
            out.extend(int(u) for u in self.unknown[node] if u >= 0)
            node = int(self.parents[node])
        return sorted(out)


def make_chain(offsets: Array, moving: Mask, *, limits: bool) -> Chain:
    """The chain of a person.

    Parameters
    ----------
    offsets : float64 [B, 3] m
        Rest offsets of the bones.
    moving : bool [N]
        Nodes that may turn at all.
    limits : bool
        Whether joints keep to their ranges; elbows and knees bend one way in any case.
    """
    n = len(NODES)
    unknown = np.full((n, 3), -1)
    node: list[int] = []
    axis: list[int] = []
    low, high, usual = np.full((n, 3), -10.0), np.full((n, 3), 10.0), np.zeros((n, 3))
    noise = np.full(n, _LIMB_NOISE)
    for i, name in enumerate(NODES):
        bone, side = _name(name)
        if bone not in JOINTS:
            continue
        if limits or bone in ("ForeArm", "Leg"):
            low[i], high[i] = angle_limits(bone, side)
        usual[i] = usual_precision(bone)
        if bone in ("Hips", "Spine", "Spine1", "Neck", "Head", "Shoulder"):
            noise[i] = _TRUNK_NOISE
        if not moving[i]:
            continue
        for k, letter in enumerate("xyz"):
            if letter in JOINTS[bone].axes:
                unknown[i, k] = len(node) + 3
                node.append(i)
                axis.append(k)
    at = np.zeros((n, 3))
    at[FIRST_NODE] = offsets
    return Chain(NODE_PARENTS, at, unknown, np.array(node), np.array(axis), low, high, usual, noise)


def to_nodes(bones: Array) -> Array:
    """Local rotations of bones as those of nodes.

    Parameters
    ----------
    bones : float64 [T, B, 4]
        Quaternions, scalar last.

    Returns
    -------
    float64 [T, N, 4]
        Each node only turns about its axes; what a bone turned about others is lost.
    """
    out = np.empty((len(bones), len(NODES), 4))
    for i, name in enumerate(NODES):
        q = bones[:, NODE_BONES[i]]
        bone, _ = _name(name)
        if bone == _TWIST:
            q = _about(q, 0)
        elif bone == "ForeArm":
            q = _about(_product(q, _about(q, 0) * (-1.0, -1.0, -1.0, 1.0)), 2)
        elif bone == "Leg":
            q = _about(q, 0)
        out[:, i] = q
    return out


def to_bones(nodes: Array) -> Array:
    """Local rotations [T, B, 4] of bones from those of nodes [T, N, 4]."""
    out = nodes[:, FIRST_NODE].copy()
    for i, name in enumerate(NODES):
        if name.endswith(_TWIST):
            out[:, NODE_BONES[i]] = _product(nodes[:, i - 1], nodes[:, i])
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def _about(q: Array, axis: int) -> Array:
    """The part of rotations [T, 4] that turns about a coordinate axis."""
    out = np.zeros_like(q)
    out[:, [axis, 3]] = q[:, [axis, 3]]
    length = np.linalg.norm(out, axis=-1, keepdims=True)
    return np.where(length > 1e-9, out / np.maximum(length, 1e-9), (0.0, 0.0, 0.0, 1.0))


def _product(p: Array, q: Array) -> Array:
    v = p[:, 3:] * q[:, :3] + q[:, 3:] * p[:, :3] + np.cross(p[:, :3], q[:, :3])
    w = p[:, 3] * q[:, 3] - (p[:, :3] * q[:, :3]).sum(-1)
    return np.column_stack([v, w])
