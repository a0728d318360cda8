"""A Prefect API for one run: the studio's own, or a private one that ends with the program.

The private server listens on loopback only, keeps its database in the user's cache (never in
~/.prefect), sends no telemetry, and exits when its parent does, however that ends: it watches a
pipe that the operating system closes with the parent.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from mocap.errors import DependencyError

logger = logging.getLogger(__name__)

_START_LIMIT_S = 120.0

_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLI_PROMPT": "false",
}


@contextlib.contextmanager
def prefect_api(session_root: Path, meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Make a Prefect API available to this process; call before Prefect is imported.

    Parameters
    ----------
    session_root : Path
    meanwhile : callable
        What to do while the server starts, such as to import Prefect: both take seconds.

    Raises
    ------
    DependencyError
        The private server did not start.
    """
    home = home_of(session_root)
    for name, value in {**_QUIET, "PREFECT_HOME": str(home)}.items():
        os.environ.setdefault(name, value)
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    home.mkdir(parents=True, exist_ok=True)
    _copy_prepared_database(home)
    port = _free_port()
    log = home / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.prefect_server", str(port)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ},
            start_new_session=True,  # a terminal's Ctrl-C is ours to handle; the pipe ends the server
        )
        try:
            os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
            meanwhile()
            _wait_until_up(server, port, log)
            yield
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    _keep_prepared_database(home)
    # Nothing in it is needed again: what a run did is in the session's own record.
    shutil.rmtree(home, ignore_errors=True)


def home_of(session_root: Path) -> Path:
    """Where Prefect keeps its database for a session."""
    from mocap.cache_folder import cache_folder

    return cache_folder() / "prefect" / hashlib.sha256(str(session_root).encode()).hexdigest()[:16]


def _prepared_database(home: Path) -> Path:
    """An empty-enough database of this Prefect version: creating its tables anew takes seconds."""
    return home.parent / f"prepared-{importlib.metadata.version('prefect')}.db"


def _copy_prepared_database(home: Path) -> None:
    database, prepared = home / "prefect.db", _prepared_database(home)
    if prepared.is_file() and not database.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(prepared, home / "prefect.db.part")
            os.replace(home / "prefect.db.part", database)


def _keep_prepared_database(home: Path) -> None:
    """Keep a copy for the next session; SQLite's own backup folds the write-ahead log in."""
    database, prepared = home / "prefect.db", _prepared_database(home)
    if prepared.exists() or not database.is_file():
        return
    part = prepared.with_suffix(f".{os.getpid()}")
    try:
        with contextlib.closing(sqlite3.connect(database)) as source, contextlib.closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
        os.replace(part, prepared)
    except (OSError, sqlite3.Error) as error:
        logger.info("no database was prepared for the next session: %s", error)
        part.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _wait_until_up(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
    raise DependencyError(
        "the private Prefect server did not start",
        found=tail[0],
        where=str(log),
        hint="run the command again; if it stays so, start `prefect server start` and set PREFECT_API_URL",
    )


def _serve(port: int) -> None:
    """Run the server until the parent's end of stdin closes."""
    import threading

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(create_app(), host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
