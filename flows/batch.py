"""Many sessions in one go: one program of its own per session, a bounded number side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from flows.prefect_server import prefect_api
from mocap.errors import SessionError


@dataclass(frozen=True)
class Outcome:
    """How the run of one session ended.

    Attributes
    ----------
    root : Path
    ok : bool
    said : str
        Its last line, or its error message.
    """

    root: Path
    ok: bool
    said: str


def find_sessions(root: Path) -> list[Path]:
    """The session folders in and below a folder, by name; SessionError when there are none."""
    found = sorted(p.parent for p in root.rglob("session.toml"))
    if not found:
        raise SessionError(
            "no session in this folder", expected="folders with a session.toml", where=str(root),
            hint="make them with `mocap init`",
        )  # fmt: skip
    return found


def run_batch(root: Path, jobs: int, arguments: tuple[str, ...] = ()) -> Iterator[Outcome]:
    """Bring every session below a folder up to date; a failure does not keep the others from running.

    Parameters
    ----------
    root : Path
    jobs : int
        How many sessions run side by side, 1 or more.
    arguments : tuple of str
        Further arguments of `mocap run`.

    Yields
    ------
    Outcome
        As they end. They share one Prefect server, the studio's own where PREFECT_API_URL names it.
    """
    sessions = find_sessions(root)
    # Of this process alone: a second batch may go through the same folder, unlike a second run through a session.
    with prefect_api(root.resolve() / f"batch {os.getpid()}"), ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(_run, session, arguments) for session in sessions]):
            yield future.result()


def _run(root: Path, arguments: tuple[str, ...]) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", str(root), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ok = done.returncode == 0
    message = done.stdout.strip().splitlines()[-1:] if ok else [done.stderr[max(0, done.stderr.find("mocap: ")) :]]
    return Outcome(root, ok, "".join(message).strip())
