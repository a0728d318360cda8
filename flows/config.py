"""What session.toml says, as typed records."""

from __future__ import annotations

import enum
import math
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from calibration.synchronisation import SynchronisationSettings
from flows.parsing import describe, nearest, parse_table, parse_value
from mocap.detection.settings import DetectionSettings
from mocap.errors import SessionError, SettingsError
from mocap.filtering.settings import FilterSettings
from mocap.kinematics.settings import SolveSettings
from mocap.lifting.settings import LiftingSettings
from mocap.matching.settings import MatchingSettings
from mocap.storage.atomic import write_bytes
from mocap.triangulation.settings import TriangulationSettings

FORMAT_VERSION = 1


class Stage(enum.StrEnum):
    """The stages, in the order in which they run."""

    CALIBRATE = "calibrate"
    DETECT = "detect"
    SYNCHRONISE = "synchronise"
    MATCH = "match"
    TRIANGULATE = "triangulate"
    LIFT = "lift"
    FILTER = "filter"
    SOLVE = "solve"


@dataclass(frozen=True)
class CalibrateSettings:
    """How a calibration is fitted to the videos.

    Attributes
    ----------
    crop_tolerance_px : int
        Largest difference between calibrated and filmed image size that is taken for rows or columns
        that the codec cut off at the right or bottom edge (H.264 works in blocks of 16).
    floor_frame : int
        Calibration footage: frame in which the board lies on the floor, which becomes z = 0; -1: none.
    max_frames : int
        Calibration footage: frames searched per camera, evenly spread.
    fisheye : bool
        Calibration footage: lenses of more than some 120 degrees, Kannala-Brandt instead of Brown-Conrady.
    world : str
        File that fixes the world, as `mocap calibrate --world` takes it; also for a calibration that is read.
    """

    crop_tolerance_px: int = 16
    floor_frame: int = -1
    max_frames: int = 900
    fisheye: bool = False
    world: str = ""

    def __post_init__(self) -> None:
        if self.crop_tolerance_px < 0:
            raise SettingsError(
                "crop_tolerance_px is negative", expected="0 or more", found=str(self.crop_tolerance_px)
            )
        if self.floor_frame < -1 or self.max_frames < 1:
            raise SettingsError(
                "out of range", expected="floor_frame -1 or more, max_frames 1 or more",
                found=f"{self.floor_frame} and {self.max_frames}",
            )  # fmt: skip


@dataclass(frozen=True)
class StageSettings:
    """One settings record per stage; field names are those of `Stage`."""

    calibrate: CalibrateSettings = field(default_factory=CalibrateSettings)
    synchronise: SynchronisationSettings = field(default_factory=SynchronisationSettings)
    detect: DetectionSettings = field(default_factory=DetectionSettings)
    match: MatchingSettings = field(default_factory=MatchingSettings)
    triangulate: TriangulationSettings = field(default_factory=TriangulationSettings)
    lift: LiftingSettings = field(default_factory=LiftingSettings)
    filter: FilterSettings = field(default_factory=FilterSettings)
    solve: SolveSettings = field(default_factory=SolveSettings)

    def of(self, stage: Stage) -> dict[str, Any]:
        """The settings of a stage by name, as the plain values that JSON keeps."""
        return {k: _plain(v) for k, v in asdict(getattr(self, stage)).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class CameraEntry:
    """A camera of the session.

    Attributes
    ----------
    name : str
    calibration : str
        The camera's name in the calibration.
    video : str
        Path of its video, relative to the session folder or absolute; empty in sessions made from
        2D keypoints.
    row_delay_s : float
        Rolling shutter: seconds from one row of the picture to the next, negative where it is read from
        below; 0 where all rows are exposed together.
    """

    name: str
    calibration: str
    video: str = ""
    row_delay_s: float = 0.0


@dataclass(frozen=True)
class SessionTable:
    """The [session] table.

    Attributes
    ----------
    version : int
        Format of session.toml.
    calibration : str
        Path of the calibration file, or of a folder of calibration footage.
    board : str
        Path of the board definition of calibration footage; empty takes board.toml in its folder.
    keypoints : str
        Path of a 2D keypoint file that takes the place of detection; empty when videos are used.
    frames : (int, int)
        First frame and the frame after the last; (0, 0) takes all. Only with videos.
    fps : float
        Frames per second where those of the videos or keypoints are wrong; 0 takes theirs.
    """

    version: int
    calibration: str
    board: str = ""
    keypoints: str = ""
    frames: tuple[int, int] = (0, 0)
    fps: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps >= 0):
            raise SettingsError(
                "fps is out of range", expected="a positive number, or 0 to take the footage's own", found=str(self.fps)
            )
        if self.keypoints and self.frames != (0, 0):
            raise SettingsError(
                "`frames` is for sessions with videos",
                found=str(list(self.frames)),
                hint="remove it; cut the keypoints",
            )


@dataclass(frozen=True)
class SessionConfig:
    """All of session.toml."""

    session: SessionTable
    cameras: tuple[CameraEntry, ...]
    settings: StageSettings


