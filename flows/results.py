"""The current results of a session: what export, evaluate and view read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from flows.cache import Cache, Reference
from flows.config import Stage
from flows.plan import State, make_plan, stage_references
from flows.provenance import session_chain, to_text
from flows.session import Session
from mocap.arrays import Record
from mocap.errors import SessionError
from mocap.storage.hdf5 import read_record

R = TypeVar("R", bound=Record)


class Results:
    """Up-to-date artifacts of a session; stale ones are refused, never served.

    Parameters
    ----------
    root : Path

    Raises
    ------
    MocapError
        Not a session folder, or footage that is gone.
    """

    def __init__(self, root: Path) -> None:
        self.session = Session(root)
        self._cache = Cache(self.session.state, self.session.digests)
        self._plan = make_plan(self.session, self._cache)
        self._references = stage_references(self._plan)

    def read(self, stage: Stage, kind: type[R]) -> R:
        """The record of a stage that has one unit.

        Raises
        ------
        SessionError
            The stage is not up to date (says why).
        """
        return self.read_all(stage, kind)[0]

    def read_all(self, stage: Stage, kind: type[R]) -> list[R]:
        """The records of all units of a stage; raises like `read`."""
        return [read_record(self._cache.path(stage, r.key), kind) for r in self._current(stage)]

    def path(self, stage: Stage) -> Path:
        """The verified artifact of a stage that has one unit, to read in parts; raises like `read`."""
        return self._cache.path(stage, self._current(stage)[0].key)

    def provenance(self, stage: Stage) -> str:
        """What the result of a stage that has one unit was made from, as JSON text; raises like `read`."""
        return to_text(session_chain(self._cache, self._current(stage)[0]))

    def _current(self, stage: Stage) -> list[Reference]:
        if stage not in self._references:
            first = next(u for u in self._plan if u.state is not State.UP_TO_DATE)
            name = f"{first.stage} {first.unit}".strip()
            raise SessionError(
                f"the result of {stage} is not up to date",
                found=f"{name} is {first.state}: {'; '.join(first.reasons)}",
                where=str(self.session.root),
                hint=f"mocap run {self.session.root}",
            )
        return list(self._references[stage].values())
