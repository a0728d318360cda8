"""Progress of units, handed over through small files so that any process or thread can report it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_INTERVAL_S = 0.2


def progress_file(state: Path, stage: str, unit: str) -> Path:
    """Where the progress of a unit is written."""
    return state / "progress" / (f"{stage}.{unit}".replace("/", "_") + ".json")


def reporter(path: Path) -> Callable[[int, int], None]:
    """A (done, total) callback that writes at most five times a second; failures to write are ignored.

    Progress is a courtesy: a full disk must surface where results are written, not here.
    """
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _INTERVAL_S and done < total:
            return
        last = now
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([done, total]))
        except OSError:
            return

    return report


def read_progress(path: Path) -> tuple[int, int] | None:
    """The last (done, total) of a unit, or None."""
    try:
        done, total = json.loads(path.read_text())
    except (OSError, ValueError, TypeError):
        return None
    return int(done), int(total)


@contextmanager
def gone_on_error(bars: Progress) -> Iterator[Progress]:
    """Show progress bars; an error takes them away, so that its message stands alone."""
    bars.start()
    try:
        yield bars
    except BaseException:
        bars.live.transient = True
        bars.live.stop()  # `bars.stop` adds a line where nobody watches
        raise
    else:
        bars.stop()
