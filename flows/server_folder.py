"""Where a private Prefect server keeps its database: a folder per run in the user's cache, gone after it.

A run that was killed cannot remove its folder; the next private server does, whichever session it is for.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_OWNED = "in-use"
"""A file that the owner of a folder keeps locked: the lock ends with the process, however it ends."""


def home_of(session_root: Path) -> Path:
    """Where Prefect keeps its database for a session."""
    from mocap.cache_folder import cache_folder

    return cache_folder() / "prefect" / hashlib.sha256(str(session_root).encode()).hexdigest()[:16]


def _prepared_database(home: Path) -> Path:
    """A database of this Prefect version that no run has used: creating its tables anew takes seconds."""
    return home.parent / f"prepared-{importlib.metadata.version('prefect')}.db"


def copy_prepared_database(home: Path) -> bool:
    """Put the prepared database in place; False where there is none that is whole."""
    database, prepared = home / "prefect.db", _prepared_database(home)
    if not prepared.is_file():
        return False
    try:
        shutil.copyfile(prepared, database)
        with contextlib.closing(sqlite3.connect(database)) as copy:
            whole = copy.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            if whole and copy.execute("SELECT version_num FROM alembic_version").fetchall():
                return True
        logger.info("the prepared database is damaged; another is made")
    except (OSError, sqlite3.Error) as error:
        logger.info("the prepared database cannot be used; another is made: %s", error)
    for path in (database, prepared):
        path.unlink(missing_ok=True)
    return False


def keep_prepared_database(home: Path) -> None:
    """Keep a copy of a new server's database for later runs; SQLite's own backup folds the write-ahead log in."""
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


@contextlib.contextmanager
def taken(home: Path) -> Iterator[None]:
    """An empty folder of one's own while the context lasts; folders whose owners are dead are removed."""
    for mark in home.parent.glob(f"*/{_OWNED}"):
        _remove_if_left(mark)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    own = home / f"{_OWNED}.{os.getpid()}"
    with own.open("wb") as file:
        # Locked before it has the name that others look for.
        fcntl.flock(file, fcntl.LOCK_EX)
        os.replace(own, home / _OWNED)
        yield


def _remove_if_left(mark: Path) -> None:
    try:
        with mark.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.parent, ignore_errors=True)
    except OSError:
        return  # its owner lives, or it has just gone
