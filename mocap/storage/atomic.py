"""Files that exist whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from mocap.errors import StorageError

TEMPORARY_MARK = ".partial-"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name once the block ends well.

    The file is flushed to disk before the rename and the folder after it, so that a crash or a
    power cut leaves the old file or the new one. When the block raises, nothing stays.

    Raises
    ------
    StorageError
        The folder cannot be written or the disk is full; other exceptions pass through.
    """
    if path.is_dir() or not path.name:
        raise StorageError("this is a folder, not a file to write", where=str(path), hint="give a file name")
    temporary = path.with_name(f"{path.stem}{TEMPORARY_MARK}{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        # Where the folder is not one, neither is there anything to remove.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise write_error(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_error(error: OSError, path: Path) -> StorageError:
    """One message for what keeps a file from being written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    return StorageError(
        "the disk is full" if full else "cannot be written",
        found=None if full else str(error),
        where=str(path),
        hint="free some space and run the same command again; finished work is kept" if full else None,
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
