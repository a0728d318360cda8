"""From a folder of footage and a board to a calibrated rig with its quality report."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.advice import advise
from calibration.camera import CAMERA_PARAMETERS, Camera, CameraRig
from calibration.collect import Collected, CollectSettings, Progress, collect
from calibration.errors import CalibrationError
from calibration.footage import Footage, open_footage
from calibration.frame_selection import select_poses
from calibration.joint import calibrate_cameras
from calibration.observations import TargetObservations
from calibration.quality import RigQuality, ScaleCheck, assess
from calibration.report import CalibrationReport
from calibration.settings import CalibrationSettings
from calibration.solution import CalibrationSolution
from calibration.targets import BoardDefinition, TargetKind
from calibration.time_stamps import last_number
from calibration.wand_tracks import find_tracks, read_tracks
from calibration.world_frame import WorldFrame, from_board, in_world, mean_pose, upright_guess

logger = logging.getLogger(__name__)

# A board that lies still is averaged over its neighbouring frames within this distance (m).
_STILL_M = 0.01


@dataclass(frozen=True)
class FootageSettings:
    """What to make of calibration footage.

    Attributes
    ----------
    floor_frame : int
        Frame (instant) in which the board lies on the floor: it becomes the world. -1: none.
    intrinsics_only : bool
        Calibrate each camera's lens by itself.
    collect : CollectSettings
    estimate : CalibrationSettings
    """

    floor_frame: int = -1
    intrinsics_only: bool = False
    collect: CollectSettings = CollectSettings()
    estimate: CalibrationSettings = CalibrationSettings()


@dataclass(frozen=True, eq=False)
class CalibratedFootage:
    """A rig and what is known about it.

    Attributes
    ----------
    rig : CameraRig
        In the world.
    observations : TargetObservations
    solution : tuple of CalibrationSolution
        One for all cameras, or one per camera for intrinsics alone.
    report : CalibrationReport
    seconds : float
        Time of the estimation, without the search for corners.
    """

    rig: CameraRig
    observations: TargetObservations
    solution: tuple[CalibrationSolution, ...]
    report: CalibrationReport
    seconds: float


def calibrate_footage(
    folder: Path,
    board: BoardDefinition,
    settings: FootageSettings | None = None,
    known: CameraRig | None = None,
    progress: Progress | None = None,
) -> CalibratedFootage:
    """Calibrate the cameras that filmed a board (or tracked a wand).

    Parameters
    ----------
    folder : Path
        See `calibration.footage`; for a wand, a folder with one .npz of tracks.
    board : BoardDefinition
    settings : FootageSettings
    known : CameraRig
        Intrinsics known beforehand, a weak prior; cameras are paired by name, else by number.
    progress : callable
        Told of each camera how many images were searched, of how many.

    Raises
    ------
    CalibrationError
        Footage or board that does not do; names camera and file.
    """
    settings = settings or FootageSettings()
    collected, alone = _observe(folder, board, settings, progress)
    started = time.perf_counter()
    priors = pair_known(collected.observations.cameras, known)
    try:
        if alone:
            return _intrinsics(collected, board, settings, priors, started)
        return _joint(collected, board, settings, priors, started)
    except CalibrationError as error:
        # The estimation knows cameras and poses; a person needs the folder, too.
        where = f"{folder}, {error.where}" if error.where else str(folder)
        raise CalibrationError(
            error.problem, expected=error.expected, found=error.found, where=where, hint=error.hint
        ) from error


def _observe(
    folder: Path, board: BoardDefinition, settings: FootageSettings, progress: Progress | None
) -> tuple[Collected, bool]:
    """Observations, and whether each camera is to be calibrated alone."""
    if board.kind is not TargetKind.WAND:
        footage = open_footage(folder, intrinsics_only=settings.intrinsics_only)
        logger.info("%s: %d cameras, %s", folder, len(footage.cameras), footage.timing)
        _require_cameras(footage)
        return collect(footage, board, settings.collect, progress), not footage.shared
    observations, frames = read_tracks(find_tracks(folder), board)
    looked = np.full(len(observations.cameras), len(frames))
    seen = np.array([len(np.unique(observations.pose[observations.camera == c])) for c in range(len(looked))])
    shared = np.ones(len(frames), bool)
    keep = select_poses(observations, max(settings.collect.max_poses, 1000))
    observations = observations.select(keep[observations.pose])
    timing = "equal frame numbers are equal times"
    return Collected(observations, frames, shared, looked, seen, timing), False


def _require_cameras(footage: Footage) -> None:
    """Raise CalibrationError where places are wanted and there is one camera only."""
    if footage.shared and len(footage.cameras) == 1:
        raise CalibrationError(
            "one camera alone has no place among others", expected="footage of two or more cameras",
            found=f"{footage.cameras[0]} ({footage.shared[0].path.name}) only", where=str(footage.folder),
            hint="one video or one folder of images per camera; --intrinsics-only for the lens alone",
        )  # fmt: skip


def pair_known(names: tuple[str, ...], known: CameraRig | None) -> dict[str, Camera]:
    """The given camera for each name: the same name, else the same number where that is unique.

    Raises
    ------
    CalibrationError
        None of the given cameras belongs to any name.
    """
    if known is None:
        return {}
    paired: dict[str, Camera] = {}
    for name in names:
        same = [c for c in known.cameras if c.name == name]
        numbered = [c for c in known.cameras if last_number(c.name) == last_number(name) is not None]
        match = same or numbered
        if len(match) == 1:
            paired[name] = match[0]
    if not paired:
        raise CalibrationError(
            "the given intrinsics are of other cameras", expected=f"cameras named {', '.join(names)}",
            found=", ".join(known.names), hint="name them as in the footage",
        )  # fmt: skip
    return paired


def _joint(
    collected: Collected, board: BoardDefinition, settings: FootageSettings, known: Mapping[str, Camera], started: float
) -> CalibratedFootage:
    o = collected.observations
    solution = calibrate_cameras(o, settings.estimate, known)
    world = _world(collected, solution, settings.floor_frame)
    seconds = time.perf_counter() - started
    quality = assess(o, solution, board.neighbours, known)
    distance = float(np.linalg.norm(np.diff(board.points[board.neighbours[0]], axis=0)))
    report = CalibrationReport(
        str(board), collected.timing, world.source, True, quality, advise(quality, distance), collected.notes
    )
    return CalibratedFootage(in_world(solution.rig, world), o, (solution,), report, seconds)


def _world(collected: Collected, solution: CalibrationSolution, floor_frame: int) -> WorldFrame:
    if floor_frame < 0:
        return upright_guess(solution.rig)
    vectors, shifts = solution.rig_from_target
    solved = np.isfinite(shifts).all(-1) & collected.is_shared
    if not solved.any():
        raise CalibrationError("no frame with the board was solved", where="world frame")
    at = np.flatnonzero(solved & (collected.frame == floor_frame))
    if not len(at):
        nearest = collected.frame[solved][np.abs(collected.frame[solved] - floor_frame).argmin()]
        raise CalibrationError(
            f"the board on the floor is not seen in frame {floor_frame}", expected="a frame in which cameras see it",
            found=f"nearest frame that was solved: {nearest}", where="world frame",
            hint=f"use frame {nearest} if the board lies on the floor there",
        )  # fmt: skip
    still = solved & (np.linalg.norm(shifts - shifts[at[0]], axis=1) < _STILL_M)
    pose = mean_pose(vectors[still], shifts[still])
    return from_board(pose, solution.rig, f"board on the floor in frame {floor_frame}")


def _intrinsics(
    collected: Collected, board: BoardDefinition, settings: FootageSettings, known: Mapping[str, Camera], started: float
) -> CalibratedFootage:
    """Every camera by itself; no places."""
    o = collected.observations
    solutions, qualities = [], []
    for c, name in enumerate(o.cameras):
        mine = _of_camera(o, c)
        prior = {name: known[name]} if name in known else {}
        solutions.append(calibrate_cameras(mine, settings.estimate, prior))
        qualities.append(assess(mine, solutions[-1], board.neighbours, prior))
    seconds = time.perf_counter() - started
    cameras = tuple(replace(s.rig.cameras[0], R=np.eye(3), t=np.zeros(3)) for s in solutions)
    covariance = np.zeros((len(cameras), CAMERA_PARAMETERS, CAMERA_PARAMETERS))
    for c, s in enumerate(solutions):
        if s.rig.covariance is not None:
            covariance[c, :9, :9] = s.rig.covariance[0, :9, :9]
    quality = RigQuality(
        cameras=tuple(q.cameras[0] for q in qualities), rms_px=float("nan"), expected_error_mm=float("nan"),
        scale=ScaleCheck(0, float("nan"), float("nan")), poses=sum(q.poses for q in qualities), shared_poses=0,
        frame_s=float("nan"), speed_correlation=float("nan"), jitter_s=0.0,
        rms_offsets_px=(float("nan"), float("nan")),
    )  # fmt: skip
    world = "none: intrinsics only, the cameras' places are not known"
    advice = tuple(a for q in qualities for a in advise(q, board.square_m))
    report = CalibrationReport(str(board), collected.timing, world, False, quality, advice, collected.notes)
    return CalibratedFootage(CameraRig(cameras, covariance, world), o, tuple(solutions), report, seconds)


def _of_camera(o: TargetObservations, camera: int) -> TargetObservations:
    """The observations of one camera as those of a rig of one, poses renumbered."""
    rows: NDArray[np.int64] = np.flatnonzero(o.camera == camera)
    used, pose = np.unique(o.pose[rows], return_inverse=True)
    return TargetObservations(
        (o.cameras[camera],), (o.sizes[camera],), o.points, o.times[used], np.zeros(len(rows), np.int64),
        pose.astype(np.int64), o.point[rows], o.pixel[rows],
    )  # fmt: skip
