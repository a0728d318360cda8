"""TRC: marker trajectories as text, as OpenSim and Pose2Sim use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mocap.errors import DataError
from mocap.metrics.ground_truth.axes import WORLD_FROM_Y_UP, metres_per
from mocap.metrics.poses import Poses3D


def read_trc(path: Path) -> Poses3D:
    """Markers of one person; the header says unit and rate.

    The file's y axis is up, as OpenSim wants it; it becomes our z. Empty cells are missing.

    Raises
    ------
    DataError
        Not a TRC file, or rows of different lengths.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
        rate, unit = float(header["DataRate"]), header["Units"]
        markers = [n for n in lines[3].rstrip().split("\t")[2:] if n.strip()]
        body = [line for line in lines[4:] if line.split("\t")[0].strip().isdigit()]
        # Trailing tabs do not matter, missing cells at the end of a line do: rows are brought to one length.
        width = 2 + 3 * len(markers)
        rows = ["\t".join((line.split("\t") + [""] * width)[:width]) for line in body]
        values = np.genfromtxt(rows, delimiter="\t").reshape(len(rows), width)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            "not a readable TRC file", expected="five header lines with DataRate, Units and marker names, then rows",
            found=str(error), where=str(path),
        ) from error  # fmt: skip
    positions = values[:, 2:].reshape(len(rows), 1, len(markers), 3) * metres_per(unit, str(path))
    return Poses3D(
        positions @ WORLD_FROM_Y_UP.T, np.array([0]), values[:, 0].astype(np.int64), tuple(markers), rate, str(path)
    )
