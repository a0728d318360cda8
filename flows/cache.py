"""The artifact cache: content keys, references, verification.

An artifact lives at ``.mocap/cache/<stage>/<key>.h5`` beside ``<key>.json``, its reference: the
digest of the file and what it was made from. ``.mocap/current`` holds, per unit, the reference that
was used last, so that a change can be explained.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flows.config import Stage
from flows.digests import DigestMemo, canonical, hash_text
from mocap.errors import StorageError
from mocap.storage.atomic import write_bytes


@dataclass(frozen=True)
class Ingredients:
    """Everything that decides the content of an artifact.

    Attributes
    ----------
    stage : str
    unit : str
        Part of the stage (camera and frames for detect), empty where it is not parted.
    version : int
        Version of the stage's algorithm.
    settings : dict
        The settings it uses, by name.
    inputs : dict
        Content digest of each input, by name.
    weights : dict
        Digest of each network's weights, by name.
    """

    stage: str
    unit: str
    version: int
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Content key, 32 hex digits."""
        return hash_text(canonical(asdict(self)))[:32]


@dataclass(frozen=True)
class Reference:
    """An artifact that was made.

    Attributes
    ----------
    key, digest : str
        Content key, and SHA-256 of the file.
    size : int
        Bytes.
    seconds : float
        How long making it took.
    made_at : str
        ISO 8601 UTC.
    ingredients : Ingredients
    """

    key: str
    digest: str
    size: int
    seconds: float
    made_at: str
    ingredients: Ingredients

    @staticmethod
    def of(content: dict[str, Any]) -> Reference:
        """The reference that `asdict` took apart; KeyError or TypeError when it is none."""
        return Reference(**{**content, "ingredients": Ingredients(**content["ingredients"])})

    @staticmethod
    def parse(text: str) -> Reference:
        """Read the JSON text; ValueError, KeyError or TypeError when it is not one."""
        reference = Reference.of(json.loads(text))
        if reference.key != reference.ingredients.key:
            raise ValueError("the key is not that of the ingredients")  # a bit flipped, and it is still JSON
        return reference


@dataclass(frozen=True)
class Failure:
    """Why a unit failed last."""

    key: str
    message: str
    at: str


@dataclass(frozen=True)
class Entry:
    """An artifact on disk.

    Attributes
    ----------
    path : Path
        The .h5 file; it may be missing.
    reference : Reference or None
        None where it is missing or damaged.
    """

    path: Path
    reference: Reference | None

    @property
    def files(self) -> tuple[Path, ...]:
        """What of it exists, the reference first: without it the artifact counts as not made."""
        return tuple(p for p in (self.path.with_suffix(".json"), self.path) if p.exists())

    @property
    def name(self) -> str:
        """Stage and key."""
        return f"{self.path.parent.name}/{self.path.stem}"


class Cache:
    """The artifacts of one session."""

    def __init__(self, state: Path, digests: DigestMemo) -> None:
        self._state, self._digests = state, digests

    def path(self, stage: Stage, key: str) -> Path:
        """Where the artifact of a key is, whether or not it exists."""
        return self._state / "cache" / stage / f"{key}.h5"

    def lookup(self, stage: Stage, key: str) -> tuple[Reference | None, str]:
        """The verified reference of a key, or None and why there is none."""
        path = self.path(stage, key)
        try:
            reference = Reference.parse(path.with_suffix(".json").read_text())
        except FileNotFoundError:
            return None, "not made yet"
        except (OSError, ValueError, KeyError, TypeError):
            return None, "its reference is damaged"
        if reference.key != key:
            return None, "its reference is that of another"
        try:
            intact = path.stat().st_size == reference.size and self._digests.digest(path) == reference.digest
        except (OSError, StorageError):
            return None, "its artifact is gone"
        return (reference, "") if intact else (None, "its artifact is damaged")

    def record(self, reference: Reference) -> None:
        """Keep the reference of an artifact that has just been written."""
        stage = Stage(reference.ingredients.stage)
        text = canonical(asdict(reference)).encode()
        write_bytes(self.path(stage, reference.key).with_suffix(".json"), text)

    def current(self, stage: Stage, unit: str) -> Reference | None:
        """The reference that was used last for a unit."""
        return _read_reference(self._current_path(stage, unit, ".json"))

    def set_current(self, stage: Stage, unit: str, reference: Reference) -> None:
        """Remember the reference that is in use for a unit; an earlier failure is forgotten."""
        self._current_path(stage, unit, ".failed").unlink(missing_ok=True)
        before = self.current(stage, unit)
        if before != reference:
            if before is not None and before.key != reference.key:
                self._mark_used(stage, before.key)
            write_bytes(self._current_path(stage, unit, ".json"), canonical(asdict(reference)).encode())

    def stamp(self, stage: Stage, unit: str) -> tuple[int, int]:
        """What changes whenever `set_current` puts another reference in its place."""
        try:
            status = self._current_path(stage, unit, ".json").stat()
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_ino

    def all_current(self) -> Iterator[Reference]:
        """The reference that was used last, of every unit there ever was."""
        for path in sorted((self._state / "current").glob("*.json")):
            reference = _read_reference(path)
            if reference is not None:
                yield reference

    def entries(self) -> Iterator[Entry]:
        """Every artifact on disk, complete or not, in order of its path."""
        folder = self._state / "cache"
        stems = {p.with_suffix("") for suffix in (".h5", ".json") for p in folder.glob(f"*/*{suffix}")}
        for stem in sorted(stems):
            yield Entry(stem.with_suffix(".h5"), _read_reference(stem.with_suffix(".json")))

    def _mark_used(self, stage: Stage, key: str) -> None:
        """Let the time of an artifact's reference file say when the artifact was in use last."""
        with contextlib.suppress(OSError):
            os.utime(self.path(stage, key).with_suffix(".json"))

    def failure(self, stage: Stage, unit: str) -> Failure | None:
        """Why a unit failed last, if it did and nothing succeeded since."""
        try:
            return Failure(**json.loads(self._current_path(stage, unit, ".failed").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def set_failure(self, stage: Stage, unit: str, failure: Failure) -> None:
        """Remember why a unit failed."""
        write_bytes(self._current_path(stage, unit, ".failed"), canonical(asdict(failure)).encode())

    def _current_path(self, stage: Stage, unit: str, suffix: str) -> Path:
        name = f"{stage}.{unit}" if unit else stage.value
        return self._state / "current" / (name.replace("/", "_") + suffix)


def _read_reference(path: Path) -> Reference | None:
    try:
        return Reference.parse(path.read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None
