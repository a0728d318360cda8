"""What a result was made from, back to the digests of the videos."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mocap
from flows.cache import Cache, Reference
from flows.digests import DigestMemo, canonical, hash_file
from mocap.errors import StorageError
from mocap.storage.npz import read_npz

FORMAT = "mocap-provenance-1"


@dataclass(frozen=True)
class Made:
    """One artifact of a chain.

    Attributes
    ----------
    stage, unit : str
    key, digest : str
        Content key, and SHA-256 of the artifact.
    version : int
        Of the stage's algorithm.
    package_version : str
        Empty where it is not known.
    settings : dict
    inputs : dict
        Content digest by name: other artifacts, and files (``file NAME``).
    weights : dict
        Digest of each network's weights, by name.
    """

    stage: str
    unit: str
    key: str
    digest: str
    version: int
    package_version: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(reference: Reference, package_version: str = "") -> Made:
        """What a reference says."""
        i, key, digest = reference.ingredients, reference.key, reference.digest
        return Made(i.stage, i.unit, key, digest, i.version, package_version, i.settings, i.inputs, i.weights)

    @property
    def name(self) -> str:
        """Stage and unit."""
        return f"{self.stage}/{self.unit}" if self.unit else self.stage


def chain(last: Made, known: Iterable[Reference]) -> list[Made]:
    """A result and everything it was made from, the result first, each artifact once.

    Parameters
    ----------
    last : Made
        The result.
    known : iterable of Reference
        Where to find what its inputs were made from; inputs that are not among them end the chain.
    """
    by_digest = {reference.digest: reference for reference in known}
    found = {last.digest: last}
    open_ = [last]
    while open_:
        made = open_.pop(0)
        for digest in made.inputs.values():
            if digest in by_digest and digest not in found:
                found[digest] = Made.of(by_digest[digest])
                open_.append(found[digest])
    return list(found.values())


def session_chain(cache: Cache, reference: Reference) -> list[Made]:
    """The chain of an artifact in a session."""
    known = [e.reference for e in cache.entries() if e.reference is not None]
    return chain(Made.of(reference, mocap.__version__), known)


def to_text(made: list[Made]) -> str:
    """The chain as JSON text for an export; the same text for the same chain."""
    return canonical({"format": FORMAT, "made": [asdict(m) for m in made]})


def from_text(text: str, where: str) -> list[Made]:
    """The chain of an export; StorageError when it is not one."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        return [Made(**m) for m in content["made"]]
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError("its provenance is not readable", found=str(error), where=where) from error


def read_chain(path: Path) -> list[Made]:
    """The chain of an artifact (.h5) or an export (.npz).

    An artifact that lies in its session leads back to the videos; one that was copied elsewhere says
    only what it was made from itself.

    Raises
    ------
    StorageError
        No such file, a damaged artifact, or a file of a kind or age that carries no provenance.
    DataError
        A damaged .npz file.
    """
    if not path.is_file():
        raise StorageError("no such file", where=str(path))
    if path.suffix.lower() == ".h5":
        return _artifact_chain(path.resolve())
    if path.suffix.lower() == ".npz":
        return from_text(_npz_text(path), str(path))
    raise StorageError(
        "this kind of file holds no provenance", expected="an artifact (.h5) or an exported .npz",
        found=path.suffix or path.name, where=str(path),
        hint="export the same result as npz as well: mocap export SESSION --format npz --output FILE.npz",
    )  # fmt: skip


def _artifact_chain(path: Path) -> list[Made]:
    from mocap.storage.hdf5 import read_provenance

    p = read_provenance(path)
    inputs = {name: d for name, d in p.inputs.items() if not name.startswith("weights ")}
    weights = {name.removeprefix("weights "): d for name, d in p.inputs.items() if name.startswith("weights ")}
    last = Made(
        p.stage, p.unit, p.key, hash_file(path), p.stage_version, p.package_version, p.settings, inputs, weights
    )
    state = path.parents[2] if len(path.parents) > 2 else path.parent
    cache = Cache(state, DigestMemo(state / "digests.json"))
    known = [e.reference for e in cache.entries() if e.reference is not None]
    return chain(last, known)


def _npz_text(path: Path) -> str:
    arrays = read_npz(path, "a result of `mocap export`")
    if "provenance" in arrays:
        return str(arrays["provenance"])
    raise StorageError(
        "this file carries no provenance", where=str(path), hint="export the result anew with `mocap export`"
    )
