"""Calibration files: one module per foreign format, and one place that tells them apart."""

from __future__ import annotations

import enum
from pathlib import Path

from calibration.camera import CameraRig
from calibration.errors import CalibrationError
from calibration.formats.qualisys import read_qualisys
from calibration.formats.rig_toml import read_rig_toml, write_rig_toml

__all__ = ["RigFormat", "detect_format", "read_rig", "read_rig_toml", "write_rig_toml"]


class RigFormat(enum.StrEnum):
    """Formats that can be read."""

    RIG_TOML = "toml"
    QUALISYS = "qualisys"


def detect_format(path: Path) -> RigFormat:
    """The format of a calibration file, from its content.

    Raises
    ------
    CalibrationError
        Missing, unreadable or unknown file.
    """
    if not path.is_file():
        raise CalibrationError(
            "no such calibration file", where=str(path), hint="give the path of a rig TOML or Qualisys .qca.txt file"
        )
    head = path.read_bytes()[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<") and b"<calibration" in head:
        return RigFormat.QUALISYS
    if path.suffix.lower() == ".toml":
        return RigFormat.RIG_TOML
    raise CalibrationError(
        "not a calibration file that can be read",
        expected="a rig TOML (as Anipose, FreeMoCap or Pose2Sim write it) or a Qualisys .qca.txt",
        found=f"a file that begins with {head[:24]!r}",
        where=str(path),
    )


def read_rig(path: Path, rig_format: RigFormat | None = None) -> CameraRig:
    """The rig in a calibration file; its format is found out unless given.

    Raises
    ------
    CalibrationError
        The file is missing, of another format, or holds numbers that are no calibration.
    """
    readers = {RigFormat.RIG_TOML: read_rig_toml, RigFormat.QUALISYS: read_qualisys}
    return readers[rig_format or detect_format(path)](path)
