"""From footage and a board to observations: detection, common times, checks that name camera and file."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.board_detection import View, detect_all
from calibration.board_symmetry import agree_on_orientation
from calibration.errors import CalibrationError, SettingsError
from calibration.footage import Clip, Footage
from calibration.frame_selection import select_poses
from calibration.mismatch import explain_nothing_seen, require_whole_board
from calibration.observations import TargetObservations
from calibration.probe import cameras_without_board
from calibration.targets import BoardDefinition

Ints = NDArray[np.int64]

# Fewer corners than a homography needs say nothing about a view by itself.
_FEWEST_CORNERS = 4
# Views whose corners are this far, in squares, from any perspective image of the board are of another board.
_OUT_OF_SHAPE = 0.25
# Poses seen by one camera only are apart in time, so that no motion is read into them.
_GAP_S = 1000.0
# Few images are all searched thoroughly, of many enough show the board plainly.
_SEARCHED_THOROUGHLY = 60

# Called with (camera, images searched, images to search), from several threads.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CollectSettings:
    """How footage is searched for the target.

    Attributes
    ----------
    max_frames : int
        Frames looked at per clip, evenly spread over the recording.
    max_poses : int
        Target poses kept, chosen for coverage.
    threads : int
        Images searched at a time; 0 takes all cores.
    """

    max_frames: int = 900
    max_poses: int = 400
    threads: int = 0

    def __post_init__(self) -> None:
        if self.max_frames < 1 or self.max_poses < 1 or self.threads < 0:
            raise SettingsError(
                "calibration settings out of range", expected="max_frames >= 1, max_poses >= 1, threads >= 0",
                found=f"max_frames={self.max_frames}, max_poses={self.max_poses}, threads={self.threads}",
            )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Collected:
    """What was seen of the target.

    Attributes
    ----------
    observations : TargetObservations
        Poses in which cameras look together come first, then those of single cameras.
    frame : int64 [B]
        Frame number (instant) of each pose; that of the camera's own clip for single ones.
    is_shared : bool [B]
        Whether equal poses are seen at equal time by all cameras.
    looked_at, seen : int64 [C]
        Images searched, and images with enough corners.
    timing : str
        Where times come from.
    notes : tuple of str
        What a person should know.
    """

    observations: TargetObservations
    frame: Ints
    is_shared: NDArray[np.bool_]
    looked_at: Ints
    seen: Ints
    timing: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Seen:
    """One view with where and when."""

    camera: int
    instant: int
    seconds: float
    shared: bool
    view: View


@dataclass(frozen=True, eq=False)
class _Job:
    """The search of one clip."""

    clip: Clip
    shared: bool
    wanted: Ints
    threads: int
    said: Callable[[int], None]


def collect(
    footage: Footage, board: BoardDefinition, settings: CollectSettings | None = None, progress: Progress | None = None
) -> Collected:
    """Find the board in footage and choose the poses to calibrate from.

    Parameters
    ----------
    footage : Footage
    board : BoardDefinition
    settings : CollectSettings
    progress : callable
        Told of each camera how many images were searched, of how many.

    Raises
    ------
    CalibrationError
        A camera that never shows the board (with what it shows instead), or a board whose corners do
        not lie as the definition says.
    """
    settings = settings or CollectSettings()
    cameras = footage.cameras
    clips = [(c, True, _wanted(footage, c, settings.max_frames)) for c in footage.shared]
    clips += [(c, False, _evenly(np.arange(c.n_frames), settings.max_frames)) for c in footage.alone]
    looked_at = np.zeros(len(cameras), np.int64)
    for clip, _, wanted in clips:
        looked_at[cameras.index(clip.camera)] += len(wanted)
    threads = settings.threads or os.cpu_count() or 1
    # Where a glimpse saw no board may be none at all: those cameras first, so that a vain search is over soon.
    doubtful = cameras_without_board(footage, board, dict(zip(cameras, looked_at.tolist(), strict=True)), threads)
    if progress is not None:
        for camera, n in zip(cameras, looked_at.tolist(), strict=True):
            progress(camera, 0, n)
    found: list[_Seen] = []
    for first in (True, False):
        chosen = [c for c in clips if (c[0].camera in doubtful) is first]
        found += _search_all(footage, board, chosen, threads, _counters(clips, looked_at, cameras, progress))
        seen = np.bincount([s.camera for s in found], minlength=len(cameras)).astype(np.int64)
        for clip, _, _ in chosen:
            c = cameras.index(clip.camera)
            if seen[c] == 0:
                raise explain_nothing_seen(clip, board, looked_at[c])
    return _assemble(footage, board, _in_order(found), settings.max_poses, looked_at, seen)


def _counters(
    clips: list[tuple[Clip, bool, Ints]], looked_at: Ints, cameras: tuple[str, ...], progress: Progress | None
) -> dict[Path, Callable[[int], None]]:
    """For each clip what to call with the number of its images that were searched."""

    def counter(camera: str, before: int, total: int) -> Callable[[int], None]:
        return lambda n: progress(camera, before + n, total) if progress is not None else None

    out: dict[Path, Callable[[int], None]] = {}
    before = dict.fromkeys(cameras, 0)
    for clip, _, wanted in clips:
        out[clip.path] = counter(clip.camera, before[clip.camera], int(looked_at[cameras.index(clip.camera)]))
        before[clip.camera] += len(wanted)
    return out


def _search_all(
    footage: Footage, board: BoardDefinition, clips: list[tuple[Clip, bool, Ints]], threads: int,
    counters: dict[Path, Callable[[int], None]],
) -> list[_Seen]:  # fmt: skip
    """The views of all clips, several searched side by side."""
    if not clips:
        return []
    side_by_side = min(threads, len(clips))
    each = max(1, threads // side_by_side)
    jobs = [_Job(clip, shared, wanted, each, counters[clip.path]) for clip, shared, wanted in clips]
    with ThreadPoolExecutor(side_by_side) as pool:
        return [s for part in pool.map(lambda job: _search(footage, board, job), jobs) for s in part]


def _in_order(found: list[_Seen]) -> list[_Seen]:
    """By clip as the footage has them, whichever was searched first."""
    return sorted(found, key=lambda s: (not s.shared, s.camera))


def _evenly(frames: Ints, most: int) -> Ints:
    if len(frames) <= most:
        return frames
    return np.unique(frames[np.linspace(0, len(frames) - 1, most).round().astype(np.int64)])


def _wanted(footage: Footage, clip: Clip, most: int) -> Ints:
    """Positions of the frames of the chosen instants: the same instants for every camera."""
    every = np.unique(np.concatenate([i[i >= 0] for i in footage.instants.values()]))
    chosen = _evenly(every, most)
    return np.flatnonzero(np.isin(footage.instants[clip.camera], chosen)).astype(np.int64)


def _search(footage: Footage, board: BoardDefinition, job: _Job) -> list[_Seen]:
    found = []
    clip, camera = job.clip, footage.cameras.index(job.clip.camera)
    thorough = len(job.wanted) <= _SEARCHED_THOROUGHLY
    positions = []
    views = detect_all(board, clip.frames(job.wanted), job.threads, thorough=thorough)
    for n, (position, view) in enumerate(zip(job.wanted, views, strict=True), start=1):
        job.said(n)
        if len(view) < _FEWEST_CORNERS:
            continue
        positions.append(position)
        if job.shared:
            instant = int(footage.instants[clip.camera][position])
            seconds = float(footage.frame_times[clip.camera][position])
        else:
            instant, seconds = int(clip.numbers[position] if clip.numbers else position), float("nan")
        found.append(_Seen(camera, instant, seconds, job.shared, view))
    require_whole_board(clip, board, np.array(positions, dtype=np.int64))
    return found


def _assemble(
    footage: Footage, board: BoardDefinition, found: list[_Seen], max_poses: int, looked_at: Ints, seen: Ints
) -> Collected:
    instants = sorted({s.instant for s in found if s.shared})
    row = {instant: b for b, instant in enumerate(instants)}
    alone = [s for s in found if not s.shared]
    pose_of = [row[s.instant] for s in found if s.shared] + list(range(len(row), len(row) + len(alone)))
    ordered = [s for s in found if s.shared] + alone
    B = len(row) + len(alone)
    times = np.zeros(B)
    for instant, b in row.items():
        stamps = [s.seconds for s in ordered if s.shared and s.instant == instant]
        times[b] = np.mean(stamps)
    last = times[: len(row)].max() if row else 0.0
    times[len(row) :] = last + _GAP_S * np.arange(1, len(alone) + 1)
    count = [len(s.view) for s in ordered]
    observations = TargetObservations(
        cameras=footage.cameras,
        sizes=tuple(footage.size(c) for c in footage.cameras),
        points=board.points,
        times=times,
        camera=np.repeat([s.camera for s in ordered], count).astype(np.int64),
        pose=np.repeat(pose_of, count).astype(np.int64),
        point=np.concatenate([s.view.ids for s in ordered]),
        pixel=np.concatenate([s.view.pixel for s in ordered]),
    )
    _check_shape(observations, board, footage)
    frame = np.array([*instants, *(s.instant for s in alone)], dtype=np.int64)
    kept = select_poses(observations, max_poses)
    observations = _only(observations, kept)
    is_shared = (np.arange(B) < len(row))[kept]
    if board.symmetric:
        observations = agree_on_orientation(observations)
    return Collected(observations, frame[kept], is_shared, looked_at, seen, footage.timing)


def _only(o: TargetObservations, kept: NDArray[np.bool_]) -> TargetObservations:
    """The observations of the poses `kept` [B], renumbered."""
    number = np.cumsum(kept) - 1
    rows = kept[o.pose]
    return TargetObservations(
        o.cameras, o.sizes, o.points, o.times[kept], o.camera[rows], number[o.pose[rows]], o.point[rows], o.pixel[rows]
    )


def _check_shape(o: TargetObservations, board: BoardDefinition, footage: Footage) -> None:
    """Refuse a board whose corners lie otherwise than defined in most views of a camera."""
    import cv2

    key = o.pose * len(o.cameras) + o.camera
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) > 0, True])
    wrong, judged = np.zeros(len(o.cameras)), np.zeros(len(o.cameras))
    for a, b in zip(starts[:-1], starts[1:], strict=True):
        rows = order[a:b]
        if len(rows) < 6:
            continue
        plane = np.ascontiguousarray(o.points[o.point[rows], :2])
        # From the image to the board: distances are in squares wherever the board is.
        H, _ = cv2.findHomography(o.pixel[rows], plane, 0)
        camera = o.camera[rows[0]]
        judged[camera] += 1
        if H is None:
            continue
        p = np.c_[o.pixel[rows], np.ones(len(rows))] @ np.asarray(H).T
        with np.errstate(divide="ignore", invalid="ignore"):
            miss = np.linalg.norm(p[:, :2] / p[:, 2:] - plane, axis=1) / board.square_m
        wrong[camera] += not np.median(miss) < _OUT_OF_SHAPE
    bad = int(np.argmax(wrong / np.maximum(judged, 1)))
    if wrong[bad] > 0.5 * max(judged[bad], 1):
        raise CalibrationError(
            f"the board that camera {o.cameras[bad]} sees is not the one defined",
            expected=str(board), found=f"corners that lie otherwise in {wrong[bad]:.0f} of {judged[bad]:.0f} views",
            where=str(next(c.path for c in (*footage.shared, *footage.alone) if c.camera == o.cameras[bad])),
            hint="count columns and rows of squares; a board before OpenCV 4.6 needs legacy = true",
        )  # fmt: skip
