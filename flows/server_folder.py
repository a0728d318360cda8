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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

_OWNED = "in-use"
"""A file that the owner of a folder keeps locked: the lock ends with the process, however it ends."""
_OLD_S = 7 * 86400.0
"""Folders without that file are of earlier versions, or of a moment in which all was lost; after a week they go."""


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
    """An empty folder of one's own, gone when the context ends; folders whose owners are dead are removed, too."""
    home.parent.mkdir(parents=True, exist_ok=True)
    # One process at a time looks through the folders or makes one, so that nobody meets one that is half made.
    with (home.parent / "lock").open("a+b") as all_folders:
        _lock(all_folders, fcntl.LOCK_EX)
        for folder in home.parent.iterdir():
            if folder.is_dir():
                _remove_if_left(folder)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(exist_ok=True)
        owned = (home / _OWNED).open("w+b")
        _lock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with owned:
        try:
            yield
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _lock(file: IO[bytes], how: int) -> None:
    """Lock where the file system can; without, folders of killed runs stay until the same session runs again."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        logger.info("folders of the workflow engine are not locked: %s", error)


def _remove_if_left(folder: Path) -> None:
    try:
        with (folder / _OWNED).open("r+b") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # its owner is just removing it
            if time.time() - folder.stat().st_mtime > _OLD_S:
                shutil.rmtree(folder)
    except OSError:
        return  # its owner lives, or nothing can be locked here
