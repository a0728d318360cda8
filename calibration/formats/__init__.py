"""Calibration files: one module per foreign format, and one place that tells them apart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from calibration.camera import CameraRig
from calibration.errors import CalibrationError
from calibration.formats.anipose import read_anipose, write_anipose
from calibration.formats.caliscope import read_caliscope, write_caliscope
from calibration.formats.colmap import read_colmap, write_colmap
from calibration.formats.common import UNITS, Imported, ReadOptions, reoriented
from calibration.formats.detect import RigFormat, detect_format, locate
from calibration.formats.easymocap import read_easymocap, write_easymocap
from calibration.formats.freemocap import read_freemocap
from calibration.formats.human36m import read_human36m, write_human36m
from calibration.formats.kalibr import read_kalibr
from calibration.formats.opencap import read_opencap
from calibration.formats.optitrack import read_optitrack
from calibration.formats.panoptic import read_panoptic
from calibration.formats.pose2sim import read_pose2sim, write_pose2sim
from calibration.formats.qualisys import read_qualisys
from calibration.formats.rig_toml import import_rig_toml, read_rig_toml, write_rig_toml
from calibration.formats.vicon import read_vicon
from calibration.formats.voxelpose import read_voxelpose

__all__ = [
    "FOLDER_FORMATS",
    "UNITS",
    "WRITABLE",
    "Imported",
    "ReadOptions",
    "RigFormat",
    "detect_format",
    "import_rig",
    "locate",
    "read_rig",
    "read_rig_toml",
    "reoriented",
    "write_rig",
    "write_rig_toml",
]

logger = logging.getLogger(__name__)

_READERS: dict[RigFormat, Callable[[Path, ReadOptions], Imported]] = {
    RigFormat.RIG_TOML: import_rig_toml,
    RigFormat.ANIPOSE: read_anipose,
    RigFormat.POSE2SIM: read_pose2sim,
    RigFormat.FREEMOCAP: read_freemocap,
    RigFormat.CALISCOPE: read_caliscope,
    RigFormat.QUALISYS: read_qualisys,
    RigFormat.VICON: read_vicon,
    RigFormat.OPENCAP: read_opencap,
    RigFormat.EASYMOCAP: read_easymocap,
    RigFormat.PANOPTIC: read_panoptic,
    RigFormat.VOXELPOSE: read_voxelpose,
    RigFormat.HUMAN36M: read_human36m,
    RigFormat.KALIBR: read_kalibr,
    RigFormat.COLMAP: read_colmap,
    RigFormat.OPTITRACK: read_optitrack,
}


def _write_own(rig: CameraRig, path: Path) -> tuple[str, ...]:
    write_rig_toml(rig, path)
    return ()


_WRITERS: dict[RigFormat, Callable[[CameraRig, Path], tuple[str, ...]]] = {
    RigFormat.RIG_TOML: _write_own,
    RigFormat.ANIPOSE: write_anipose,
    RigFormat.POSE2SIM: write_pose2sim,
    RigFormat.CALISCOPE: write_caliscope,
    RigFormat.EASYMOCAP: write_easymocap,
    RigFormat.HUMAN36M: write_human36m,
    RigFormat.COLMAP: write_colmap,
}
WRITABLE = tuple(_WRITERS)
# Formats of several files: written into a folder.
FOLDER_FORMATS = (RigFormat.EASYMOCAP, RigFormat.COLMAP)


def import_rig(path: Path, rig_format: RigFormat | None = None, options: ReadOptions | None = None) -> Imported:
    """The rig in a calibration file or folder, with notes for people; the format is found out unless given.

    Raises
    ------
    CalibrationError
        The file is missing, of another format, or holds numbers that are no calibration.
    """
    located = locate(path) if rig_format is None else path
    if not located.exists():
        raise CalibrationError("no such calibration file", where=str(located))
    return _READERS[rig_format or detect_format(located)](located, options or ReadOptions())


def read_rig(path: Path, rig_format: RigFormat | None = None, options: ReadOptions | None = None) -> CameraRig:
    """The rig of `import_rig`; its notes go to the log.

    Raises
    ------
    CalibrationError
        As `import_rig`.
    """
    imported = import_rig(path, rig_format, options)
    for note in imported.notes:
        logger.warning("%s: %s", path, note)
    return imported.rig


def write_rig(rig: CameraRig, path: Path, rig_format: RigFormat = RigFormat.RIG_TOML) -> tuple[str, ...]:
    """Write a rig to a file, or into the folder `path` for formats of several files.

    Returns
    -------
    tuple of str
        What a person should know about the result: what the format cannot hold, other names.

    Raises
    ------
    CalibrationError
        The format can only be read, or has no model for a camera's lens.
    """
    if rig_format not in _WRITERS:
        raise CalibrationError(
            f"the format {rig_format} can only be read", expected=f"--to {', '.join(WRITABLE)}", where=str(path)
        )
    if rig_format in FOLDER_FORMATS:
        path.mkdir(parents=True, exist_ok=True)
    return _WRITERS[rig_format](rig, path)
