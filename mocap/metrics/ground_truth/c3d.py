"""C3D: marker trajectories of optical systems, read by ezc3d (optional)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mocap.errors import DataError, DependencyError
from mocap.metrics.ground_truth.axes import metres_per
from mocap.metrics.poses import Poses3D


def read_c3d(path: Path) -> Poses3D:
    """Points of a C3D file, in the file's own axes (optical systems: z up) and its unit made metres.

    Raises
    ------
    DependencyError
        ezc3d is not installed.
    DataError
        Not a C3D file, or without points.
    """
    try:
        import ezc3d
    except ImportError as error:
        raise DependencyError("C3D files need ezc3d", where=str(path), hint="pip install ezc3d") from error
    try:
        file = ezc3d.c3d(str(path))
        parameters = file["parameters"]["POINT"]
        points = np.asarray(file["data"]["points"], np.float64)[:3]
        names = tuple(parameters["LABELS"]["value"])
        rate, unit = float(parameters["RATE"]["value"][0]), str(parameters["UNITS"]["value"][0])
        first = int(file["header"]["points"]["first_frame"])
    except (OSError, RuntimeError, KeyError, IndexError, ValueError) as error:
        raise DataError("not a readable C3D file", found=str(error), where=str(path)) from error
    # ezc3d gives (3, points, frames); a missing point is NaN.
    positions = points.transpose(2, 1, 0)[:, None, : len(names)] * metres_per(unit, str(path))
    return Poses3D(positions, np.array([0]), first + np.arange(len(positions)), names, rate, str(path))
