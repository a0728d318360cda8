"""Our own npz files: results of `mocap export` and ground truth of the same arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.metrics.poses import Poses3D
from mocap.skeleton import H36M_17


def read_result_npz(path: Path) -> Poses3D:
    """Poses of a result file (`positions`, `joint_names`, `frames`; `person_ids`, `fps` optional).

    Also what `mocap lift` writes (`positions` [N, 17, 3], `std`, `root`): H36M-17 in camera axes, relative to the
    pelvis; row i is frame i unless the file has `frames`.

    Raises
    ------
    DataError
        No such file, not an npz file, or arrays missing.
    """
    return _read(path, "a result of mocap export (npz)")


def read_truth_npz(path: Path) -> Poses3D:
    """Ground truth from an npz file with `positions` [T, P, J, 3] or [T, J, 3] in metres,
    `joint_names`, `frames`; `person_ids`, `fps`, `actions` [T] optional.

    Raises
    ------
    DataError
        No such file, not an npz file, or arrays missing.
    """  # noqa: D205
    return _read(path, "an npz with positions [T, P, J, 3] or [T, J, 3], joint_names, frames")


def _read(path: Path, expected: str) -> Poses3D:
    if not path.is_file():
        raise DataError("no such file", expected=expected, where=str(path))
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError("not a readable npz file", expected=expected, found=str(error), where=str(path)) from error
    if {"positions", "std", "root"} <= set(arrays) and "joint_names" not in arrays:
        arrays = {"frames": np.arange(len(arrays["positions"])), **arrays, "joint_names": np.array(H36M_17.joints)}
    missing = [n for n in ("positions", "joint_names", "frames") if n not in arrays]
    if missing:
        found = f"{', '.join(sorted(arrays))}; no {', '.join(missing)}"
        raise DataError("arrays are missing", expected=expected, found=found, where=str(path))
    positions = arrays["positions"]
    if positions.ndim == 3:
        positions = positions[:, None]
    if positions.ndim != 4 or positions.shape[-1] != 3:
        raise DataError("wrong shape of positions", expected=expected, found=f"{positions.shape}", where=str(path))
    return Poses3D(
        positions=positions,
        person_ids=arrays.get("person_ids", np.arange(positions.shape[1])),
        frames=arrays["frames"],
        joint_names=tuple(arrays["joint_names"].astype(str)),
        fps=float(arrays["fps"]) if "fps" in arrays else float("nan"),
        origin=str(path),
        actions=_actions(arrays, path),
    )


def _actions(arrays: dict[str, NDArray[Any]], path: Path) -> tuple[str, ...]:
    """What is done in each frame: `actions`, or the benchmark's `clip`."""
    labels = arrays.get("actions", arrays.get("clip"))
    if labels is None:
        return ()
    if labels.shape != arrays["frames"].shape:
        raise DataError("wrong shape of actions", expected=f"{arrays['frames'].shape}", found=f"{labels.shape}",
                        where=str(path))  # fmt: skip
    return tuple(labels.astype(str).tolist())
