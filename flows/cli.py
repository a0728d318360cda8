"""The command line. Heavy libraries are imported inside the commands, so that help is immediate."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import cli_calibrate, cli_calibration_files, cli_maintenance, cli_report, cli_results, cli_tools
from mocap.devices import DeviceChoice
from mocap.errors import MocapError

if TYPE_CHECKING:
    from flows.cache import Cache
    from flows.config import Stage
    from flows.plan import UnitPlan
    from flows.run import RunOptions

app = typer.Typer(
    name="mocap",
    help="Multi-camera motion capture: videos in, clean 3D motion out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SessionFolder = Annotated[Path, typer.Argument(metavar="SESSION", help="Session folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StageName = Annotated[str | None, typer.Option(metavar="STAGE")]


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with errors.")] = False,
) -> None:
    """Multi-camera motion capture: videos in, clean 3D motion out."""


@app.command()
def init(
    session: SessionFolder,
    videos: Annotated[list[Path] | None, typer.Option(help="Folder or video files, one per camera.")] = None,
    more_videos: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More video files.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Calibration file, or a folder that holds one.")] = None,
    keypoints: Annotated[Path | None, typer.Option(help="2D keypoints (.npz) instead of videos.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second, where the videos say it wrong.")] = None,
    sync: Annotated[
        str, typer.Option(help="auto | genlocked | motion: motion for cameras that started, or run, each for itself.")
    ] = "auto",
) -> None:
    """Make a session folder from videos (or 2D keypoints) and a calibration."""
    from flows.initialise import NewSession, initialise

    files = [*(videos or []), *(more_videos or [])]
    cameras = initialise(NewSession(session, files, keypoints, calibration, fps, sync))
    typer.echo(f"{session}: {len(cameras)} cameras ({', '.join(c.name for c in cameras)})")
    typer.echo(f"next: mocap run {session}")


@app.command()
def run(
    session: SessionFolder,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Last stage.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Make this stage and all after it anew.")
    ] = None,
    force: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Make a stage anew though it is up to date.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Change a setting in session.toml.")
    ] = None,
    device: Annotated[DeviceChoice, typer.Option(help="Where the networks run.")] = DeviceChoice.AUTO,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and why; change nothing.")] = False,
    paranoid: Annotated[
        bool, typer.Option("--paranoid", help="Read all inputs and artifacts anew; do not trust sizes and times.")
    ] = False,
    cluster: Annotated[
        str, typer.Option(metavar="tcp://HOST:PORT", help="Dask scheduler whose workers do the work.")
    ] = "",
) -> None:
    """Bring a session up to date: only what a change made stale is run."""
    from rich.console import Console

    from flows.board import show_progress
    from flows.config import Assignment, assign
    from flows.run import run_session
    from flows.session import Session

    options = replace(_run_options(until, start, force or [], device), paranoid=paranoid, cluster=cluster)
    assignments = [Assignment.parse(text) for text in set_ or []]
    if dry_run:
        cli_maintenance.print_preview(session, options, assignments)
        return
    if assignments:
        # Not under the feet of a run that reads them.
        with Session(session).lock():
            assign(session / "session.toml", assignments)
    for a in assignments:
        typer.echo(f"session.toml: {a.stage}.{a.key} = {a.value}")
    console = Console(stderr=True)
    record = run_session(session, options, lambda s, units: show_progress(console, s, units))
    if record is None:
        typer.echo("all is up to date")
    else:
        for warning in record.warnings:
            typer.echo(f"note: {warning}", err=True)
        typer.echo(f"made {', '.join(_by_stage(record.made))} in {record.seconds:.1f} s")


def _run_options(until: str | None, start: str | None, force: list[str], device: DeviceChoice) -> RunOptions:
    from flows.config import Stage
    from flows.run import RunOptions

    return RunOptions(
        until=_stage(until, "--until") if until else Stage.SOLVE,
        start=_stage(start, "--from") if start else None,
        force=tuple(_stage(name, "--force") for name in force),
        device=device,
    )


def _stage(name: str, where: str) -> Stage:
    from flows.config import Stage
    from flows.parsing import nearest
    from mocap.errors import SettingsError

    names = [s.value for s in Stage]
    if name not in names:
        raise SettingsError(f"there is no stage {name!r}", where=where, hint=nearest(name, names))
    return Stage(name)


def _by_stage(made: list[str]) -> list[str]:
    counts: dict[str, int] = {}
    for unit in made:
        counts[unit.partition("/")[0]] = counts.get(unit.partition("/")[0], 0) + 1
    return [stage if n == 1 else f"{stage} ({n} parts)" for stage, n in counts.items()]


@app.command()
def status(session: SessionFolder, as_json: AsJson = False) -> None:
    """Say for each stage whether it is up to date, and since when."""
    from flows.cache import Cache
    from flows.plan import make_plan
    from flows.session import Session

    opened = Session(session)
    cache = Cache(opened.state, opened.digests)
    plan = make_plan(opened, cache)
    if as_json:
        typer.echo(json.dumps([_unit_json(u) | _audit_json(u, cache) for u in plan], indent=1))
        return
    for u in plan:
        made = (
            f"{u.reference.made_at}  {u.reference.seconds:8.2f} s  {u.reference.size / 1e6:8.2f} MB"
            if u.reference
            else ""
        )
        name = f"{u.stage} {u.unit}".strip()
        typer.echo(f"{name:<32} {u.state.value:<11} {made}{'; '.join(r.splitlines()[0] for r in u.reasons)}")


def _unit_json(u: UnitPlan) -> dict[str, object]:
    reference = asdict(u.reference) if u.reference else None
    return {"stage": u.stage, "unit": u.unit, "state": u.state, "reasons": u.reasons, "artifact": reference}


def _audit_json(u: UnitPlan, cache: Cache) -> dict[str, object]:
    """What the match stage decided, where that is up to date (`mocap.matching.summary`)."""
    from flows.config import Stage
    from flows.plan import State

    if u.stage is not Stage.MATCH or u.state is not State.UP_TO_DATE or u.reference is None:
        return {}
    from mocap.matching.summary import summarise
    from mocap.storage.hdf5 import read_record
    from mocap.types import Matches

    table = asdict(summarise(read_record(cache.path(Stage.MATCH, u.reference.key), Matches)))
    for row in table["views"]:
        row["score_px"] = row["score_px"] if row["seen"] else None  # JSON knows no NaN
    return {"audit": table}


@app.command()
def why(session: SessionFolder, stage: Annotated[str, typer.Argument(metavar="STAGE")]) -> None:
    """Say why a stage is stale: which input, setting, weights or version changed, old and new value."""
    from flows.cache import Cache
    from flows.plan import State, make_plan
    from flows.session import Session

    wanted = _stage(stage, "why")
    opened = Session(session)
    plan = make_plan(opened, Cache(opened.state, opened.digests))
    for u in (u for u in plan if u.stage is wanted):
        typer.echo(f"{f'{u.stage} {u.unit}'.strip()} is {u.state.value}")
        for reason in u.reasons:
            typer.echo(f"  {reason}")
        if u.state is State.WAITING:
            causes = [p for p in plan if p.state in (State.STALE, State.MISSING, State.FAILED)]
            for p in causes:
                typer.echo(f"  {f'{p.stage} {p.unit}'.strip()} is {p.state.value}: {'; '.join(p.reasons)}")


# After the commands above: help lists them in this order.
cli_results.register(app)
cli_tools.register(app)
cli_calibration_files.register(app)
cli_calibrate.register(app)
cli_maintenance.register(app)
cli_report.register(app)


def main() -> None:
    """Run the command line; an error of ours ends in one message and exit code 1."""
    debug = "--debug" in sys.argv
    if debug:
        # Accepted anywhere on the line, as people add it to the end of the command that failed.
        sys.argv.remove("--debug")
    try:
        app()
    except MocapError as error:
        if debug:
            raise
        typer.echo(f"mocap: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        typer.echo(f"mocap: {error}", err=True)
        sys.exit(1)
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError) as error:
        if debug:
            raise
        typer.echo(f"mocap: an unexpected error\n  found:    {type(error).__name__}: {error}\n"
                   "  next:     run the same command with --debug and report what it shows", err=True)  # fmt: skip
        sys.exit(1)


if __name__ == "__main__":
    main()
