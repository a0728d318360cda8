"""The demo: a synthetic capture as video files, processed from the pixels and scored."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from flows.board import show_progress
from flows.cli_export import export
from flows.initialise import NewSession, initialise
from flows.progress import gone_on_error
from flows.run import RunOptions, run_session
from flows.score import describe_score, load_prediction
from flows.show import render_result
from mocap.devices import DeviceChoice
from mocap.errors import SessionError
from mocap.metrics import evaluate, read_ground_truth
from mocap.synthetic.capture import Capture, write_capture
from mocap.synthetic.scene import make_scene

SEED = 7
FPS = 30.0


def run_demo(folder: Path, frames: int, device: DeviceChoice) -> None:
    """Film, process, export, draw and score; what is there already is not made again.

    Parameters
    ----------
    folder : Path
        Gets capture/ (videos, calibration, ground truth), session/ and the results.
    frames : int
        Length of the capture.
    device : DeviceChoice

    Raises
    ------
    MocapError
        Anything that keeps a part from working.
    """
    console = Console(stderr=True)
    capture = _film(folder / "capture", frames, console)
    session = folder / "session"
    if not (session / "session.toml").exists():
        initialise(NewSession(session, list(capture.videos), None, capture.calibration, None))
    run_session(session, RunOptions(device=device), lambda s, units: show_progress(console, s, units))

    results = {kind: folder / f"demo.{kind}" for kind in ("bvh", "npz", "mp4", "png")}
    export(session, results["bvh"], "bvh")
    export(session, results["npz"], "npz")
    for kind in ("mp4", "png"):
        render_result(session, results[kind])
    score = evaluate(load_prediction(session), read_ground_truth(capture.ground_truth))
    typer.echo("\nerror against the exact truth (detector's joints mapped to H36M-17):\n")
    typer.echo(describe_score(score))
    typer.echo("")
    for kind, what in (("bvh", "animation"), ("mp4", "video"), ("png", "picture")):
        typer.echo(f"{what:<10} {results[kind]}")


def _film(folder: Path, frames: int, console: Console) -> Capture:
    """The capture in a folder, rendered unless it is there already."""
    done = folder / f"complete-{frames}"
    scene = make_scene(frames, FPS, SEED)
    if done.exists():
        videos = tuple(folder / "videos" / f"{name}.mp4" for name in scene.rig.names)
        return Capture(
            videos, folder / "calibration.toml", folder / "ground_truth.npz", folder / "ground_truth_blazepose33.npz"
        )
    if folder.exists() and any(folder.glob("complete-*")):
        raise SessionError(
            "there is a demo of another length here",
            where=str(folder),
            hint="remove the folder, or give another one: mocap demo DIR",
        )
    with gone_on_error(Progress(console=console)) as progress:
        bar = progress.add_task("filming a synthetic actor with four cameras", total=None)
        capture = write_capture(folder, scene, lambda n, total: progress.update(bar, completed=n, total=total))
    done.touch()
    return capture
