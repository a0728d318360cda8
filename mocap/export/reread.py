"""What was written, read back by a reader that is not its writer, before it takes its name.

Every reader works forward kinematics out anew from what stands in the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.errors import ExportError
from mocap.export.animation import Animation
from mocap.types import Trajectories3D

Array = NDArray[np.float64]

# Metres. Text has six digits and binary files float32: far below this.
_TOLERANCE = 2e-4


def _check(path: Path, found: Array, expected: Array, scale: float) -> None:
    """ExportError unless positions agree."""
    if found.shape != expected.shape:
        raise _unlike(path, f"{expected.shape[:2]} samples and joints", f"{found.shape[:2]}")
    same_gaps = np.array_equal(np.isfinite(found), np.isfinite(expected))
    error = float(np.nanmax(np.abs(found - expected), initial=0.0)) / scale
    # float32 resolves less far from the origin.
    far = float(np.nanmax(np.abs(expected), initial=0.0)) / scale
    if not same_gaps or error > _TOLERANCE + 1e-6 * far:
        raise _unlike(path, "the positions that were solved", f"others, up to {1e3 * error:.3g} mm away")


def _unlike(path: Path, expected: str, found: str) -> ExportError:
    return ExportError(
        "the file does not read back as it was written; nothing was kept", expected=expected, found=found,
        where=path.name, hint="report this, with the command and the session's run log",
    )  # fmt: skip


def reread_npz(path: Path, trajectories: Trajectories3D) -> None:
    """Load a result file and compare positions, sources and times; raises ExportError."""
    with np.load(path) as found:
        if not np.array_equal(found["frames"], trajectories.frames) or float(found["fps"]) != trajectories.fps:
            raise _unlike(path, f"{len(trajectories.frames)} frames", f"{len(found['frames'])} or other times")
        if not np.array_equal(found["source"], trajectories.source):
            raise _unlike(path, "the samples' sources", "others")
        positions = found["positions"].astype(np.float64)
    _check(path, positions, trajectories.positions.astype(np.float64), 1.0)


def reread_csv(path: Path, trajectories: Trajectories3D) -> None:
    """Read a CSV of either layout row by row and compare the positions; raises ExportError."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows)
        columns = [i for i, name in enumerate(header) if name.endswith(("x_m", "y_m", "z_m")) and "std" not in name]
        found = np.array([[float(row[i] or "nan") for i in columns] for row in rows], np.float64)
    if found.size != trajectories.positions.size:
        raise _unlike(path, f"{trajectories.positions.size} coordinates", f"{found.size}")
    shape = trajectories.positions.shape
    expected = trajectories.positions.astype(np.float64).reshape(shape[0], -1, 3)
    _check(path, found.reshape(expected.shape), expected, 1.0)


def reread_bvh(path: Path, animation: Animation) -> None:
    """Read a BVH file line by line and compare the joints' positions; raises ExportError."""
    with path.open(encoding="ascii") as file:
        names, parents, offsets, channels = _hierarchy(file)
        count, frame_time = int(next(file).split()[1]), float(next(file).split()[2])
        values = np.loadtxt(file, ndmin=2)
    if count != len(values) or abs(frame_time / animation.frame_time - 1) > 1e-12:
        raise _unlike(path, f"{len(animation.frames)} samples", f"{count} announced, {len(values)} there")
    world: list[tuple[Array, Array]] = []
    column = 0
    for parent, offset, named in zip(parents, offsets, channels, strict=True):
        turn: Array = np.broadcast_to(np.eye(3), (count, 3, 3))
        place: Array = np.broadcast_to(np.array(offset), (count, 3))
        block = values[:, column : column + len(named)]
        column += len(named)
        if named:
            spins = [c[0] for c in named if c.endswith("rotation")]
            turn = Rotation.from_euler("".join(spins), block[:, -3:], degrees=True).as_matrix()
            if len(named) == 6:
                place = place + block[:, :3]
        if parent >= 0:
            above, at = world[parent]
            place, turn = at + np.einsum("nij,nj->ni", above, place), above @ turn
        world.append((turn, place))
    found = np.stack([world[names.index(n)][1] for n in animation.nodes], 1)
    _check(path, found, animation.positions, animation.unit.per_metre)


