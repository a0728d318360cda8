"""What a run shows in Prefect's UI beside its task runs: a link, the progress of a stage, a table of what was made."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import TracebackType
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.config import Stage
from flows.plan import UnitPlan
from flows.stages import References

_INTERVAL_S = 1.0
_MOST_ROWS = 500


def artifact_key(root: Path, what: str) -> str:
    """A name as Prefect wants it: small letters, digits and dashes; equal from run to run."""
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")
    return f"{name or 'session'}-{what}"


def link_session(root: Path) -> None:
    """A link to the session folder, whose ``.mocap/runs`` holds the logs."""
    create_link_artifact(
        link=root.as_uri(), link_text=root.name, key=artifact_key(root, "folder"),
        description=f"Session folder; logs and records of its runs are in {root / '.mocap' / 'runs'}",
    )  # fmt: skip


def table_of_units(root: Path, made: list[UnitPlan], references: References) -> None:
    """What a run made, and why; nothing when it made nothing."""
    rows = []
    for u in made[:_MOST_ROWS]:
        reference = references[u.stage][u.unit]
        rows.append(
            {
                "stage": u.stage.value, "unit": u.unit, "why": "; ".join(u.reasons) or "forced",
                "seconds": reference.seconds, "MB": round(reference.size / 1e6, 3), "key": reference.key,
            }
        )  # fmt: skip
    left_out = f", the first {_MOST_ROWS} of {len(made)}" if len(made) > _MOST_ROWS else ""
    if rows:
        create_table_artifact(
            table=rows, key=artifact_key(root, "made"), description=f"What this run of {root} made{left_out}"
        )


class Progress:
    """How many units of a stage have finished, in per cent; stages of one unit show none.

    Parameters
    ----------
    root : Path
    stage : Stage
    total : int
        Units.
    """

    def __init__(self, root: Path, stage: Stage, total: int) -> None:
        self._root, self._stage, self._total = root, stage, total
        self._done, self._said, self._at = 0, 0, 0.0
        self._id: UUID | None = None

    def __enter__(self) -> Progress:
        if self._total > 1:
            key = artifact_key(self._root, f"{self._stage}-progress")
            # Prefect's annotation allows for a coroutine, which only comes where an event loop runs.
            self._id = cast(UUID, create_progress_artifact(0.0, key, f"{self._stage} of {self._root}"))
        return self

    def advance(self) -> None:
        """One more unit has finished; said at most once a second, as each time is a request."""
        self._done += 1
        if time.monotonic() - self._at >= _INTERVAL_S:
            self._say()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._said < self._done:
            self._say()

    def _say(self) -> None:
        if self._id is not None:
            self._at, self._said = time.monotonic(), self._done
            update_progress_artifact(self._id, 100.0 * self._done / self._total)
