"""A Prefect API for one run: the studio's own, or a private one that ends with the program.

The private server listens on loopback only, keeps its database in the user's cache (never in
~/.prefect), sends no telemetry, and exits when its parent does, however that ends: it watches a
pipe that the operating system closes with the parent.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from flows.collector import collector_paused
from flows.server_folder import copy_prepared_database, home_of, keep_prepared_database, taken
from mocap.errors import DependencyError, SettingsError

logger = logging.getLogger(__name__)

_START_LIMIT_S = 300.0  # seconds on an idle machine; one that is short of memory takes its time
_API_LIMIT_S = 10.0
_API_ATTEMPTS = 3
_GLANCE_S = 0.05

_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLI_PROMPT": "false",
}

_IDLE_SERVICES = (
    "SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "CLEANUP_RECONCILER", "TRIGGERS",
    "DB_VACUUM",
)  # fmt: skip
"""What a server that lives for one run has no use for: nothing is scheduled, paused, cancelled or old."""

_PRIVATE = {
    **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _IDLE_SERVICES},
    # Its only client sends no tokens (see _KNOWN), whatever the user has set for servers of their own.
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "false",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false",
}

_PREPARED = {
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    # Else all of Prefect's collections, with Dask, are imported only to see whether they changed.
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
}
"""For a server that finds its tables made and filled: that costs it seconds."""

_KNOWN = {"PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
"""For a client of a private server: questions whose answers are known."""


@contextlib.contextmanager
def prefect_api(
    session_root: Path, meanwhile: Callable[[Callable[[], bool]], None] | None = None, results: Path | None = None
) -> Iterator[bool]:
    """Make a Prefect API available to this process; call before Prefect is imported.

    Parameters
    ----------
    session_root : Path
    meanwhile : callable or None
        What to do while a private server starts, such as to import Prefect: both take seconds. Called with a
        function that tells whether the server is up.
    results : Path or None
        Where tasks leave what they return, when they run on other machines: a folder that all see.

    Yields
    ------
    bool
        Whether the server is a private one.

    Raises
    ------
    DependencyError
        The private server did not start, or the user's own does not answer.
    """
    url = os.environ.get("PREFECT_API_URL")
    # A client of the user's server must not share, or remove, the folder of a private one.
    home = home_of(session_root / f"client {os.getpid()}") if url else home_of(session_root)
    for name, value in {**_QUIET, "PREFECT_HOME": str(home)}.items():
        os.environ.setdefault(name, value)
    if results is not None:
        os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(results)
    try:
        if url:
            check_api(url)
            yield False
        else:
            with _private_server(home, meanwhile):
                keep_prepared_database(home)  # now: its tables are made, and no run is in them yet
                yield True
    finally:
        # Nothing in them is needed again: what a run did is in the session's own record.
        if url:
            shutil.rmtree(home, ignore_errors=True)
        if results is not None:
            os.environ.pop("PREFECT_LOCAL_STORAGE_PATH", None)
            shutil.rmtree(results, ignore_errors=True)


@contextlib.contextmanager
def user_api() -> Iterator[None]:
    """The Prefect server that the user names, for what makes no sense on a private one.

    Raises
    ------
    SettingsError
        PREFECT_API_URL is not set.
    DependencyError
        The server does not answer.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise SettingsError(
            "no Prefect server is named", expected="PREFECT_API_URL=http://HOST:4200/api", found="it is not set",
            hint="start one with `prefect server start`",
        )  # fmt: skip
    with prefect_api(Path.cwd()):
        yield


def check_api(url: str) -> None:
    """See that a Prefect server answers.

    Raises
    ------
    DependencyError
        It does not, or what answers is not one.
    """
    found = ""
    for attempt in range(_API_ATTEMPTS):
        if attempt:
            time.sleep(1.0)
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=_API_LIMIT_S):
                return
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                return  # it wants credentials, which Prefect itself knows
            found = f"HTTP {error.code} {error.reason}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            found = str(getattr(error, "reason", error)) or type(error).__name__
    raise DependencyError(
        "the Prefect server does not answer", expected="an address such as http://HOST:4200/api",
        found=found, where=f"PREFECT_API_URL={url}",
        hint="start it with `prefect server start`, or unset PREFECT_API_URL to use a private one",
    )  # fmt: skip


@contextlib.contextmanager
def _private_server(home: Path, meanwhile: Callable[[Callable[[], bool]], None] | None) -> Iterator[None]:
    with taken(home):
        yield from _serving(home, meanwhile)


def _serving(home: Path, meanwhile: Callable[[Callable[[], bool]], None] | None) -> Iterator[None]:
    prepared = copy_prepared_database(home)
    log = home / "server.log"
    # The socket is bound here and handed over, so that nobody can take the port in between.
    with log.open("wb") as output, socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = int(listener.getsockname()[1])
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.prefect_server", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=_server_environment(home, prepared=prepared),
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a terminal's Ctrl-C is ours to handle; the pipe ends the server
        )
    try:
        _speak_directly_to("127.0.0.1")
        with _environment({**_KNOWN, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}):
            if meanwhile is not None:
                meanwhile(lambda: _answers(port, within=_GLANCE_S))
            _wait_until_up(server, port, log)
            yield
    finally:
        if prepared:
            server.kill()  # nothing of it is kept
        else:
            server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for as long as the context lasts; then what the user had is back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _server_environment(home: Path, *, prepared: bool) -> dict[str, str]:
    """The server's own folder and database, whatever the user has set for another one."""
    database = f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    place = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
    }
    return {**os.environ, **_PRIVATE, **(_PREPARED if prepared else {}), **place}


def _speak_directly_to(host: str) -> None:
    """Ask no proxy for it, where the environment names one for everything."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), host)))


def _wait_until_up(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        if _answers(port, within=2):
            return
        time.sleep(0.05)
    tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
    raise DependencyError(
        "the private Prefect server did not start",
        found=tail[0],
        where=str(log),
        hint="run the command again; if it stays so, start `prefect server start` and set PREFECT_API_URL",
    )


def _answers(port: int, within: float) -> bool:
    """Whether the private server answers within some seconds; while it starts, it lets one wait."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=within):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _serve(descriptor: int) -> None:
    """Run the server on a socket that listens already, until the parent's end of stdin closes."""
    import threading

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    with collector_paused():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    server.run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
