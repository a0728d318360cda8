"""Seeing a session's result: a window, the browser, or pictures and videos without a display."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from flows.config import Stage
from flows.progress import gone_on_error
from flows.results import Results
from mocap.errors import SessionError
from mocap.storage.alignment_record import AlignmentRecord
from mocap.storage.rig_record import RigRecord
from mocap.types import Source, Trajectories3D

if TYPE_CHECKING:
    from mocap.viewer.clip import Clip
    from mocap.viewer.exhibit import Exhibit
    from mocap.viewer.settings import ViewSettings

BEFORE = "before"
"""What `--compare` calls the result before it was smoothed."""


def open_exhibit(root: Path, compare: str = "", settings: ViewSettings | None = None) -> Exhibit:
    """The smoothed result of a session with its cameras and footage; read as it is looked at.

    Parameters
    ----------
    root : Path
    compare : str
        Also show `before` (the result before smoothing), or a file of poses: ground truth, another result.
    settings : ViewSettings, optional
        How far back trails will reach.

    Raises
    ------
    SessionError
        A result is not up to date.
    DataError
        The file to compare with is of no known kind.
    """
    from mocap.viewer.clip import FileClip
    from mocap.viewer.exhibit import Detections, Exhibit

    results = Results(root)
    clip = FileClip(results.path(Stage.FILTER), settings.trail_s if settings is not None else 0.0)
    alignment = results.read(Stage.SYNCHRONISE, AlignmentRecord)
    rig = alignment.to_correction().apply(results.read(Stage.CALIBRATE, RigRecord).to_rig().select(alignment.cameras))
    times, seconds = alignment.to_time_model(), clip.frames / clip.fps
    videos = results.session.videos
    frames = {
        name: times.nearest_frames(v, seconds, clip.fps) for v, name in enumerate(times.cameras) if name in videos
    }
    other = FileClip(results.path(Stage.LIFT)) if compare == BEFORE else _poses(compare) if compare else None
    detections = Detections(results.path(Stage.MATCH))
    return Exhibit(clip, rig, other, videos, frames, results.session.root.name, detections)


def _poses(path: str) -> Clip:
    """A file of poses as a clip."""
    from mocap.metrics import read_ground_truth
    from mocap.viewer.clip import MemoryClip

    poses = read_ground_truth(Path(path), "")
    order = np.argsort(poses.frames)
    positions = poses.positions[order].astype(np.float32)
    shape = positions.shape[:3]
    there = np.asarray(np.isfinite(positions).all(-1))
    return MemoryClip(
        Trajectories3D(
            positions=np.where(there[..., None], positions, np.nan),
            covariance=np.full((*shape, 3, 3), np.nan, np.float32),
            source=np.where(there, Source.TRIANGULATED, Source.MISSING).astype(np.uint8),
            reprojection_error=np.full(shape, np.nan, np.float32),
            consistency=np.full(shape, np.nan, np.float32),
            views_used=np.zeros(shape, np.uint64),
            person_ids=poses.person_ids, frames=poses.frames[order], joint_names=poses.joint_names,
            fps=poses.fps if poses.fps > 0 else 1.0,
        )
    )  # fmt: skip


def show_result(root: Path, settings: ViewSettings | None = None, compare: str = "") -> None:
    """Open the viewer's window."""
    from mocap.viewer.window import show

    show(open_exhibit(root, compare, settings), settings)


def serve_result(root: Path, settings: ViewSettings | None = None, compare: str = "", port: int | None = None) -> None:
    """Show the result in the browser, to this machine only, until Ctrl-C."""
    from mocap.viewer.web import WebView

    exhibit = open_exhibit(root, compare, settings)
    view = WebView(exhibit, settings, *([] if port is None else [port]))
    ended = threading.Event()
    before = {s: signal.signal(s, lambda *_: ended.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    Console(stderr=True).print(f"open {view.url} in a browser on this machine; Ctrl-C ends it", soft_wrap=True)
    try:
        view.run(ended)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def render_result(root: Path, output: Path, settings: ViewSettings | None = None, compare: str = "") -> None:
    """Render the result to .mp4 or .png, with a progress bar."""
    from mocap.viewer.render import render

    exhibit = open_exhibit(root, compare, settings)
    with gone_on_error(_bar()) as progress:
        bar = progress.add_task(f"rendering {output.name}", total=None)
        render(
            exhibit.clip, output, exhibit.rig, settings,
            lambda done, total: progress.update(bar, completed=done, total=total), exhibit.other,
        )  # fmt: skip


def overlay_result(root: Path, camera: str, output: Path) -> None:
    """Draw the result on the video of one camera, with a progress bar.

    Raises
    ------
    CalibrationError
        There is no such camera.
    SessionError
        The session was made from keypoints, without videos.
    """
    from mocap.viewer.overlay import overlay_clip

    exhibit = open_exhibit(root)
    assert exhibit.rig is not None
    chosen = exhibit.rig.select([camera]).cameras[0]
    if camera not in exhibit.videos:
        raise SessionError("this session has no videos to draw on", where=str(root), hint="view it without --overlay")
    with gone_on_error(_bar()) as progress:
        bar = progress.add_task(f"drawing on {camera}", total=None)
        overlay_clip(
            exhibit.videos[camera], exhibit.clip, chosen, output, exhibit.video_frames[camera],
            lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip


def _bar() -> Progress:
    """A line with what is done, the rate and the time left; silent where nobody watches."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"),
        TaskProgressColumn(show_speed=True), TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
