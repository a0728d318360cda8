"""Commands that work without a session: detect, lift, models, training, demo, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mocap.devices import DeviceChoice

models_app = typer.Typer(help="Network weights: list them, fetch them, say where they are.", no_args_is_help=True)

Device = Annotated[DeviceChoice, typer.Option(help="Where the network runs.")]
Output = Annotated[Path, typer.Option(help="File to write.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command()(demo)
    app.command()(detect)
    app.command()(lift)
    app.command("train-lifter")(train_lifter)
    app.command("train-detector")(train_detector)
    app.command()(doctor)
    app.add_typer(models_app, name="models")


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to work in.")] = Path("mocap-demo"),
    frames: Annotated[int, typer.Option(help="Length of the capture.", min=30)] = 90,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Make a small capture with known ground truth and process it, from video to BVH and a score."""
    from flows.demo import run_demo

    run_demo(folder, frames, device)


def detect(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files, one per camera.")],
    output: Output,
    detector: Annotated[str, typer.Option(help="Detector, see `mocap models list`.")] = "blazepose",
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Find people in videos and write their 2D keypoints (.npz)."""
    from rich.console import Console
    from rich.progress import Progress

    from flows.footage import check_footage, probe_footage
    from flows.initialise import find_videos
    from flows.parsing import parse_table
    from flows.progress import gone_on_error
    from mocap.detection.merge import merge_cameras
    from mocap.detection.settings import DetectionSettings
    from mocap.detection.stage import detect_video
    from mocap.devices import resolve_device
    from mocap.interchange import write_keypoints

    settings = parse_table(DetectionSettings, {"detector": detector}, "--detector")
    found = find_videos(videos)
    footage = {name: probe_footage(path) for name, path in found.items()}
    check_footage(footage)
    views = []
    with gone_on_error(Progress(console=Console(stderr=True))) as progress:
        for name, path in found.items():
            bar = progress.add_task(name, total=footage[name].n_frames)
            views.append(
                detect_video(
                    path,
                    settings,
                    resolve_device(device),
                    progress=lambda n, bar=bar: progress.advance(bar, n),  # type: ignore[misc]
                    camera=name,
                )
            )
    keypoints = merge_cameras(views)
    write_keypoints(keypoints, output)
    seen = (keypoints.confidence > 0).any(-1).any(-1).mean(-1)
    for name, share in zip(keypoints.cameras, seen, strict=True):
        typer.echo(f"{name}: a person in {100 * share:.1f} % of {len(keypoints.frames)} frames")
    typer.echo(f"{output}")


def lift(
    windows: Annotated[Path, typer.Argument(metavar="FILE.npz", help="Windows of 2D keypoints, see the README.")],
    output: Output,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Lift windows of 2D keypoints (H36M-17) of one view to 3D."""
    from mocap.devices import resolve_device
    from mocap.lifting.lift import lift_file

    lift_file(windows, output, device=resolve_device(device))
    typer.echo(f"{output}")


def train_lifter(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Motion files (HDF5) or folders of BVH files.")],
    output: Annotated[Path, typer.Option(help="Weights file to write (.npz); checkpoint and log lie beside it.")],
    cameras: Annotated[Path | None, typer.Option(help="Human3.6M-style camera parameters (JSON).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Training setting, e.g. minutes=30.")
    ] = None,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Train LiftNet on motion capture data; called again, it goes on where it stopped."""
    from flows.parsing import parse_assignments, parse_table
    from mocap.lifting.settings import TrainingSettings
    from mocap.lifting.training import train

    chosen = parse_table(TrainingSettings, parse_assignments(settings or []), "train-lifter")
    report = train(data, output, device, chosen, cameras)
    typer.echo(
        f"{output}: {report.step} steps; validation MPJPE {report.exact:.1f} mm exact, {report.noisy:.1f} mm noisy, "
        f"with known bones {report.exact_bones:.1f} / {report.noisy_bones:.1f} mm"
    )


def train_detector(
    output: Annotated[Path, typer.Option(help="Weights file to write (.pth); checkpoint and log lie beside it.")],
    rendered: Annotated[int, typer.Option(help="Rendered pictures to train on (0.3 MB of memory each).")] = 0,
    coco: Annotated[Path | None, typer.Option(help="Annotations in COCO's keypoint format (JSON).")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the annotated images.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights to start from; not read once there is a checkpoint.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Training setting, e.g. network=hrnet_w32.")
    ] = None,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Train a 2D detector on rendered people or labelled images; called again, it goes on where it stopped."""
    from flows.parsing import parse_assignments, parse_table
    from mocap.detection.labelled import gather
    from mocap.detection.training import train_detector as train
    from mocap.detection.training_settings import DetectorTraining
    from mocap.devices import resolve_device

    chosen = parse_table(DetectorTraining, parse_assignments(settings or []), "train-detector")
    pictures = gather(chosen, rendered=rendered, coco=coco, images=images)
    report = train(pictures, output, resolve_device(device), chosen, start=start)
    scores = (
        ""
        if report.pck_10 != report.pck_10
        else (f", PCK@0.1 {100 * report.pck_10:.1f} %, PCK@0.2 {100 * report.pck_20:.1f} %")
    )
    typer.echo(f"{output}: {report.step} steps; validation loss {report.validation_loss:.5f}{scores}")
    typer.echo(f"next: mocap models add {chosen.network.value} {output}")


def doctor() -> None:
    """Check this machine: versions, GPU, weights, video, drawing without a display."""
    from flows.doctor import examine

    findings = examine()
    width = max(len(f.subject) for f in findings)
    for f in findings:
        typer.echo(f"{'ok ' if f.ok else 'BAD'}  {f.subject:<{width}}  {f.text}")
    if not all(f.ok for f in findings):
        raise typer.Exit(1)


@models_app.command("list")
def models_list() -> None:
    """List the networks that can be used, and whether their weights are here."""
    from mocap.models import MODELS, is_available

    for name, entry in MODELS.items():
        here = "here" if is_available(name) else "not here"
        size = f"{entry.input_size[0]}x{entry.input_size[1]}"
        typer.echo(
            f"{name:<16} {here:<9} {entry.licence:<14} {entry.skeleton or 'boxes':<12} {size:<8} "
            f"{entry.accuracy}; {entry.origin}"
        )


@models_app.command("pull")
def models_pull(name: str) -> None:
    """Fetch the weights of a network into the user's cache and check them."""
    from mocap.models import pull

    typer.echo(f"{pull(name)}")


@models_app.command("add")
def models_add(
    name: str, file: Annotated[Path, typer.Argument(metavar="FILE", help="The file or folder you downloaded.")]
) -> None:
    """Take weights that you downloaded into the user's cache and check that they fit."""
    import torch

    from mocap.detection.detector import check_weights
    from mocap.models import add, entry

    if file.exists():
        check_weights(entry(name).name, file, torch.device("cpu"))
    typer.echo(f"{add(name, file)}")


@models_app.command("path")
def models_path(name: str) -> None:
    """Say where the weights of a network are."""
    from mocap.models import model_path

    typer.echo(f"{model_path(name)}")
