"""Seeing a session's result: a window, or pictures and videos without a display."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from calibration.camera import CameraRig
from flows.config import Stage
from flows.results import Results
from mocap.storage.alignment_record import AlignmentRecord
from mocap.storage.rig_record import RigRecord
from mocap.types import Trajectories3D


def current_result(root: Path) -> tuple[Trajectories3D, CameraRig]:
    """The filtered trajectories and the rig as it stood; raises when they are not up to date."""
    results = Results(root)
    trajectories = results.read(Stage.FILTER, Trajectories3D)
    alignment = results.read(Stage.SYNCHRONISE, AlignmentRecord)
    rig = results.read(Stage.CALIBRATE, RigRecord).to_rig().select(alignment.cameras)
    return trajectories, alignment.to_correction().apply(rig)


def show_result(root: Path) -> None:
    """Open the viewer's window."""
    from mocap.viewer.window import show

    trajectories, rig = current_result(root)
    show(trajectories, rig)


def render_result(root: Path, output: Path) -> None:
    """Render the result to .mp4 or .png, with a progress bar."""
    from mocap.viewer.render import render

    trajectories, rig = current_result(root)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"rendering {output.name}", total=None)
        render(
            trajectories, output, rig, progress=lambda done, total: progress.update(bar, completed=done, total=total)
        )


def overlay_result(root: Path, camera: str, output: Path) -> None:
    """Draw the result on the video of one camera, with a progress bar.

    Raises
    ------
    CalibrationError
        There is no such camera.
    SessionError
        The session was made from keypoints, without videos.
    """
    from mocap.errors import SessionError
    from mocap.viewer.overlay import overlay_trajectories

    trajectories, rig = current_result(root)
    chosen = rig.select([camera]).cameras[0]
    videos = Results(root).session.videos
    if camera not in videos:
        raise SessionError("this session has no videos to draw on", where=str(root), hint="view it without --overlay")
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"drawing on {camera}", total=None)
        overlay_trajectories(
            videos[camera],
            trajectories,
            chosen,
            output,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
