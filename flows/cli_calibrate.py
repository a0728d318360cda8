"""The command that calibrates cameras from footage of a board or wand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    world_points: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Measured scene points that fix the world.")
    ] = None,
    intrinsics_only: Annotated[bool, typer.Option("--intrinsics-only", help="Lenses alone, no places.")] = False,
    max_frames: Annotated[int, typer.Option(min=1, help="Frames searched per camera, evenly spread.")] = 900,
    as_json: Annotated[bool, typer.Option("--json", help="Print the quality report as JSON.")] = False,
) -> None:
    """Calibrate cameras from footage of a board or wand, and say how good the result is."""
    from flows.calibration import CalibrationJob, run_calibration

    job = CalibrationJob(
        footage, board, output, intrinsics, plots, floor_frame, world_points, intrinsics_only, max_frames
    )
    result = run_calibration(job)
    if as_json:
        typer.echo(result.report.to_json())
        return
    typer.echo(result.report.to_text())
    typer.echo(f"{output}: {len(result.rig)} cameras, estimated in {result.seconds:.1f} s")
