"""Commands that look after a session: what would run, what to drop, what is damaged, what came from what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flows.config import Assignment
    from flows.run import RunOptions

SessionFolder = Annotated[Path, typer.Argument(metavar="SESSION", help="Session folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command()(clean)
    app.command()(verify)
    app.command()(provenance)
    app.command()(batch)
    app.command()(deploy)


def print_preview(session: Path, options: RunOptions, assignments: list[Assignment]) -> None:
    """`mocap run --dry-run`: what would run and why."""
    from flows.config import assign
    from flows.plan import State
    from flows.run import preview

    config = assign(session / "session.toml", assignments, write=False)
    units = preview(session, options, config)
    for u in units:
        verb = "may run" if u.state is State.WAITING else "would run"
        reasons = "; ".join(r.splitlines()[0] for r in u.reasons) or "forced"
        typer.echo(f"{verb:<10} {f'{u.stage} {u.unit}'.strip():<32} {reasons}")
    if not units:
        typer.echo("all is up to date")


def clean(
    session: SessionFolder,
    keep: Annotated[str, typer.Option(metavar="SIZE", help="How large the cache may stay, e.g. 20GB.")],
) -> None:
    """Free disk space: drop the artifacts used longest ago, never what is current."""
    from flows.maintenance import clean as clean_session
    from flows.maintenance import format_size, parse_size

    budget = parse_size(keep)
    done = clean_session(session, budget)
    for name in done.removed:
        typer.echo(f"removed {name}")
    typer.echo(f"freed {format_size(done.freed)} ({len(done.removed)} artifacts); {format_size(done.kept)} stay")
    if done.kept > budget:
        typer.echo(f"what is current takes {format_size(done.current)}, which is more than {keep}; it is never removed")


def verify(session: SessionFolder) -> None:
    """Read all inputs and artifacts anew and compare their digests; exit code 1 when one is damaged."""
    from flows.maintenance import verify as verify_session

    count = bad = 0
    for finding in verify_session(session):
        count += 1
        if finding.problem:
            bad += 1
            typer.echo(f"BAD  {finding.name}: {finding.problem} ({finding.path})")
    typer.echo(f"{count - bad} of {count} files are sound")
    if bad:
        typer.echo(
            "next: bring changed inputs back from a backup, or keep them as they are; "
            f"`mocap run {session}` makes what is needed anew",
            err=True,
        )
        raise typer.Exit(1)


def provenance(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An artifact (.h5) or an exported .npz.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a result was made from, back to the digests of the videos."""
    from flows.provenance import read_chain, to_text

    made = read_chain(file)
    if as_json:
        typer.echo(to_text(made))
        return
    names = {m.digest: m.name for m in made}
    for m in made:
        version = f", mocap {m.package_version}" if m.package_version else ""
        typer.echo(f"{m.name}  (stage version {m.version}{version})")
        typer.echo(f"  content  {m.digest}")
        for name, digest in sorted(m.inputs.items()):
            known = "" if digest in names or name.startswith("file ") else "  (not in this session)"
            typer.echo(f"  from     {digest}  {name}{known}")
        for name, digest in sorted(m.weights.items()):
            typer.echo(f"  weights  {digest}  {name}")
        if m.settings:
            typer.echo(f"  settings {', '.join(f'{k}={v}' for k, v in sorted(m.settings.items()))}")


def batch(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder with session folders in it.")],
    jobs: Annotated[int, typer.Option(help="How many sessions run side by side.", min=1)] = 1,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Last stage.")] = None,
) -> None:
    """Bring all sessions below a folder up to date; exit code 1 when one failed."""
    from flows.batch import run_batch

    failed = count = 0
    for outcome in run_batch(root, jobs, ("--until", until) if until else ()):
        count += 1
        failed += not outcome.ok
        typer.echo(f"{'ok    ' if outcome.ok else 'FAILED'} {outcome.root}: {outcome.said}")
    typer.echo(f"{count - failed} of {count} sessions are up to date")
    if failed:
        raise typer.Exit(1)


def deploy(
    pool: Annotated[str, typer.Option(help="Work pool; made when there is none of this name.")] = "mocap",
    name: Annotated[str, typer.Option(help="Name of the deployment.")] = "studio",
) -> None:
    """Let a Prefect server run sessions on workers: needs PREFECT_API_URL."""
    import os

    from flows.prefect_server import user_api

    with user_api():
        from flows.deployment import FLOW_NAME
        from flows.deployment import deploy as register

        register(pool, name)
    url = os.environ["PREFECT_API_URL"]
    typer.echo(f"{FLOW_NAME}/{name} is deployed to {url}")
    typer.echo(f"next: PREFECT_API_URL={url} prefect worker start --pool {pool}")
    typer.echo(
        f"then: PREFECT_API_URL={url} prefect deployment run '{FLOW_NAME}/{name}' --param session=/path/to/SESSION"
    )
