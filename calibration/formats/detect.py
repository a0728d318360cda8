"""Which calibration format a file or folder is, from its content."""

from __future__ import annotations

import enum
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.formats import caliscope, colmap, easymocap, freemocap, human36m, kalibr, opencap, panoptic, voxelpose
from calibration.formats.common import ReadOptions, read_bytes, read_json
from calibration.formats.opencv_yaml import read_yaml
from calibration.formats.optitrack import SUFFIXES as OPTITRACK_SUFFIXES
from calibration.formats.rig_toml import camera_tables, parse_toml


class RigFormat(enum.StrEnum):
    """Calibration formats by the names the command line uses."""

    RIG_TOML = "toml"
    ANIPOSE = "anipose"
    POSE2SIM = "pose2sim"
    FREEMOCAP = "freemocap"
    CALISCOPE = "caliscope"
    QUALISYS = "qualisys"
    VICON = "vicon"
    OPENCAP = "opencap"
    EASYMOCAP = "easymocap"
    PANOPTIC = "panoptic"
    VOXELPOSE = "voxelpose"
    HUMAN36M = "human36m"
    KALIBR = "kalibr"
    COLMAP = "colmap"
    OPTITRACK = "optitrack"


_SUFFIXES = (".toml", ".txt", ".xml", ".qca", ".xcp", ".json", ".yml", ".yaml", ".pickle", ".pkl", ".mcal", ".cal")
_BLANK = b"\xef\xbb\xbf \t\r\n"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_COLMAP_FILES = {"cameras.txt", "images.txt", "cameras.bin", "images.bin"}


def locate(path: Path) -> Path:
    """The calibration in `path`: itself, or the one file of a folder that is a calibration.

    A folder that is a calibration as a whole (EasyMocap, COLMAP, OpenCap) stays a folder.

    Raises
    ------
    CalibrationError
        Nothing there, or several calibrations in the folder.
    """
    if not path.exists():
        raise CalibrationError(
            "no such calibration file",
            where=str(path),
            hint="give the path of a rig TOML, a Qualisys .qca.txt or another format of docs/formats.md",
        )
    if not path.is_dir() or _folder_format(path) is not None:
        return path
    found, problems = [], []
    for candidate in sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file()):
        problem = _problem(candidate)
        if problem is None:
            found.append(candidate)
        else:
            problems.append(f"{candidate.name}: {problem}")
    if len(found) != 1:
        raise CalibrationError(
            f"the folder holds {'several calibrations' if found else 'no calibration that can be read'}",
            found=", ".join(p.name for p in found) or "; ".join(problems) or "no candidate file",
            where=str(path),
            hint="give the file itself",
        )
    return found[0]


def _problem(path: Path) -> str | None:
    """Why a file among others is no calibration (other programs' TOML files and pickles are not); None if it is one."""
    try:
        found = detect_format(path)
        if found is RigFormat.RIG_TOML:
            camera_tables(parse_toml(path), path)
        if found is RigFormat.OPENCAP:
            opencap.read_opencap(path, ReadOptions())
    except CalibrationError as error:
        return error.problem
    return "OptiTrack, which cannot be read" if found is RigFormat.OPTITRACK else None


def detect_format(path: Path) -> RigFormat:
    """The format of a calibration file or folder, from its content.

    Raises
    ------
    CalibrationError
        Missing, unreadable or unknown file.
    """
    path = locate(path)
    found = _folder_format(path) if path.is_dir() else _file_format(path)
    if found is None:
        head = read_bytes(path)[:24].lstrip(_BLANK)
        raise CalibrationError(
            "not a calibration file that can be read",
            expected=f"one of {', '.join(f for f in RigFormat if f is not RigFormat.OPTITRACK)} (docs/formats.md)",
            found=f"a file that begins with {head!r}",
            where=str(path),
        )
    return found


def _folder_format(folder: Path) -> RigFormat | None:
    if all((folder / name).is_file() for name in (easymocap.INTRINSIC, easymocap.EXTRINSIC)):
        return RigFormat.EASYMOCAP
    if colmap.find_model(folder) is not None:
        return RigFormat.COLMAP
    return RigFormat.OPENCAP if opencap.find_cameras(folder) else None


def _file_format(path: Path) -> RigFormat | None:
    suffix = path.suffix.lower()
    if suffix in OPTITRACK_SUFFIXES:
        return RigFormat.OPTITRACK
    if path.name in _COLMAP_FILES and colmap.find_model(path.parent) is not None:
        return RigFormat.COLMAP
    head = read_bytes(path)[:4096]
    if head.startswith(b"\x80") or suffix in opencap.SUFFIXES:
        return RigFormat.OPENCAP
    text = head.lstrip(_BLANK)
    if head.startswith(_UTF16):
        return _xml_format(read_bytes(path).decode("utf-16", errors="ignore").encode())
    if text.startswith(b"<"):
        return _xml_format(read_bytes(path))
    if text.startswith(b"{"):
        return _json_format(path)
    if suffix == ".toml":
        return _toml_format(path)
    return _yaml_format(path) if suffix in (".yml", ".yaml") or b"%YAML" in head else None


def _xml_format(content: bytes) -> RigFormat | None:
    """By the elements that only the one program writes; damaged files included."""
    if b"<calibration" in content:
        return RigFormat.QUALISYS
    if b"<KeyFrame" in content or b"VICON_RADIAL" in content or b"<Cameras" in content:
        return RigFormat.VICON
    return RigFormat.OPTITRACK if b"<Calibration" in content else None


def _json_format(path: Path) -> RigFormat | None:
    content = read_json(path)
    checks = {
        RigFormat.PANOPTIC: panoptic.is_panoptic,
        RigFormat.HUMAN36M: human36m.is_human36m,
        RigFormat.VOXELPOSE: voxelpose.is_voxelpose,
    }
    return next((name for name, check in checks.items() if check(content)), None)


def _toml_format(path: Path) -> RigFormat:
    document = parse_toml(path)
    if caliscope.is_caliscope(document):
        return RigFormat.CALISCOPE
    tables = [t for t in document.values() if isinstance(t, dict)]
    if any(mark in t for t in tables for mark in freemocap.MARKS):
        return RigFormat.FREEMOCAP
    return RigFormat.RIG_TOML


def _yaml_format(path: Path) -> RigFormat | None:
    if path.name in (easymocap.INTRINSIC, easymocap.EXTRINSIC):
        return RigFormat.EASYMOCAP
    return RigFormat.KALIBR if kalibr.is_kalibr(read_yaml(path)) else None
