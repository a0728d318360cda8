"""The command that reports on a session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command()(report)


def report(
    session: Annotated[Path, typer.Argument(metavar="SESSION", help="Session folder.")],
    output: Annotated[Path | None, typer.Option(help="HTML file; SESSION/reports/report.html if not given.")] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="Also score the result against it (any kind that `mocap evaluate` reads).")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Also write the curves of misfit by time offset as SVG into this folder.")
    ] = None,
) -> None:
    """Write one HTML file that says how good a session is and what to look at."""
    from flows.report import write_plots, write_report

    typer.echo(f"{write_report(session, output, ground_truth)}")
    if plots is not None:
        for path in write_plots(session, plots):
            typer.echo(f"{path}")
