"""Calibration footage on disk to a rig file, its report and its pictures; and the same for a session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.config import CalibrateSettings, SessionTable
from mocap.errors import CalibrationError, SettingsError, StorageError
from mocap.storage.atomic import atomic_path

if TYPE_CHECKING:
    from calibration.camera import CameraRig
    from calibration.collect import Progress
    from calibration.footage_calibration import CalibratedFootage, FootageSettings
    from flows.session import Session

BOARD_FILE = "board.toml"


@dataclass(frozen=True)
class CalibrationJob:
    """What `mocap calibrate` was given.

    Attributes
    ----------
    folder : Path
    board : Path
    output : Path
        Rig TOML to write; one that is there is kept as OUTPUT.bak.
    intrinsics : Path or None
        A calibration whose intrinsics are a weak prior.
    plots : Path or None
        Folder for pictures.
    floor_frame : int
        Frame in which the board lies on the floor; -1: none.
    world : Path or None
        What fixes the world, see `flows.world.world_of`.
    intrinsics_only : bool
    max_frames : int
        Frames searched per camera.
    fisheye : bool
        Lenses of more than some 120 degrees: Kannala-Brandt instead of Brown-Conrady.
    """

    folder: Path
    board: Path
    output: Path
    intrinsics: Path | None = None
    plots: Path | None = None
    floor_frame: int = -1
    world: Path | None = None
    intrinsics_only: bool = False
    max_frames: int = 900
    fisheye: bool = False


def run_calibration(job: CalibrationJob, progress: Progress | None = None) -> CalibratedFootage:
    """Calibrate, and write rig and pictures.

    Parameters
    ----------
    job : CalibrationJob
    progress : callable
        Told of each camera how many images were searched, of how many.

    Raises
    ------
    CalibrationError
        Footage, board or intrinsics that do not do; nothing is written then.
    StorageError
        The results cannot be written, or would replace something that is no calibration.
    """
    from calibration.camera import Lens
    from calibration.collect import CollectSettings
    from calibration.footage_calibration import FootageSettings, calibrate_footage
    from calibration.formats import read_rig, write_rig_toml
    from calibration.settings import CalibrationSettings
    from calibration.targets import read_board

    check_output(job)
    board = read_board(job.board)
    settings = FootageSettings(
        estimate=CalibrationSettings(lens=Lens.FISHEYE if job.fisheye else Lens.BROWN_CONRADY),
        floor_frame=job.floor_frame,
        intrinsics_only=job.intrinsics_only,
        collect=CollectSettings(max_frames=job.max_frames),
    )
    known = read_rig(job.intrinsics) if job.intrinsics else None
    result = calibrate_footage(job.folder, board, settings, known, progress)
    if job.world is not None:
        from flows.world import placed

        result = placed(result, job.world)
    with atomic_path(job.output) as temporary:
        write_rig_toml(result.rig, temporary)
        keep_earlier(job.output, temporary)
    if job.plots is not None:
        from calibration.plots import draw_calibration
        from mocap.storage.atomic import write_bytes

        for name, picture in draw_calibration(result).items():
            write_bytes(job.plots / name, picture)
    return result


def check_output(job: CalibrationJob) -> None:
    """Refuse, before hours of work, to write what is not asked for.

    Raises
    ------
    CalibrationError
        The output is not named as TOML, or is one of the inputs.
    StorageError
        There is a file of that name that is no calibration.
    """
    if job.output.suffix.lower() != ".toml":
        raise CalibrationError(
            "a rig file is TOML", expected="--output RIG.toml", found=job.output.name,
            hint="other formats: mocap convert-calibration RIG.toml OUT --to FORMAT",
        )  # fmt: skip
    if not job.output.exists():
        return
    inputs = {"--board": job.board, "--world": job.world, "--intrinsics": job.intrinsics}
    for option, path in inputs.items():
        if path is not None and path.exists() and path.samefile(job.output):
            raise CalibrationError(
                "the output would replace an input", expected="another --output", found=f"the file given as {option}",
                where=str(job.output),
            )  # fmt: skip
    if job.output.is_file() and not _is_rig(job.output):
        raise StorageError(
            "this file is no calibration; it is left as it is", where=str(job.output), hint="take another --output"
        )


def _is_rig(path: Path) -> bool:
    """Whether a file is an earlier calibration (or empty), which a new one may replace."""
    import tomllib

    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False
    return not tables or any(isinstance(t, dict) and "matrix" in t for t in tables.values())


def backup_of(output: Path) -> Path:
    """Where the calibration that a new one replaces is kept."""
    return output.with_name(output.name + ".bak")


def keep_earlier(output: Path, new: Path) -> None:
    """Keep the earlier calibration under its backup's name where the new one differs."""
    if output.is_file() and output.read_bytes() not in (b"", new.read_bytes()):
        with atomic_path(backup_of(output)) as temporary:
            temporary.write_bytes(output.read_bytes())


