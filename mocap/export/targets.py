"""Target skeletons: which of their nodes our bones drive, and how the nodes' axes lie at rest.

Directions are our world's in the rest pose: z up, the person faces -y, left is +x. A node's axes are
columns [x, y, z]. Sources: HumanIK and Mixamo node names as their characterisation tools list them;
Unreal's Mannequin (UE 5) names, with X along the bone, pointing the other way on the right side, and
Z the axis that elbows and knees bend about; Unity's `HumanBodyBones`, whose names in lower camel case
are those of VRM 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.errors import ExportError
from mocap.export.settings import Rig

Array = NDArray[np.float64]

_LEFT, _BACK, _UP = np.eye(3)


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a target skeleton.

    Attributes
    ----------
    name, parent : str
        Parent is empty for the root.
    bone : str
        The bone of ours it follows; empty for a root that stays at the origin.
    along : float
        Where it sits on that bone, as a fraction of the way to `toward`.
    toward : str
        The bone of ours at the other end, where `along` is not 0.
    share : float
        How much of the bone's twist the node has taken up: between 0 and 1 where several nodes
        divide a bone, so that the twist is spread over them.
    axes : float64 [3, 3], optional
        Its axes at rest; None: those of the file.
    """

    name: str
    parent: str
    bone: str
    along: float = 0.0
    toward: str = ""
    share: float = 1.0
    axes: Array | None = None


def target_nodes(rig: Rig, names: tuple[str, ...], parents: NDArray[np.int64]) -> tuple[Node, ...]:
    """The nodes of a target, parents before children.

    Parameters
    ----------
    rig : Rig
    names, parents
        Of the solved motion's bones.

    Raises
    ------
    ExportError
        The motion lacks bones that the target needs.
    """
    if rig in (Rig.NATIVE, Rig.HUMANIK):
        # Our skeleton has HumanIK's node names already.
        return tuple(Node(n, names[p] if p >= 0 else "", n) for n, p in zip(names, parents, strict=True))
    nodes = {Rig.MIXAMO: _mixamo, Rig.UNREAL: _unreal, Rig.UNITY: _unity}[rig]()
    lost = sorted({n.bone for n in nodes if n.bone} - set(names))
    if lost:
        raise ExportError(
            f"the motion has no {', '.join(lost)}", where=f"export.rig = {rig}", hint="mocap run SESSION --force solve"
        )
    return nodes


def _split(prefix: str, names: tuple[str, ...], parent: str, bone: str, toward: str, axes: Array | None) -> list[Node]:
    """Nodes that divide one bone evenly."""
    n = len(names)
    parents = (parent, *names)
    return [
        Node(prefix + name, (prefix + parents[k]) if parents[k] else "", bone, k / n, toward, (k + 1) / n, axes)
        for k, name in enumerate(names)
    ]  # fmt: skip


def _axes(x: Array, y: Array) -> Array:
    return np.stack([x, y, np.cross(x, y)], 1)


def _along(y: Array, z: Array) -> Array:
    return np.stack([np.cross(y, z), y, z], 1)


def _mixamo() -> tuple[Node, ...]:
    """Y along the bone; Z forward in trunk and legs, down in arms, up in feet."""
    p = "mixamorig:"
    trunk, leg, foot = _along(_UP, -_BACK), _along(-_UP, -_BACK), _along(-_BACK, _UP)
    nodes = [Node(p + "Hips", "", "Hips", axes=trunk), Node(p + "Spine", p + "Hips", "Spine", axes=trunk)]
    nodes += _split(p, ("Spine1", "Spine2"), "Spine", "Spine1", "Neck", trunk)
    nodes += [Node(p + "Neck", p + "Spine2", "Neck", axes=trunk), Node(p + "Head", p + "Neck", "Head", axes=trunk)]
    for side, out in (("Left", _LEFT), ("Right", -_LEFT)):
        arm = _along(out, -_UP)
        above = p + "Spine2"
        for part in ("Shoulder", "Arm", "ForeArm", "Hand"):
            nodes.append(Node(p + side + part, above, side + part, axes=arm))
            above = p + side + part
        above = p + "Hips"
        for part, axes in (("UpLeg", leg), ("Leg", leg), ("Foot", foot), ("ToeBase", foot)):
            nodes.append(Node(p + side + part, above, side + part, axes=axes))
            above = p + side + part
    return tuple(nodes)


_UNREAL_ARM = (("clavicle", "Shoulder"), ("upperarm", "Arm"), ("lowerarm", "ForeArm"), ("hand", "Hand"))
_UNREAL_LEG = (("thigh", "UpLeg"), ("calf", "Leg"), ("foot", "Foot"), ("ball", "ToeBase"))


def _unreal() -> tuple[Node, ...]:
    trunk = _axes(_UP, _BACK)
    nodes = [Node("root", "", "", axes=np.eye(3)), Node("pelvis", "root", "Hips", axes=trunk)]
    nodes += _split("", ("spine_01", "spine_02"), "pelvis", "Spine", "Spine1", trunk)
    nodes += _split("", ("spine_03", "spine_04", "spine_05"), "spine_02", "Spine1", "Neck", trunk)
    nodes += _split("", ("neck_01", "neck_02"), "spine_05", "Neck", "Head", trunk)
    nodes.append(Node("head", "neck_02", "Head", axes=trunk))
    # The right side turns as a mirror image does: all axes of the mirrored left side are reversed.
    for s, side, mirror in (("l", "Left", np.eye(3)), ("r", "Right", np.diag([1.0, -1, -1]))):
        above = "spine_05"
        for name, bone in _UNREAL_ARM:
            # Fingers bend about the hand's axis from back to front: a quarter turn from the forearm's.
            axes = _axes(_LEFT, _UP) if name == "hand" else _axes(_LEFT, _BACK)
            nodes.append(Node(f"{name}_{s}", above, side + bone, axes=mirror @ axes))
            above = f"{name}_{s}"
        above = "pelvis"
        for name, bone in _UNREAL_LEG:
            nodes.append(Node(f"{name}_{s}", above, side + bone, axes=mirror @ trunk))
            above = f"{name}_{s}"
    return tuple(nodes)


_UNITY_ARM = (("Shoulder", "Shoulder"), ("UpperArm", "Arm"), ("LowerArm", "ForeArm"), ("Hand", "Hand"))
_UNITY_LEG = (("UpperLeg", "UpLeg"), ("LowerLeg", "Leg"), ("Foot", "Foot"), ("Toes", "ToeBase"))


def _unity() -> tuple[Node, ...]:
    nodes = [Node("Hips", "", "Hips"), Node("Spine", "Hips", "Spine")]
    nodes += _split("", ("Chest", "UpperChest"), "Spine", "Spine1", "Neck", None)
    nodes += [Node("Neck", "UpperChest", "Neck"), Node("Head", "Neck", "Head")]
    for side in ("Left", "Right"):
        for start, chain in (("UpperChest", _UNITY_ARM), ("Hips", _UNITY_LEG)):
            above = start
            for name, bone in chain:
                nodes.append(Node(side + name, above, side + bone))
                above = side + name
    return tuple(nodes)


def vrm_bone(name: str) -> str:
    """VRM 1.0's name of a node of the Unity target."""
    return name[0].lower() + name[1:]