def parse_config(text: str, where: str = "session.toml") -> SessionConfig:
    """Read the text of a session.toml.

    Raises
    ------
    SettingsError
        Not TOML, unknown or ill-typed keys, no cameras, the same camera twice.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("not valid TOML", found=str(error), where=where) from error
    stages = [f.name for f in fields(StageSettings)]
    for key in document:
        if key not in ("session", "camera", *stages):
            raise SettingsError(
                f"there is no section [{key}]", where=where, hint=nearest(key, ("session", "camera", *stages))
            )
    if "session" not in document:
        raise SettingsError("the [session] section is missing", where=where, hint="make the session with `mocap init`")
    session = parse_table(SessionTable, document["session"], f"{where}: session")
    if session.version != FORMAT_VERSION:
        raise SettingsError(
            "written by another version", expected=f"{FORMAT_VERSION}", found=str(session.version), where=where
        )
    rows = document.get("camera", [])
    if not isinstance(rows, list) or not rows:
        raise SettingsError("no camera", expected="[[camera]] sections", found=describe(rows), where=where)
    cameras = tuple(parse_table(CameraEntry, row, f"{where}: camera") for row in rows)
    _check_cameras(session, cameras, where)
    hints = {f.name: f.default_factory for f in fields(StageSettings)}
    settings: dict[str, Any] = {
        stage: parse_table(hints[stage], document[stage], f"{where}: {stage}")  # type: ignore[arg-type]
        for stage in stages
        if stage in document
    }
    config = SessionConfig(session, cameras, StageSettings(**settings))
    _check_overrides(config, where)
    return config


def _check_overrides(config: SessionConfig, where: str) -> None:
    """What `[[match.override]]` names must exist: said here, not after minutes of detection.

    Of keypoint files only match knows the slots and the frames.
    """
    names, people = [c.name for c in config.cameras], config.settings.detect.max_people
    for override in config.settings.match.override:
        if override.camera not in names:
            raise SettingsError(
                "an override names a camera that there is not", expected=", ".join(names), found=override.camera,
                where=f"{where}: match.override", hint=nearest(override.camera, names),
            )  # fmt: skip
        if override.slot >= people and not config.session.keypoints:
            raise SettingsError(
                "an override names a slot that there is not",
                expected=f"0 to {people - 1}, as detect.max_people is {people}", found=str(override.slot),
                where=f"{where}: match.override",
            )  # fmt: skip


def _check_cameras(session: SessionTable, cameras: tuple[CameraEntry, ...], where: str) -> None:
    names = [c.name for c in cameras]
    if "" in names or len(set(names)) != len(names):
        raise SettingsError("a camera name is empty or occurs twice", found=", ".join(map(repr, names)), where=where)
    if len(cameras) < 2:
        raise SettingsError(
            "one camera alone gives no 3D motion", expected="at least two cameras", found=names[0], where=where,
            hint="add the other cameras' videos",
        )  # fmt: skip
    videos = [c.video for c in cameras if c.video]
    wanted = 0 if session.keypoints else len(cameras)
    if len(videos) != wanted:
        without = ", ".join(c.name for c in cameras if not c.video)
        raise SettingsError(
            "footage and cameras do not fit",
            expected="no `video` where `keypoints` is given" if session.keypoints else "a `video` for each camera",
            found=f"{len(videos)} videos" if session.keypoints else f"none for {without}",
            where=where,
        )
    if len(set(videos)) != len(videos):
        raise SettingsError("two cameras have the same video", found=", ".join(videos), where=where)


def read_config(path: Path) -> SessionConfig:
    """Read session.toml; SessionError when it is missing, SettingsError when it is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a byte order mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise SessionError(
            "not a session folder",
            expected="a folder with a session.toml",
            found="no session.toml" if not path.exists() else str(error),
            where=str(path.parent),
            hint="make one with `mocap init SESSION --videos DIR --calibration FILE`",
        ) from error
    return parse_config(text, str(path))


@dataclass(frozen=True)
class Assignment:
    """One ``stage.key=value`` of the command line."""

    stage: str
    key: str
    value: Any

    @staticmethod
    def parse(text: str) -> Assignment:
        """Read ``stage.key=value``; the value is a TOML value or a bare word."""
        name, equals, raw = text.partition("=")
        stage, dot, key = name.strip().partition(".")
        if not (equals and dot and key and raw.strip()):
            raise SettingsError(
                "--set is not understood", expected="stage.key=value, e.g. filter.cutoff_hz=4", found=text
            )
        stages = [s.value for s in Stage]
        if stage not in stages:
            raise SettingsError(f"there is no stage {stage!r}", where=f"--set {text}", hint=nearest(stage, stages))
        return Assignment(stage, key, parse_value(raw))


def assign(path: Path, assignments: list[Assignment], *, write: bool = True) -> SessionConfig:
    """Set values in session.toml, keeping its comments; checked before anything is written.

    Returns the new configuration; with `write` false the file stays as it is. Raises what
    `read_config` raises, with nothing changed.
    """
    read_config(path)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8-sig"))
    except TOMLKitError as error:
        raise SettingsError("not valid TOML", found=str(error), where=str(path)) from error
    for a in assignments:
        table = document.setdefault(a.stage, tomlkit.table())
        table[a.key] = a.value
    text = tomlkit.dumps(document)
    config = parse_config(text, str(path))
    if assignments and write:
        write_bytes(path, text.encode())
    return config
