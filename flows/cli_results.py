"""Commands that read a session's results: export, evaluate, view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_export import export

SessionFolder = Annotated[Path, typer.Argument(metavar="SESSION", help="Session folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command()(export)
    app.command()(evaluate)
    app.command()(view)


def evaluate(
    predictions: Annotated[
        list[Path], typer.Argument(metavar="SESSION|FILE.npz...", help="What to score; several stand side by side.")
    ],
    ground_truth: Annotated[
        Path, typer.Option(help="Ground truth: npz, h5, mat, trc, bvh, c3d, or a folder of CMU Panoptic JSON.")
    ],
    select: Annotated[
        str, typer.Option(metavar="PART", help='Part of the ground truth: "S9/Walking 1" of Human3.6M, a camera.')
    ] = "",
    protocol: Annotated[str, typer.Option(help="pose, shelf (PCP), or auto: by the joints of the truth.")] = "auto",
    association: Annotated[str, typer.Option(help="People paired by track, or per frame: nearest, fullest.")] = "track",
    align: Annotated[str, typer.Option(help="Take off one transform of the take: none, rigid, similarity.")] = "none",
    frame_offset: Annotated[int, typer.Option(help="Added to the result's frame numbers.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Also draw errors per joint and over time (.png).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score results against ground truth: MPJPE and friends, per joint, over time, worst frames; or PCP."""
    from flows.parsing import parse_table
    from flows.score import describe_all, describe_shelf, is_shelf, load_prediction, score_json, shelf_json
    from flows.score_plot import plot_scores
    from mocap.errors import SettingsError
    from mocap.metrics import EvaluationSettings, evaluate_shelf, read_ground_truth
    from mocap.metrics import evaluate as score

    values = {"association": association, "alignment": align, "frame_offset": frame_offset}
    settings = parse_table(EvaluationSettings, values, "evaluate")
    truth = read_ground_truth(ground_truth, select)
    if is_shelf(protocol, truth):
        if plot is not None:
            raise SettingsError("PCP is not drawn", expected="--plot with errors of poses", where="--plot")
        parts = {str(p): evaluate_shelf(load_prediction(p), truth, settings) for p in predictions}
        _echo_scores({n: shelf_json(s) for n, s in parts.items()} if as_json else describe_shelf(parts))
    else:
        results = {str(p): score(load_prediction(p), truth, settings) for p in predictions}
        if plot is not None:
            plot_scores(results, plot)
        _echo_scores({n: score_json(s) for n, s in results.items()} if as_json else describe_all(results))


def _echo_scores(scores: str | dict[str, dict[str, object]]) -> None:
    """Text as it is; JSON of one result bare, of several by name."""
    if isinstance(scores, str):
        typer.echo(scores)
    else:
        typer.echo(json.dumps(next(iter(scores.values())) if len(scores) == 1 else scores, indent=1))


def view(
    session: SessionFolder,
    render: Annotated[Path | None, typer.Option(help="Write a .mp4 or .png instead of opening a window.")] = None,
    overlay: Annotated[
        str | None, typer.Option(metavar="CAMERA", help="With --render FILE.mp4: draw on this camera's video.")
    ] = None,
) -> None:
    """Show the result in 3D, or render it to a file without a display."""
    from flows.show import overlay_result, render_result, show_result
    from mocap.errors import SettingsError

    if overlay is not None and (render is None or render.suffix.lower() != ".mp4"):
        raise SettingsError("--overlay draws on a video", expected="--overlay CAMERA --render FILE.mp4")
    if render is None:
        show_result(session)
        return
    if overlay is None:
        render_result(session, render)
    else:
        overlay_result(session, overlay, render)
    typer.echo(f"{render}")
