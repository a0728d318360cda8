"""Biovision Hierarchy (BVH): skeleton and motion for animation programs.

Y up, the character faces +Z with its left hand along +X: what Maya, MotionBuilder and Blender's
importer (-Z forward, Y up) expect. Angles in degrees. One person per file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mocap.export.animation import Animation
from mocap.export.euler import EulerOrder, continuous_euler
from mocap.export.reread import reread_bvh
from mocap.storage.atomic import atomic_path

Array = NDArray[np.float64]

# The middle angle of a sequence must stay away from 90 degrees. Legs bend about x, which therefore
# comes first; arms are raised about z and swung about y, with their own twist about x in between;
# elbows bend about y and twist about x, but never about z. Blender's import keeps the letters and takes
# them along its own bone axes, where the same reasons hold for legs and elbows.
_ORDER: EulerOrder = "ZXY"
_LEG: EulerOrder = "XYZ"
_ELBOW: EulerOrder = "YZX"
_ORDERS: dict[str, EulerOrder] = {
    **dict.fromkeys(("Leg", "Foot", "ToeBase", "Toes"), _LEG),
    **{f"{part}_{side}": _LEG for part in ("thigh", "calf", "foot", "ball") for side in "lr"},
    **dict.fromkeys(("ForeArm", "LowerArm", "lowerarm_l", "lowerarm_r"), _ELBOW),
}

# Where a bone without children ends: along its parent's bone by a fraction of its length, but for
# the head, which ends above itself though the neck leans, and toes, which lie flat on the floor.
_END_FRACTION = 0.4
_TOE = (0.0, 0.0, 0.3)
_ENDS: dict[str, tuple[float, float, float]] = {
    "Head": (0.0, 0.8, 0.0), "head": (0.0, 0.8, 0.0), "ToeBase": _TOE, "Toes": _TOE, "ball_l": _TOE, "ball_r": _TOE,
}  # fmt: skip


def write_bvh(path: Path, animation: Animation) -> None:
    """Write one person's motion.

    Parameters
    ----------
    path : Path
    animation : Animation
        Y up, with nodes whose axes are the file's at rest.

    Raises
    ------
    StorageError
        The file cannot be written.
    ExportError
        What was written does not read back.
    """
    orders = [_order(name) for name in animation.nodes]
    local = animation.local_rotations()
    columns = []
    for b in _depth_first(animation.parents):
        if animation.parents[b] < 0 or b == animation.moving:
            moving = animation.positions[:, b] if animation.parents[b] < 0 else animation.moving_translations()
            columns.append(moving)
        columns.append(np.degrees(continuous_euler(local[:, b], orders[b])))
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="ascii", newline="\n") as file:
            file.write("HIERARCHY\n")
            file.writelines(_hierarchy(animation, orders))
            file.write(f"MOTION\nFrames: {len(animation.frames)}\nFrame Time: {animation.frame_time!r}\n")
            np.savetxt(file, np.concatenate(columns, -1), fmt="%.6f")
        reread_bvh(temporary, animation)


def _depth_first(parents: NDArray[np.int64]) -> list[int]:
    """Nodes in the order in which BVH lists them."""
    order: list[int] = []

    def visit(b: int) -> None:
        order.append(b)
        for child in np.flatnonzero(parents == b):
            visit(int(child))

    visit(int(np.flatnonzero(parents < 0)[0]))
    return order


def _hierarchy(animation: Animation, orders: list[EulerOrder]) -> Iterator[str]:
    offsets = animation.rest_translations()
    children = {b: np.flatnonzero(animation.parents == b).tolist() for b in range(len(animation.nodes))}

    def node(b: int, depth: int) -> Iterator[str]:
        tab = "\t" * depth
        # Where a node moves, its place is in its channels; an offset here would count twice in some readers.
        moves = not depth or b == animation.moving
        offset = np.zeros(3) if moves else offsets[b]
        channels = " ".join(f"{axis}rotation" for axis in orders[b])
        yield f"{tab}{'JOINT' if depth else 'ROOT'} {animation.nodes[b]}\n{tab}{{\n"
        yield f"{tab}\tOFFSET {_triple(offset)}\n"
        head = "6 Xposition Yposition Zposition " if moves else "3 "
        yield f"{tab}\tCHANNELS {head}{channels}\n"
        for child in children[b]:
            yield from node(child, depth + 1)
        if not children[b]:
            end = _triple(_end(animation.nodes[b], offset))
            yield f"{tab}\tEnd Site\n{tab}\t{{\n{tab}\t\tOFFSET {end}\n{tab}\t}}\n"
        yield f"{tab}}}\n"

    return node(_depth_first(animation.parents)[0], 0)


def _order(name: str) -> EulerOrder:
    return next((order for ending, order in _ORDERS.items() if name.endswith(ending)), _ORDER)


def _end(name: str, offset: Array) -> Array:
    """End [3] of a bone without children, from its start, in the file's axes."""
    for ending, fractions in _ENDS.items():
        if name.endswith(ending):
            return np.linalg.norm(offset) * np.array(fractions)
    return _END_FRACTION * offset


def _triple(v: Array) -> str:
    return " ".join(f"{x + 0.0:.6f}" for x in v)
