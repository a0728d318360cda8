"""Joint positions as CSV: for spreadsheets and statistics programs."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mocap.export.reread import reread_csv
from mocap.export.settings import CsvLayout
from mocap.storage.atomic import atomic_path
from mocap.types import Source, Trajectories3D

# Frames turned into text at a time: bounds memory, whatever the length of the take.
_CHUNK = 4096

_LONG_HEADER = (
    "frame", "time_s", "person", "joint", "x_m", "y_m", "z_m", "std_x_m", "std_y_m", "std_z_m",
    "source", "reprojection_error_px",
)  # fmt: skip
_PER_JOINT = ("x_m", "y_m", "z_m", "std_m", "source")


def write_csv(path: Path, trajectories: Trajectories3D, layout: CsvLayout) -> None:
    """Write joint positions (world, z up) as CSV with the unit in each column's name.

    A value that is not known is an empty field. `source` is missing, triangulated, lifted or
    interpolated; `std` the standard deviation per axis, in the wide layout the root mean square
    of the three axes. Time is frame / fps.

    Raises
    ------
    StorageError
        The file cannot be written.
    ExportError
        What was written does not read back.
    """
    long = layout is CsvLayout.LONG
    wide_header = ["frame", "time_s", "person"]
    wide_header += [f"{joint}_{column}" for joint in trajectories.joint_names for column in _PER_JOINT]
    with atomic_path(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_LONG_HEADER if long else wide_header)
            for start in range(0, len(trajectories.frames), _CHUNK):
                part = slice(start, start + _CHUNK)
                writer.writerows(_long_rows(trajectories, part) if long else _wide_rows(trajectories, part))
        reread_csv(temporary, trajectories)


def _long_rows(trajectories: Trajectories3D, part: slice) -> Iterator[tuple[object, ...]]:
    shape = trajectories.source[part].shape
    frame, person, joint = (a.ravel() for a in np.indices(shape))
    names = np.array(trajectories.joint_names)
    std = np.sqrt(np.diagonal(trajectories.covariance[part], axis1=-2, axis2=-1)).reshape(-1, 3)
    position = trajectories.positions[part].reshape(-1, 3)
    return zip(
        trajectories.frames[part][frame].tolist(),
        _times(trajectories, part)[frame].tolist(),
        trajectories.person_ids[person].tolist(),
        names[joint].tolist(),
        *(_text(position[:, i]) for i in range(3)),
        *(_text(std[:, i]) for i in range(3)),
        _sources(trajectories, part).ravel().tolist(),
        _text(trajectories.reprojection_error[part].ravel(), 3),
        strict=True,
    )


def _wide_rows(trajectories: Trajectories3D, part: slice) -> Iterator[tuple[object, ...]]:
    frames, persons, joints = trajectories.source[part].shape
    rows = frames * persons
    position = trajectories.positions[part].reshape(rows, joints, 3)
    variance = np.trace(trajectories.covariance[part], axis1=-2, axis2=-1) / 3
    std = np.sqrt(variance).reshape(rows, joints)
    source = _sources(trajectories, part).reshape(rows, joints)
    columns = [
        [*(_text(position[:, j, i]) for i in range(3)), _text(std[:, j]), source[:, j].tolist()]
        for j in range(joints)
    ]  # fmt: skip
    return zip(
        np.repeat(trajectories.frames[part], persons).tolist(),
        np.repeat(_times(trajectories, part), persons).tolist(),
        np.tile(trajectories.person_ids, frames).tolist(),
        *itertools.chain.from_iterable(columns),
        strict=True,
    )


def _times(trajectories: Trajectories3D, part: slice) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.round(trajectories.frames[part] / trajectories.fps, 9)


def _sources(trajectories: Trajectories3D, part: slice) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
    return np.array([s.name.lower() for s in Source])[trajectories.source[part]]


def _text(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], digits: int = 6) -> list[str]:
    """Fixed-point text; empty where not finite."""
    text = np.char.mod(f"%.{digits}f", values.astype(np.float64))
    return list(np.where(np.isfinite(values), text, "").tolist())