def _hierarchy(lines: Iterable[str]) -> tuple[list[str], list[int], list[list[float]], list[list[str]]]:
    """Names, parents, offsets and channels, up to the line MOTION; ends of chains have neither name nor channels."""
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    for line in lines:
        word, *rest = line.split()
        if word in ("ROOT", "JOINT", "End"):
            parents.append(stack[-1] if stack else -1)
            stack.append(len(names))
            names.append(rest[0] if word != "End" else "")
            channels.append([])
        elif word == "OFFSET":
            offsets.append([float(w) for w in rest])
        elif word == "CHANNELS":
            channels[-1] = rest[1:]
        elif word == "}":
            stack.pop()
        elif word == "MOTION":
            break
    return names, parents, offsets, channels


def reread_glb(path: Path, animations: list[Animation]) -> None:
    """Read a GLB file's JSON and buffer and compare; raises ExportError."""
    import json

    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    content = json.loads(data[20 : 20 + length])
    blob = data[28 + length :]

    def values(index: int) -> Array:
        accessor = content["accessors"][index]
        view = content["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        flat = np.frombuffer(blob, "<f4", accessor["count"] * width, view.get("byteOffset", 0))
        return flat.reshape(-1, width).astype(np.float64)

    nodes = content["nodes"]
    for animation, motion, skin in zip(animations, content["animations"], content["skins"], strict=True):
        n = len(animation.frames)
        turns = {j: np.tile(nodes[j]["rotation"], (n, 1)) for j in skin["joints"]}
        places = {j: np.tile(nodes[j]["translation"], (n, 1)) for j in skin["joints"]}
        for channel in motion["channels"]:
            sampler = motion["samplers"][channel["sampler"]]
            times = values(sampler["input"])[:, 0]
            if not np.allclose(times, animation.times, rtol=1e-6, atol=1e-7):
                raise _unlike(path, "the take's times", "others")
            kind = turns if channel["target"]["path"] == "rotation" else places
            kind[channel["target"]["node"]] = values(sampler["output"])
        found: dict[int, tuple[Array, Array]] = {}

        def visit(j: int, above: Array, at: Array) -> None:
            turn = above @ Rotation.from_quat(turns[j]).as_matrix()  # noqa: B023 - called at once
            place = at + np.einsum("nij,nj->ni", above, places[j])  # noqa: B023
            found[j] = (place, turn)  # noqa: B023
            for child in nodes[j].get("children", []):
                visit(child, turn, place)

        for root in nodes[skin["skeleton"]]["children"]:
            visit(root, np.broadcast_to(np.eye(3), (n, 3, 3)), np.zeros((n, 3)))
        _check(path, np.stack([found[j][0] for j in skin["joints"]], 1), animation.positions, 1.0)


def reread_usd(path: Path, animations: list[Animation]) -> None:
    """Open a stage anew and compare first, middle and last pose as the library computes them; raises ExportError."""
    from pxr import Usd

    from mocap.export.usd import pose_at

    stage = Usd.Stage.Open(str(path))
    if not stage:
        raise _unlike(path, "a USD stage", "none")
    for animation in animations:
        some = np.unique(np.linspace(0, len(animation.frames) - 1, 9).astype(int))
        found, _ = pose_at(stage, animation.name, some.astype(np.float64))
        _check(path, found, animation.positions[some], animation.unit.per_metre)


def reread_c3d(path: Path, names: list[str], points: Array, fps: float) -> None:
    """Read a C3D file back and compare; raises ExportError."""
    import ezc3d

    file = ezc3d.c3d(str(path))
    if list(file["parameters"]["POINT"]["LABELS"]["value"]) != names:
        raise _unlike(path, ", ".join(names), "other markers")
    if abs(file["header"]["points"]["frame_rate"] / fps - 1) > 1e-6:
        raise _unlike(path, f"{fps} frames per second", f"{file['header']['points']['frame_rate']}")
    found = np.asarray(file["data"]["points"], np.float64)[:3].transpose(2, 1, 0).copy()
    found[np.asarray(file["data"]["meta_points"]["residuals"])[0].T < 0] = np.nan
    _check(path, found, points, 1e3)


def reread_trc(path: Path, names: list[str], points: Array, fps: float) -> None:
    """Read a TRC file with NumPy and compare; raises ExportError."""
    with path.open(encoding="ascii") as file:
        lines = [next(file) for _ in range(4)]
    if lines[3].split()[2:] != names:
        raise _unlike(path, ", ".join(names), "other markers")
    table = np.genfromtxt(path, delimiter="\t", skip_header=6, ndmin=2)
    if not np.allclose(table[:, 1], np.arange(len(table)) / fps, rtol=0, atol=1e-8):
        raise _unlike(path, "even times", "others")
    _check(path, table[:, 2:].reshape(len(table), -1, 3), points, 1e3)
