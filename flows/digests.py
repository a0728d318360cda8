"""Content digests of files, remembered so that large videos are read once."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mocap.errors import StorageError
from mocap.storage.atomic import write_bytes

_BLOCK = 1 << 22


def canonical(value: Any) -> str:
    """JSON text that is the same for the same value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def hash_text(text: str) -> str:
    """Hex SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Hex SHA-256 of a file's content.

    Raises
    ------
    StorageError
        The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise StorageError("cannot be read", found=str(error), where=str(path)) from error
    return digest.hexdigest()


def seal(value: Any) -> bytes:
    """The JSON text of a value with a checksum of its own."""
    return canonical({"content": value, "sha256": hash_text(canonical(value))}).encode()


def unseal(path: Path) -> Any:
    """The value of a sealed file, or None when it is missing or damaged."""
    try:
        sealed = json.loads(path.read_bytes())
        value, expected = sealed["content"], sealed["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if hash_text(canonical(value)) == expected else None


@dataclass(frozen=True)
class _Stamp:
    """What must be unchanged for a remembered digest to hold."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class DigestMemo:
    """Digests by path, valid while size, times and inode stay the same.

    Parameters
    ----------
    path : Path
        JSON file that keeps the memo between runs; a missing or damaged one starts empty.
    paranoid : bool
        Read every file anew.
    """

    def __init__(self, path: Path, *, paranoid: bool = False) -> None:
        self._path, self._paranoid = path, paranoid
        self._entries: dict[str, list[Any]] = _load(path)
        self._checked: set[str] = set()
        self._changed = False

    def digest(self, path: Path) -> str:
        """Hex SHA-256 of the file's content; StorageError when it cannot be read."""
        name = str(path.resolve())
        try:
            status = os.stat(name)
        except OSError as error:
            raise StorageError("no such file", found=str(error), where=str(path)) from error
        stamp = list(asdict(_Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)).values())
        entry = self._entries.get(name)
        must_read = self._paranoid and name not in self._checked
        if entry is None or entry[0] != stamp or must_read:
            entry = [stamp, hash_file(path)]
            self._entries[name] = entry
            self._changed = True
        self._checked.add(name)
        return str(entry[1])

    def save(self) -> None:
        """Keep the memo for the next run; files that are gone are forgotten."""
        if self._changed:
            kept = {name: entry for name, entry in self._entries.items() if os.path.exists(name)}
            write_bytes(self._path, seal(kept))
            self._changed = False


def _load(path: Path) -> dict[str, list[Any]]:
    content = unseal(path)
    well_formed = isinstance(content, dict) and all(isinstance(e, list) and len(e) == 2 for e in content.values())
    return content if well_formed else {}
