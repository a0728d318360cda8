"""Progress at the command line: one line per stage, plain text when there is no terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from flows.cache import Cache
from flows.config import Stage
from flows.plan import UnitPlan
from flows.progress import progress_file, read_progress
from flows.session import Session

_INTERVAL_S = 0.25


class StageProgress:
    """How far the units of a run are, read from the session folder."""

    def __init__(self, session: Session, units: list[UnitPlan]) -> None:
        self._state = session.state
        self._cache = Cache(session.state, session.digests)
        self._before = {(u.stage, u.unit): self._cache.stamp(u.stage, u.unit) for u in units}
        self._open: dict[Stage, list[str]] = {}
        for u in units:
            self._open.setdefault(u.stage, []).append(u.unit)
        self._finished = dict.fromkeys(self._open, 0.0)

    @property
    def stages(self) -> list[Stage]:
        """The stages with something to do."""
        return list(self._open)

    def fraction(self, stage: Stage) -> tuple[float, float]:
        """(done, total) of a stage: frames where its units report them, else units."""
        still = []
        for unit in self._open[stage]:  # those that have finished are not looked at again
            if self._cache.stamp(stage, unit) != self._before[stage, unit]:
                self._finished[stage] += _frames(unit)
            else:
                still.append(unit)
        self._open[stage] = still
        done = total = self._finished[stage]
        for unit in still:
            reported = read_progress(progress_file(self._state, stage.value, unit))
            done += reported[0] if reported else 0
            total += reported[1] if reported else _frames(unit)
        return done, total


def _frames(unit: str) -> int:
    span = Path(unit).name.partition("-")
    return int(span[2]) - int(span[0]) if span[2].isdigit() and span[0].isdigit() else 1


@contextmanager
def show_progress(console: Console, session: Session, units: list[UnitPlan]) -> Iterator[None]:
    """Show the run until the context ends."""
    progress = StageProgress(session, units)
    finished = threading.Event()
    show = _show_bars if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(console, progress, finished), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join(timeout=5)


def _show_bars(console: Console, progress: StageProgress, finished: threading.Event) -> None:
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        rows = {stage: bars.add_task(stage.value, total=None, start=False) for stage in progress.stages}
        while True:
            last = finished.is_set()
            for stage, row in rows.items():
                done, total = progress.fraction(stage)
                if done and not bars.tasks[row].started:
                    bars.start_task(row)
                bars.update(row, completed=done, total=total)
            if last:
                return
            finished.wait(_INTERVAL_S)


def _show_lines(console: Console, progress: StageProgress, finished: threading.Event) -> None:
    said: set[Stage] = set()
    started = time.monotonic()
    while True:
        last = finished.is_set()
        for stage in progress.stages:
            done, total = progress.fraction(stage)
            if stage not in said and done >= total > 0:
                said.add(stage)
                console.print(f"{stage.value:<12} done after {time.monotonic() - started:.1f} s", highlight=False)
        if last:
            return
        finished.wait(_INTERVAL_S)
