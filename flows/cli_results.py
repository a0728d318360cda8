"""Commands that read a session's results: export, evaluate, view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_export import export
from flows.cli_view import view

if TYPE_CHECKING:
    from mocap.metrics import EvaluationSettings, Poses3D

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
        Path,
        typer.Option(
            help="Ground truth: npz, npy, h5, mat, trc, bvh, c3d, a folder of CMU Panoptic JSON, or a rig (.toml)."
        ),
    ],
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART", help='Part of the ground truth: "S9/Walking 1", a camera. Once, or one per result.'
        ),
    ] = None,
    protocol: Annotated[str, typer.Option(help="pose, shelf (PCP), or auto: by the joints of the truth.")] = "auto",
    association: Annotated[str, typer.Option(help="People paired by track, or per frame: nearest, fullest.")] = "track",
    align: Annotated[str, typer.Option(help="Take off one transform of the take: none, rigid, similarity.")] = "none",
    frame_offset: Annotated[int, typer.Option(help="Added to the result's frame numbers.")] = 0,
    camera: Annotated[
        str, typer.Option(metavar="RIG:NAME", help="Turn the truth into the axes of this camera of a calibration file.")
    ] = "",
    search_offset: Annotated[int, typer.Option(help="Look for the best offset within so many frames.")] = 0,
    joints: Annotated[str, typer.Option(metavar="A,B,...", help="Only these joints count.")] = "",
    plot: Annotated[Path | None, typer.Option(help="Also draw errors per joint and over time (.png).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score results against ground truth: MPJPE and friends, per joint, over time, worst frames; or PCP."""
    from flows.parsing import parse_table
    from flows.score import describe_shelf, in_axes_of, is_shelf, load_prediction, shelf_json
    from flows.score_rigs import describe_rigs, rigs_json, score_rigs
    from mocap.errors import SettingsError
    from mocap.metrics import EvaluationSettings, evaluate_shelf, read_ground_truth

    if ground_truth.suffix.lower() == ".toml":
        rigs = score_rigs(predictions, ground_truth, align)
        _echo_scores(rigs_json(rigs) if as_json else describe_rigs(rigs))
        return
    values = {"association": association, "alignment": align, "frame_offset": frame_offset,
              "search_offset": search_offset, "joints": joints}  # fmt: skip
    settings = parse_table(EvaluationSettings, values, "evaluate")
    parts_wanted = select or [""]
    if len(parts_wanted) not in (1, len(predictions)):
        raise SettingsError("--select does not fit the results", expected=f"once, or {len(predictions)} times",
                            found=f"{len(parts_wanted)} times", where="--select")  # fmt: skip
    if len(parts_wanted) > 1:
        _evaluate_parts(predictions, ground_truth, parts_wanted, camera, settings, plot, as_json)
        return
    truth = in_axes_of(read_ground_truth(ground_truth, parts_wanted[0]), camera, parts_wanted[0])
    if is_shelf(protocol, truth):
        if plot is not None:
            raise SettingsError("PCP is not drawn", expected="--plot with errors of poses", where="--plot")
        parts = {str(p): evaluate_shelf(load_prediction(p), truth, settings) for p in predictions}
        _echo_scores({n: shelf_json(s) for n, s in parts.items()} if as_json else describe_shelf(parts))
    else:
        _evaluate_poses(predictions, truth, settings, plot, as_json)


def _evaluate_poses(
    predictions: list[Path], truth: Poses3D, settings: EvaluationSettings, plot: Path | None, as_json: bool
) -> None:
    from flows.score import describe_all, load_prediction, score_json
    from flows.score_plot import plot_scores
    from mocap.metrics import evaluate as score

    results = {str(p): score(load_prediction(p), truth, settings) for p in predictions}
    if plot is not None:
        plot_scores(results, plot)
    _echo_scores({n: score_json(s) for n, s in results.items()} if as_json else describe_all(results))


def _evaluate_parts(
    predictions: list[Path], ground_truth: Path, parts: list[str], camera: str, settings: EvaluationSettings,
    plot: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Each result against its own part of the ground truth, and the averages over actions and over samples."""
    from flows.score import average_text, averages_json, describe_all, in_axes_of, load_prediction, score_json
    from flows.score_plot import plot_scores
    from mocap.metrics import evaluate as score
    from mocap.metrics import read_ground_truth
    from mocap.metrics.action_averages import average_actions

    results = {
        f"{part} ({p})" if parts.count(part) > 1 else part: score(
            load_prediction(p), in_axes_of(read_ground_truth(ground_truth, part), camera, part), settings
        )
        for p, part in zip(predictions, parts, strict=True)
    }
    averages = average_actions(parts, list(results.values()))
    if plot is not None:
        plot_scores(results, plot)
    if as_json:
        scores = {n: score_json(s) for n, s in results.items()}
        typer.echo(json.dumps({**averages_json(averages), "sequences": scores}, indent=1))
    else:
        typer.echo(f"{describe_all(results)}\n\n{average_text(averages)}")


def _echo_scores(scores: str | dict[str, dict[str, object]]) -> None:
    """Text as it is; JSON of one result bare, of several by name."""
    if isinstance(scores, str):
        typer.echo(scores)
    else:
        typer.echo(json.dumps(next(iter(scores.values())) if len(scores) == 1 else scores, indent=1))
