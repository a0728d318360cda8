"""Making a session folder from footage or 2D keypoints; all is checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from calibration.camera import CameraRig
from calibration.formats import FOLDER_FORMATS, detect_format, locate, read_rig
from calibration.synchronisation import SynchronisationMethod, SynchronisationSettings
from flows.calibration import BOARD_FILE, footage_files
from flows.config import FORMAT_VERSION, CalibrateSettings, CameraEntry, parse_config
from flows.footage import check_footage, probe_footage
from flows.rig_fit import fit_rig_to_images
from mocap.errors import CalibrationError, DataError, SessionError, VideoError
from mocap.storage.atomic import write_bytes

TIMESTAMPS = "timestamps.csv"
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mts", ".webm", ".mpg")


@dataclass(frozen=True)
class NewSession:
    """What `mocap init` was given.

    Attributes
    ----------
    root : Path
    videos : sequence of Path
        Files or folders; empty when `keypoints` is given.
    keypoints : Path or None
    calibration : Path or None
        A file, a folder that holds exactly one readable calibration, or a folder of calibration footage
        with a board.toml.
    fps : float or None
        Replaces the videos' own.
    sync : str
        How the cameras' times are known: a `SynchronisationMethod` that needs no further settings.
    """

    root: Path
    videos: Sequence[Path]
    keypoints: Path | None
    calibration: Path | None
    fps: float | None
    sync: str = SynchronisationMethod.AUTO.value


def initialise(new: NewSession) -> list[CameraEntry]:
    """Make the session; returns its cameras.

    Raises
    ------
    MocapError
        Anything that would keep `mocap run` from working; nothing is written then.
    """
    SynchronisationSettings(method=new.sync)  # type: ignore[arg-type]  # says what it may be
    target = new.root / "session.toml"
    if target.exists():
        raise SessionError(
            "this is a session already", where=str(new.root), hint="run `mocap run`, or take another name"
        )
    if bool(new.videos) == bool(new.keypoints):
        raise SessionError(
            "nothing to work on" if not new.videos else "both videos and keypoints were given",
            expected="either --videos DIR|FILE... or --keypoints FILE.npz",
        )
    calibration = find_calibration(new)
    if calibration.is_dir():
        rig, calibrated = None, _filmed_cameras(calibration)
    else:
        rig = read_rig(calibration)
        calibrated = rig.names
    if new.keypoints is not None:
        entries = _entries_from_keypoints(new.keypoints, calibrated)
    else:
        entries = _entries_from_videos(new, rig, calibrated)
    text = _session_text(new, calibration, entries)
    parse_config(text)
    write_bytes(target, text.encode())
    return entries


def find_calibration(new: NewSession) -> Path:
    """The calibration file that was given, or the only one in the folder, or a folder of calibration footage."""
    given = new.calibration
    if given is None:
        raise CalibrationError(
            "no calibration was given", expected="--calibration FILE (rig TOML, Qualisys, ...: docs/formats.md)",
            hint="multi-camera reconstruction needs to know where the cameras stand",
        )  # fmt: skip
    if (given / BOARD_FILE).is_file() and footage_files(given):
        return given
    found = locate(given)
    rig_format = detect_format(found)
    if found.is_dir() or rig_format in FOLDER_FORMATS:
        # A session names one file, so that a change of it is seen.
        raise CalibrationError(
            f"this is a {rig_format} calibration of several files", where=str(given),
            hint=f"make one file of it first: mocap convert-calibration {given} rig.toml",
        )  # fmt: skip
    return found


def _filmed_cameras(folder: Path) -> tuple[str, ...]:
    """The cameras of calibration footage; CalibrationError when footage or board cannot be used."""
    from calibration.footage import open_footage
    from calibration.targets import TargetKind, read_board
    from calibration.wand_tracks import find_tracks, read_tracks

    board = read_board(folder / BOARD_FILE)
    if board.kind is TargetKind.WAND:
        return read_tracks(find_tracks(folder), board)[0].cameras
    return open_footage(folder).cameras


def find_videos(given: Sequence[Path]) -> dict[str, Path]:
    """Videos by camera name (the file name without suffix), folders searched.

    Raises
    ------
    VideoError
        A path that does not exist, a folder without videos, two videos of one name.
    """
    found: dict[str, Path] = {}
    for path in given:
        if not path.exists():
            raise VideoError("no such file or folder", where=str(path))
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES) if path.is_dir() else [path]
        if not files:
            raise VideoError("no video in this folder", expected=", ".join(VIDEO_SUFFIXES), where=str(path))
        for file in files:
            if file.stem in found:
                raise VideoError("two videos of one name", found=f"{found[file.stem]} and {file}", hint="rename one")
            found[file.stem] = file
    return found


def pair_cameras(names: Sequence[str], rig: CameraRig | Sequence[str]) -> list[str]:
    """The calibrated camera (of a rig, or of names) for each camera name: the same name, else the same number in it.

    Raises
    ------
    CalibrationError
        A camera without calibration, or one that cannot be told apart.
    """
    calibrated = tuple(rig.names) if isinstance(rig, CameraRig) else tuple(rig)
    if all(n in calibrated for n in names):
        return list(names)
    by_number: dict[int, list[str]] = {}
    for name in calibrated:
        by_number.setdefault(_number(name), []).append(name)
    paired, missing = [], []
    numbers = [_number(n) for n in names]
    for name, number in zip(names, numbers, strict=True):
        candidates = [name] if name in calibrated else by_number.get(number, [])
        if len(candidates) == 1 and numbers.count(number) == 1 and number >= 0:
            paired.append(candidates[0])
        elif name in calibrated:
            paired.append(name)
        else:
            missing.append(name)
    if missing or len(set(paired)) != len(paired):
        raise CalibrationError(
            f"no calibration for camera {', '.join(missing or names)}",
            expected=f"cameras named as in the calibration: {', '.join(calibrated)}",
            found=f"cameras named {', '.join(names)}",
            hint="rename the videos, or leave out those that are not calibrated",
        )
    return paired


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else -1


def _entries_from_videos(new: NewSession, rig: CameraRig | None, calibrated: Sequence[str]) -> list[CameraEntry]:
    videos = find_videos(new.videos)
    footage = {name: probe_footage(path) for name, path in videos.items()}
    check_footage(footage, free_running=new.sync == SynchronisationMethod.MOTION)
    names = list(videos)
    entries = [
        CameraEntry(name=name, calibration=paired, video=_stored_path(videos[name], new.root))
        for name, paired in zip(names, pair_cameras(names, calibrated), strict=True)
    ]
    if rig is not None:
        fit_rig_to_images(rig, entries, footage, CalibrateSettings().crop_tolerance_px)
    return entries


def _entries_from_keypoints(path: Path, calibrated: Sequence[str]) -> list[CameraEntry]:
    from mocap.interchange import read_keypoints
    from mocap.skeleton import identify

    keypoints = read_keypoints(path)
    identify(keypoints.joint_names)
    if not len(keypoints.frames):
        raise DataError("the keypoint file holds no frames", where=str(path))
    names = list(keypoints.cameras)
    return [CameraEntry(name=n, calibration=c) for n, c in zip(names, pair_cameras(names, calibrated), strict=True)]


def _timestamps(new: NewSession) -> Path | None:
    """The table of the moment of every frame that lies beside the videos, if there is one."""
    folders = dict.fromkeys(p if p.is_dir() else p.parent for p in new.videos)
    found = [f / TIMESTAMPS for f in folders if (f / TIMESTAMPS).is_file()]
    return found[0] if len(found) == 1 else None


def _stored_path(path: Path, root: Path) -> str:
    """Relative inside the session folder, so that it can be moved; absolute elsewhere."""
    resolved, base = path.resolve(), root.resolve()
    return str(resolved.relative_to(base)) if resolved.is_relative_to(base) else str(resolved)


def _session_text(new: NewSession, calibration: Path, entries: Sequence[CameraEntry]) -> str:
    document = tomlkit.document()
    document.add(tomlkit.comment("A capture session. Edit freely; `mocap status` says what a change makes stale."))
    document.add(tomlkit.comment("Stage settings go into sections such as [filter] with cutoff_hz = 6.0."))
    session = tomlkit.table()
    session["version"] = FORMAT_VERSION
    session["calibration"] = _stored_path(calibration, new.root)
    if new.keypoints is not None:
        session["keypoints"] = _stored_path(new.keypoints, new.root)
    if new.fps is not None:
        session["fps"] = float(new.fps)
    document["session"] = session
    synchronise = {"method": new.sync} if new.sync != SynchronisationMethod.AUTO else {}
    stamps = _timestamps(new)
    if stamps is not None:
        synchronise["timestamps"] = _stored_path(stamps, new.root)
    if synchronise:
        document["synchronise"] = synchronise
    cameras = tomlkit.aot()
    for entry in entries:
        table = tomlkit.table()
        table["name"] = entry.name
        table["calibration"] = entry.calibration
        if entry.video:
            table["video"] = entry.video
        cameras.append(table)
    document["camera"] = cameras
    return tomlkit.dumps(document)