def board_of(session: Session) -> Path | None:
    """The board definition where the session is calibrated from footage, else None.

    Raises
    ------
    CalibrationError
        A folder without board.toml, and none named in session.toml.
    """
    table: SessionTable = session.config.session
    folder = session.resolve(table.calibration)
    if not folder.is_dir():
        return None
    board = session.resolve(table.board) if table.board else folder / BOARD_FILE
    if not board.is_file():
        raise CalibrationError(
            "the calibration footage has no board definition", expected=str(board), found="no such file",
            where=str(session.settings_file), hint='write one, or set board = "FILE" in [session]',
        )  # fmt: skip
    return board


def session_inputs(session: Session) -> dict[str, Path]:
    """Every file that the session's calibration depends on, by the name under which it is remembered.

    Raises
    ------
    SettingsError
        `calibrate.world` names a file that is not there.
    """
    board, folder = board_of(session), session.resolve(session.config.session.calibration)
    world = session.config.settings.calibrate.world
    inputs = {"file world": session.resolve(world)} if world else {}
    for path in inputs.values():
        if not path.is_file():
            raise SettingsError(
                "calibrate.world names no file", expected="a file that fixes the world, relative to the session",
                found=world, where=str(path), hint="correct it in session.toml",
            )  # fmt: skip
    if board is None:
        return {"file calibration": folder, **inputs}
    return {"file board": board, **{f"file {p.relative_to(folder)}": p for p in footage_files(folder)}, **inputs}


def footage_files(folder: Path) -> list[Path]:
    """The files of a folder of footage that a calibration reads, sorted; nothing is opened."""
    from calibration.footage import IMAGE_SUFFIXES, VIDEO_SUFFIXES
    from calibration.footage_times import OFFSETS, TIMESTAMPS

    kinds = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".npz"}
    return sorted(
        p for p in folder.rglob("*")
        if p.is_file() and (p.suffix.lower() in kinds or p.name in (TIMESTAMPS, OFFSETS)) and not p.name.startswith(".")
    )  # fmt: skip


def calibrate_session(session: Session) -> tuple[CameraRig, str]:
    """The rig of the session's calibration footage, and its report (JSON).

    Raises
    ------
    CalibrationError
        As `calibration.footage_calibration.calibrate_footage`; or footage that gives intrinsics alone.
    """
    from calibration.footage_calibration import calibrate_footage
    from calibration.targets import read_board

    board = board_of(session)
    folder = session.resolve(session.config.session.calibration)
    if board is None:
        raise CalibrationError("the calibration is a file, not footage", where=str(folder))
    result = calibrate_footage(folder, read_board(board), footage_settings(session.config.settings.calibrate))
    if not result.report.poses:
        raise CalibrationError(
            "this footage gives intrinsics alone, not where the cameras stand", where=str(folder),
            expected="frames in which several cameras see the board at the same time",
            hint="add them, e.g. in extrinsics/, or rename the folder if `intrinsics` says it wrongly",
        )  # fmt: skip
    if world := session.config.settings.calibrate.world:
        from flows.world import placed

        result = placed(result, session.resolve(world))
    return result.rig, result.report.to_json()


def read_session_rig(session: Session) -> CameraRig:
    """The rig of the session's calibration file, in the world that its settings fix.

    Raises
    ------
    CalibrationError
        Files that are no calibration, or that fix no world.
    """
    from calibration.formats import read_rig

    rig = read_rig(session.resolve(session.config.session.calibration))
    if world := session.config.settings.calibrate.world:
        from calibration.world_frame import in_world
        from flows.world import world_of

        rig = in_world(rig, world_of(rig, session.resolve(world)))
    return rig


def footage_settings(settings: CalibrateSettings) -> FootageSettings:
    """The settings of session.toml as those of the library."""
    from calibration.camera import Lens
    from calibration.collect import CollectSettings
    from calibration.footage_calibration import FootageSettings
    from calibration.settings import CalibrationSettings

    return FootageSettings(
        estimate=CalibrationSettings(lens=Lens.FISHEYE if settings.fisheye else Lens.BROWN_CONRADY),
        floor_frame=settings.floor_frame,
        collect=CollectSettings(max_frames=settings.max_frames),
    )
