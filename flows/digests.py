"""Content digests of files, remembered so that large videos are read once."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property
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


class DigestMemo:
    """Digests by path, valid while size, times and inode stay the same.

    Those of artifacts have a file of their own: there are thousands in a long session, and whoever
    works on one of its parts only asks for the inputs'.

    Parameters
    ----------
    path : Path
        JSON file that keeps the inputs' digests between runs; a missing or damaged one starts empty.
    paranoid : bool
        Read every file anew.
    """

    def __init__(self, path: Path, *, paranoid: bool = False) -> None:
        self._inputs, self._artifacts = _Table(path), _Table(path.with_name("artifacts.json"))
        self._cache = os.path.join(path.parent.resolve(), "cache", "")
        self._paranoid = paranoid
        self._checked: set[str] = set()

    def digest(self, path: Path) -> str:
        """Hex SHA-256 of the file's content; StorageError when it cannot be read."""
        name = str(path.resolve())
        try:
            status = os.stat(name)
        except OSError as error:
            raise StorageError("no such file", found=str(error), where=str(path)) from error
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        table = self._artifacts if name.startswith(self._cache) else self._inputs
        entry = table.entries.get(name)
        must_read = self._paranoid and name not in self._checked
        if entry is None or entry[0] != stamp or must_read:
            entry = [stamp, hash_file(path)]
            table.entries[name] = entry
            table.changed = True
        self._checked.add(name)
        return str(entry[1])

    def save(self) -> None:
        """Keep the memo for the next run; files that are gone are forgotten."""
        self._inputs.save()
        self._artifacts.save()


class _Table:
    """One file of a memo: per path, what must be unchanged for its digest to hold, and the digest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.changed = False

    @cached_property
    def entries(self) -> dict[str, list[Any]]:
        content = unseal(self._path)
        well_formed = isinstance(content, dict) and all(isinstance(e, list) and len(e) == 2 for e in content.values())
        return content if well_formed else {}

    def save(self) -> None:
        if self.changed:
            kept = {name: entry for name, entry in self.entries.items() if os.path.exists(name)}
            write_bytes(self._path, seal(kept))
            self.changed = False
