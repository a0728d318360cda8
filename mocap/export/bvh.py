"""Biovision Hierarchy (BVH): skeleton and motion for animation programs.

Y up, the character faces +Z with its left hand along +X: what Maya, MotionBuilder and Blender's
importer (-Z forward, Y up) expect. Angles in degrees. One person per file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from mocap.export.euler import EulerOrder, continuous_euler
from mocap.export.settings import LengthUnit
from mocap.storage.atomic import atomic_path
from mocap.types import SkeletalMotion

_log = logging.getLogger(__name__)

Array = NDArray[np.float64]

FILE_FROM_WORLD: Array = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Rotation from our world (z up, facing -y) to the file (y up, facing +z)."""

# The middle angle of a sequence must stay away from 90 degrees. Legs bend about x, which therefore
# comes first; arms are raised about z and swung about y, with their own twist about x in between;
# elbows bend about y and twist about x, but never about z. Blender's import keeps the letters and takes
# them along its own bone axes, where the same reasons hold for legs and elbows.
_ORDER: EulerOrder = "ZXY"
_ORDERS: dict[str, EulerOrder] = {"Leg": "XYZ", "Foot": "XYZ", "ToeBase": "XYZ", "ForeArm": "YZX"}

# Missing frames up to this long (seconds) are interpolated so that time stays exact.
_MAX_FILL_S = 1.0

# Where a bone without children ends: along its parent's bone by a fraction of its length, but for
# the head, which ends above itself though the neck leans, and toes, which lie flat on the floor.
_END_FRACTION = 0.4
_ENDS: dict[str, tuple[float, float, float]] = {"Head": (0.0, 0.8, 0.0), "ToeBase": (0.0, 0.0, 0.3)}


def write_bvh(path: Path, motion: SkeletalMotion, row: int, unit: LengthUnit) -> None:
    """Write one person's motion.

    Parameters
    ----------
    path : Path
    motion : SkeletalMotion
    row : int
        Index of the person in `motion`.
    unit : LengthUnit
        Of offsets and root positions.

    Raises
    ------
    StorageError
        The file cannot be written.

    Notes
    -----
    Frame time is exactly step / fps, step being the largest that meets all frame numbers. Missing
    frames up to one second are interpolated (slerp); a longer jump of frame numbers cannot be told
    in BVH: its two sides follow each other, and a warning says so.
    """
    rotations, roots, step = _even(motion, row)
    orders = [_order(name) for name in motion.joint_names]
    F = FILE_FROM_WORLD
    columns = [roots @ F.T * unit.per_metre]
    for b, order in enumerate(orders):
        columns.append(np.degrees(continuous_euler(F @ rotations[:, b] @ F.T, order)))
    offsets = motion.offsets[row].astype(np.float64) @ F.T * unit.per_metre
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write("HIERARCHY\n")
        file.writelines(_hierarchy(motion, offsets, orders))
        file.write(f"MOTION\nFrames: {len(roots)}\nFrame Time: {step / motion.fps!r}\n")
        np.savetxt(file, np.concatenate(columns, -1), fmt="%.6f")


def _even(motion: SkeletalMotion, row: int) -> tuple[Array, Array, int]:
    """Rotations [N, B, 3, 3] and root positions [N, 3] at an even step of frame numbers."""
    frames = motion.frames
    local = motion.rotations[:, row].astype(np.float64)
    roots = motion.root_positions[:, row].astype(np.float64)
    jumps = np.diff(frames)
    small = jumps[jumps <= 1 + _MAX_FILL_S * motion.fps]
    step = int(np.gcd.reduce(small)) if len(small) else 1
    if len(small) < len(jumps):
        first = int(np.flatnonzero(jumps > 1 + _MAX_FILL_S * motion.fps)[0])
        _log.warning(
            "BVH cannot hold jumps of time: %d of them are left out, the first between frames %d and %d",
            len(jumps) - len(small), frames[first], frames[first + 1],
        )  # fmt: skip
    matrices = Rotation.from_quat(local.reshape(-1, 4)).as_matrix().reshape(*local.shape[:2], 3, 3)
    if (jumps == step).all():
        return matrices, roots, step
    # Time in steps, with every long jump shortened to a single step.
    taken = np.where(jumps <= 1 + _MAX_FILL_S * motion.fps, jumps // step, 1)
    at = np.concatenate([[0], np.cumsum(taken)])
    even = np.arange(at[-1] + 1)
    full = np.empty((len(even), local.shape[1], 3, 3))
    for b in range(local.shape[1]):
        full[:, b] = Slerp(at, Rotation.from_quat(local[:, b]))(even).as_matrix()
    return full, np.stack([np.interp(even, at, roots[:, i]) for i in range(3)], -1), step


def _hierarchy(motion: SkeletalMotion, offsets: Array, orders: list[EulerOrder]) -> Iterator[str]:
    children: dict[int, list[int]] = {}
    for b, parent in enumerate(motion.parents.tolist()):
        children.setdefault(parent, []).append(b)

    def node(b: int, depth: int) -> Iterator[str]:
        tab = "\t" * depth
        # The root's place is in its channels; an offset here would count twice in some readers.
        offset = offsets[b] if depth else np.zeros(3)
        channels = " ".join(f"{axis}rotation" for axis in orders[b])
        yield f"{tab}{'JOINT' if depth else 'ROOT'} {motion.joint_names[b]}\n{tab}{{\n"
        yield f"{tab}\tOFFSET {_triple(offset)}\n"
        head = "3 " if depth else "6 Xposition Yposition Zposition "
        yield f"{tab}\tCHANNELS {head}{channels}\n"
        for child in children.get(b, []):
            yield from node(child, depth + 1)
        if b not in children:
            end = _triple(_end(motion.joint_names[b], offset))
            yield f"{tab}\tEnd Site\n{tab}\t{{\n{tab}\t\tOFFSET {end}\n{tab}\t}}\n"
        yield f"{tab}}}\n"

    return node(children[-1][0], 0)


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
