"""BVH: joint positions from a skeleton and its rotations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.errors import DataError
from mocap.metrics.ground_truth.axes import WORLD_FROM_Y_UP
from mocap.metrics.poses import Poses3D

Array = NDArray[np.float64]

# Names of animation rigs (HumanIK, Mixamo, CMU) for joints that detectors have too.
_JOINTS = {
    "hips": "pelvis",
    **{
        f"{side}{bone}": f"{side[0]}_{joint}"
        for side in ("left", "right")
        for bone, joint in (
            ("upleg", "hip"), ("leg", "knee"), ("foot", "ankle"), ("arm", "shoulder"), ("forearm", "elbow"),
            ("hand", "wrist"),
        )
    },
}  # fmt: skip


@dataclass
class _Node:
    name: str
    parent: int
    offset: Array = field(default_factory=lambda: np.zeros(3))
    channels: list[str] = field(default_factory=list)


def read_bvh(path: Path) -> Poses3D:
    """Joint positions of a BVH file, y up turned to z up, frames counted from 0.

    BVH does not say its unit: metres, centimetres or millimetres is told by the size of the skeleton.
    Hips, limbs and hands of the usual rigs get the joint names of `mocap.skeleton`; a shoulder is
    where the upper arm starts. End sites are left out.

    Raises
    ------
    DataError
        Not a BVH file, or a skeleton of no person's size in any unit.
    """
    try:
        hierarchy, _, motion = path.read_text(encoding="utf-8").partition("MOTION")
        nodes = _hierarchy(hierarchy.split())
        lines = [line for line in motion.splitlines() if line.strip()]
        step = float(lines[1].split(":")[1])
        values = np.array([line.split() for line in lines[2:]], np.float64)
        positions = _forward(nodes, values)
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise DataError("not a readable BVH file", found=str(error) or "it ends too early", where=str(path)) from error
    names = tuple(_JOINTS.get(n.name.rpartition(":")[2].lower().replace("_", ""), n.name) for n in nodes)
    positions = positions * _metres(nodes, path) @ WORLD_FROM_Y_UP.T
    return Poses3D(positions[:, None], np.array([0]), np.arange(len(values)), names, 1 / step, str(path))


def _hierarchy(tokens: list[str]) -> list[_Node]:
    nodes: list[_Node] = []
    open_: list[int] = []  # nodes around the current token; -1 for an end site
    stream = iter(tokens)
    for token in stream:
        if token in ("ROOT", "JOINT"):
            parent = open_[-1] if open_ else -1
            nodes.append(_Node(next(stream), parent))
            next(stream)
            open_.append(len(nodes) - 1)
        elif token == "End":
            next(stream), next(stream)
            open_.append(-1)
        elif token == "OFFSET":
            offset = np.array([float(next(stream)) for _ in range(3)])
            if open_[-1] >= 0:
                nodes[open_[-1]].offset = offset
        elif token == "CHANNELS":
            nodes[open_[-1]].channels = [next(stream) for _ in range(int(next(stream)))]
        elif token == "}":
            open_.pop()
    if not nodes:
        raise ValueError("no joints")
    return nodes


def _forward(nodes: list[_Node], values: Array) -> Array:
    """Positions [T, J, 3] in the file's unit and axes. Channels apply in their order, each about turned axes."""
    if values.ndim != 2 or values.shape[1] != sum(len(n.channels) for n in nodes):
        raise ValueError(f"rows of {values.shape[1:]} values for {sum(len(n.channels) for n in nodes)} channels")
    T = len(values)
    positions, turns = np.empty((T, len(nodes), 3)), np.empty((T, len(nodes), 3, 3))
    column = 0
    for j, node in enumerate(nodes):
        own = values[:, column : column + len(node.channels)]
        column += len(node.channels)
        kinds = [c.lower() for c in node.channels]
        angles = [i for i, c in enumerate(kinds) if c.endswith("rotation")]
        order = "".join(kinds[i][0].upper() for i in angles)
        local = (
            Rotation.from_euler(order, own[:, angles], degrees=True).as_matrix() if order else np.eye(3)[None]
        )  # fmt: skip
        shift = np.tile(node.offset, (T, 1))
        for i, c in enumerate(kinds):
            if c.endswith("position"):
                # Position channels of a joint replace its offset; of the root they are its place.
                shift[:, "xyz".index(c[0])] = own[:, i] + (node.offset["xyz".index(c[0])] if node.parent < 0 else 0)
        if node.parent < 0:
            positions[:, j], turns[:, j] = shift, local
        else:
            turn = turns[:, node.parent]
            positions[:, j] = positions[:, node.parent] + np.einsum("tij,tj->ti", turn, shift)
            turns[:, j] = turn @ local
    return positions


def _metres(nodes: list[_Node], path: Path) -> float:
    places = np.zeros((len(nodes), 3))
    for j, node in enumerate(nodes):
        if node.parent >= 0:
            places[j] = places[node.parent] + node.offset
    size = float((places.max(0) - places.min(0)).max())
    for factor in (1.0, 0.01, 0.001):
        if 0.4 < size * factor < 4:
            return factor
    raise DataError("the skeleton's unit cannot be told", expected="a person of 0.4 to 4 m, 40 to 400 cm or in mm",
                    found=f"{size:g}", where=str(path))  # fmt: skip
