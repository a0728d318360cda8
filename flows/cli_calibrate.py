"""The command that calibrates cameras from footage of a board or wand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from calibration.collect import Progress


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(calibrate)


def calibrate(
    footage: Annotated[Path, typer.Argument(metavar="FOOTAGE_DIR", help="One video or folder of images per camera.")],
    board: Annotated[Path, typer.Option(metavar="BOARD.toml", help="What the board or wand is.")],
    output: Annotated[Path, typer.Option(metavar="RIG.toml", help="Calibration to write.")],
    intrinsics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Calibration whose intrinsics are a weak prior.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Draw residuals, coverage and the rig.")] = None,
    floor_frame: Annotated[
        int, typer.Option(metavar="FRAME", help="Frame in which the board lies on the floor: z = 0 there.")
    ] = -1,
    world: Annotated[
        Path | None,
        typer.Option(
            "--world",
            "--world-points",
            metavar="FILE",
            help="What fixes the world: measured points or an L-frame (.toml), or a person who walks (.npz keypoints).",
        ),
    ] = None,
    intrinsics_only: Annotated[bool, typer.Option("--intrinsics-only", help="Lenses alone, no places.")] = False,
    max_frames: Annotated[int, typer.Option(min=1, help="Frames searched per camera, evenly spread.")] = 900,
    fisheye: Annotated[
        bool, typer.Option("--fisheye", help="Fisheye lenses (Kannala-Brandt), 120 degrees and more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the quality report as JSON.")] = False,
) -> None:
    """Calibrate cameras from footage of a board or wand, and say how good the result is.

    A calibration that is there already under the name of the output is kept as RIG.toml.bak.
    """
    from flows.calibration import CalibrationJob, backup_of, run_calibration

    job = CalibrationJob(
        footage, board, output, intrinsics, plots, floor_frame, world, intrinsics_only, max_frames, fisheye
    )
    replaced = output.is_file() and output.read_bytes()
    with _bars() as progress:
        result = run_calibration(job, progress)
    if replaced and replaced != output.read_bytes():
        typer.echo(f"note: {output} was there already; it is kept as {backup_of(output).name}", err=True)
    if as_json:
        typer.echo(result.report.to_json())
        return
    typer.echo(result.report.to_text())
    typer.echo(f"{output}: {len(result.rig)} cameras, estimated in {result.seconds:.1f} s")


@contextmanager
def _bars() -> Iterator[Progress]:
    """Show on stderr how far the search is in each camera, then that the estimation runs."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from flows.progress import gone_on_error

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with gone_on_error(Progress(*columns, console=Console(stderr=True))) as bars:
        rows: dict[str, TaskID] = {}
        glimpse = bars.add_task("looking for the target", total=None)
        left: dict[str, int] = {}

        def show(camera: str, done: int, total: int) -> None:
            if camera not in rows:
                bars.update(glimpse, visible=False)
                rows[camera] = bars.add_task(camera, total=total)
            bars.update(rows[camera], completed=done, total=total)
            left[camera] = total - done
            if not any(left.values()):
                bars.update(glimpse, description="estimating", visible=True)

        yield show
        bars.update(glimpse, total=1, completed=1)
