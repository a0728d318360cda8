"""One call that writes any format."""

from __future__ import annotations

from pathlib import Path

from mocap.errors import ExportError, StorageError
from mocap.export.bvh import write_bvh
from mocap.export.csv import write_csv
from mocap.export.npz import write_npz
from mocap.export.selection import motion_row, only_person, tell_gaps, to_skeleton
from mocap.export.settings import ExportFormat, ExportSettings
from mocap.types import SkeletalMotion, Trajectories3D


def export_result(
    trajectories: Trajectories3D,
    motion: SkeletalMotion | None,
    settings: ExportSettings,
    path: Path,
    provenance: str = "",
) -> Path:
    """Write a result file, whole or not at all.

    Parameters
    ----------
    trajectories : Trajectories3D
        Filtered; what npz and csv hold.
    motion : SkeletalMotion, optional
        What bvh holds; may be None for the others.
    settings : ExportSettings
    path : Path
    provenance : str
        JSON text that says what the result was made from; kept in npz, which has a place for it.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    ExportError
        No such person or joint set, no motion for an animation format, or the file cannot be
        written (then nothing of it stays).
    """
    try:
        if settings.format is ExportFormat.BVH:
            if motion is None:
                raise ExportError("bvh needs the solved motion", where=str(path), hint="run the solve stage first")
            row = motion_row(motion, settings.person)
            write_bvh(path, motion, row, settings.bvh_unit)
            tell_gaps(motion, row)
            return path
        chosen = only_person(trajectories, settings.person) if settings.person >= 0 else trajectories
        chosen = to_skeleton(chosen, settings.skeleton) if settings.skeleton else chosen
        if settings.format is ExportFormat.CSV:
            write_csv(path, chosen, settings.csv_layout)
        else:
            write_npz(path, chosen, provenance)
    except StorageError as error:
        raise ExportError(
            error.problem, expected=error.expected, found=error.found, where=error.where, hint=error.hint
        ) from error
    return path
