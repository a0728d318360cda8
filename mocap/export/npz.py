"""The open result format: NumPy .npz with every array named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mocap.export.reread import reread_npz
from mocap.storage.atomic import atomic_path
from mocap.types import Trajectories3D


def write_npz(path: Path, trajectories: Trajectories3D, provenance: str = "") -> None:
    """Write a result file.

    Holds `positions` float32 [T, P, J, 3] m, `covariance` float32 [T, P, J, 3, 3] m2, `source`
    uint8 [T, P, J], `reprojection_error` float32 [T, P, J] px, `person_ids` int64 [P],
    `joint_names` str [J], `frames` int64 [T], `fps`, and, where given, `provenance`: a JSON text that says
    what the result was made from.

    Raises
    ------
    StorageError
        The file cannot be written.
    ExportError
        What was written does not read back.
    """
    extra: dict[str, Any] = {"provenance": np.array(provenance)} if provenance else {}
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                positions=trajectories.positions,
                covariance=trajectories.covariance,
                source=trajectories.source,
                reprojection_error=trajectories.reprojection_error,
                person_ids=trajectories.person_ids,
                joint_names=np.array(trajectories.joint_names),
                frames=trajectories.frames,
                fps=np.float64(trajectories.fps),
                **extra,
            )
        reread_npz(temporary, trajectories)
