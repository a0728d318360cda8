"""Keeping a session's cache small and sound: which artifacts to drop, which files are damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.cache import Cache, Entry, Reference
from flows.config import Stage
from flows.plan import make_plan
from flows.run import remove_partial_files
from flows.session import Session
from mocap.errors import SettingsError, StorageError

_UNITS = {
    "b": 1, "": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip


def parse_size(text: str) -> int:
    """Bytes of a size such as ``20GB``, ``1.5 TiB`` or ``0``; SettingsError when it is not one."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        expected = "a number with kB, MB, GB or TB (powers of 1000), or KiB, MiB, GiB or TiB (of 1024)"
        raise SettingsError("not a size", expected=expected, found=repr(text), hint="e.g. --keep 20GB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def format_size(n_bytes: int) -> str:
    """A size for people, in powers of 1000."""
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


@dataclass(frozen=True)
class Cleaned:
    """What `clean` did.

    Attributes
    ----------
    removed : tuple of str
        The artifacts, as ``stage/key``, in the order in which they went.
    freed, kept, current : int
        Bytes that were freed, that stay, and that the current artifacts among those take.
    """

    removed: tuple[str, ...]
    freed: int
    kept: int
    current: int


def clean(root: Path, keep_bytes: int) -> Cleaned:
    """Drop the artifacts used longest ago until the cache is no larger than `keep_bytes`.

    What is current (up to date, or used last by a stage that is stale now) stays even where that is
    more; leavings of killed runs (files without their reference) go in any case.

    Raises
    ------
    SessionError
        A run works on the session.
    """
    session = Session(root)
    with session.lock():
        remove_partial_files(session.state)
        cache = Cache(session.state, session.digests)
        current = _current_keys(session, cache)
        entries = list(cache.entries())
        session.digests.save()
        sizes = {e.path: sum(p.stat().st_size for p in e.files) for e in entries}
        total = sum(sizes.values())
        in_use = sum(sizes[e.path] for e in entries if _key(e) in current)
        removed: list[Entry] = []
        for entry in sorted((e for e in entries if _key(e) not in current), key=_drop_order):
            if total <= keep_bytes and _is_whole(entry):
                break
            for path in entry.files:
                path.unlink()
            total -= sizes[entry.path]
            removed.append(entry)
    return Cleaned(tuple(e.name for e in removed), sum(sizes[e.path] for e in removed), total, in_use)


def _key(entry: Entry) -> tuple[str, str]:
    return entry.path.parent.name, entry.path.stem


def _is_whole(entry: Entry) -> bool:
    return entry.reference is not None and entry.path.exists()


def _drop_order(entry: Entry) -> tuple[bool, int, str]:
    """Useless files first, then by last use, then by name so that equal times have one order."""
    used = max((p.stat().st_mtime_ns for p in entry.files), default=0)
    return _is_whole(entry), used, entry.name


def _current_keys(session: Session, cache: Cache) -> set[tuple[str, str]]:
    keys = set()
    for u in make_plan(session, cache):
        before = cache.current(u.stage, u.unit)
        keys |= {(u.stage.value, r.key) for r in (u.reference, before) if r is not None}
    return keys


@dataclass(frozen=True)
class Finding:
    """A file that `verify` read.

    Attributes
    ----------
    name : str
        What it is, for people.
    path : Path
    problem : str
        Empty when it is sound.
    """

    name: str
    path: Path
    problem: str = ""


def verify(root: Path) -> Iterator[Finding]:
    """Read every input and artifact of a session anew and compare it with its digest.

    An input is sound when it is what the current results were made from; one that nothing was made
    from yet is only read. What is found is remembered, so that the next run makes damaged artifacts
    anew even where their size and times are those they had.

    Raises
    ------
    SessionError, SettingsError
        Not a session folder, or a run works on it.
    """
    session = Session(root, paranoid=True)
    with session.lock():
        cache = Cache(session.state, session.digests)
        used = list(cache.all_current())
        for name, path in _inputs(session).items():
            yield Finding(f"input {name}", path, _input_problem(session, path, _recorded(used, name)))
        for entry in cache.entries():
            yield Finding(f"artifact {entry.name}", entry.path, _artifact_problem(session, entry))
        session.digests.save()


def _inputs(session: Session) -> dict[str, Path]:
    table = session.config.session
    from flows.calibration import session_inputs

    found = {name.removeprefix("file "): path for name, path in session_inputs(session).items()}
    if table.keypoints:
        found["keypoints"] = session.resolve(table.keypoints)
    return {**found, **session.videos}


def _recorded(used: list[Reference], name: str) -> set[str]:
    """The digests that an input had when it was used."""
    digests = set()
    for i in (r.ingredients for r in used):
        if i.stage == Stage.CALIBRATE and f"file {name}" in i.inputs:
            role = f"file {name}"
        elif i.stage == Stage.DETECT and name == (i.unit.rpartition("/")[0] or "keypoints"):
            role = "file video" if i.unit else "file keypoints"
        else:
            continue
        if role in i.inputs:
            digests.add(i.inputs[role])
    return digests


def _input_problem(session: Session, path: Path, recorded: set[str]) -> str:
    if not path.is_file():
        return "it is missing"
    try:
        found = session.digests.digest(path)
    except StorageError as error:
        return f"it cannot be read ({error.found})"
    if not recorded or found in recorded:
        return ""
    return f"it is not what the results were made from: SHA-256 {min(recorded)[:8]} -> {found[:8]}"


def _artifact_problem(session: Session, entry: Entry) -> str:
    if not entry.path.exists():
        return "its artifact is gone"
    if entry.reference is None:
        return "its reference is missing or damaged"
    try:
        found = session.digests.digest(entry.path)
    except StorageError as error:
        return f"it cannot be read ({error.found})"
    expected = entry.reference.digest
    return "" if found == expected else f"it is damaged: SHA-256 {expected[:8]} -> {found[:8]}"
