"""One `mocap run`: plan, start what is needed, keep a record of it."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import mocap
from flows.cache import Cache
from flows.config import SessionConfig, Stage
from flows.interrupt import end_on_interrupt
from flows.plan import State, UnitPlan, make_plan
from flows.session import Session
from mocap.devices import DeviceChoice
from mocap.errors import MocapError, StageError
from mocap.storage.atomic import TEMPORARY_MARK, write_bytes

logger = logging.getLogger(__name__)

_MAX_WORKERS = 8


@dataclass(frozen=True)
class RunOptions:
    """What the user asked of a run.

    Attributes
    ----------
    until : Stage
        Last stage.
    start : Stage or None
        Make this stage and all after it anew.
    force : tuple of Stage
        Make these stages anew.
    device : DeviceChoice
    paranoid : bool
        Read every input and artifact anew instead of trusting sizes and times.
    cluster : str
        Address of the Dask scheduler that the work goes to; empty for this machine.
    """

    until: Stage = Stage.SOLVE
    start: Stage | None = None
    force: tuple[Stage, ...] = ()
    device: DeviceChoice = DeviceChoice.AUTO
    paranoid: bool = False
    cluster: str = ""

    @property
    def stages(self) -> list[Stage]:
        """The stages up to `until`."""
        return list(Stage)[: list(Stage).index(self.until) + 1]

    @property
    def forced(self) -> list[Stage]:
        """The stages to make anew even when up to date."""
        after = [] if self.start is None else list(Stage)[list(Stage).index(self.start) :]
        return [s for s in self.stages if s in self.force or s in after]


@dataclass
class RunRecord:
    """What ran, when, why and how it ended; one JSON file per run."""

    started: str
    command: str
    package_version: str = mocap.__version__
    process: int = 0
    outcome: str = "running"
    seconds: float = 0.0
    reasons: dict[str, list[str]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    error: str = ""
    warnings: list[str] = field(default_factory=list)


Display = Callable[[Session, list[UnitPlan]], AbstractContextManager[None]]
"""Shows progress of the given units while the context lasts."""


def needed(plan: list[UnitPlan], options: RunOptions) -> list[UnitPlan]:
    """The units of a plan that a run would make."""
    return [
        u for u in plan if u.stage in options.stages and (u.state is not State.UP_TO_DATE or u.stage in options.forced)
    ]


def preview(root: Path, options: RunOptions, config: SessionConfig) -> list[UnitPlan]:
    """What `run_session` would make with this configuration, and why; nothing is started.

    Stages that wait for another are listed too: whether they have to run shows once it has run.
    """
    session = Session(root, paranoid=options.paranoid)
    session.config = config
    return needed(make_plan(session, Cache(session.state, session.digests)), options)


def run_session(root: Path, options: RunOptions, display: Display) -> RunRecord | None:
    """Bring a session up to date.

    Returns
    -------
    RunRecord or None
        None when nothing was to be done; the workflow engine is not started then.

    Raises
    ------
    MocapError
        The first failure of a stage; what finished before stays in the cache.
    """
    session = Session(root, paranoid=options.paranoid)
    if options.cluster:
        from flows.cluster import check_cluster

        check_cluster(options.cluster)
    with session.lock():
        remove_partial_files(session.state)
        cache = Cache(session.state, session.digests)
        plan = make_plan(session, cache)
        to_do = needed(plan, options)
        for u in plan:
            if u.reference is not None:
                cache.set_current(u.stage, u.unit, u.reference)
        session.digests.save()
        return _run(session, options, to_do, display) if to_do else None


def _run(session: Session, options: RunOptions, to_do: list[UnitPlan], display: Display) -> RunRecord:
    started = time.perf_counter()
    now = datetime.now(UTC)
    record = RunRecord(
        started=now.isoformat(timespec="seconds"),
        command=f"run --until {options.until} --device {options.device}"
        + (f" --cluster {options.cluster}" if options.cluster else ""),
        process=os.getpid(),
        reasons={f"{u.stage}/{u.unit}" if u.unit else u.stage.value: list(u.reasons) or ["forced"] for u in to_do},
    )
    stem = _new_stem(session.state / "runs", now)
    _save(record, stem)

    def interrupted() -> None:
        record.outcome, record.seconds = "interrupted", round(time.perf_counter() - started, 2)
        remove_partial_files(session.state)
        _save_if_possible(record, stem)

    try:
        with (
            end_on_interrupt(interrupted),
            _log_file(stem.with_suffix(".log"), record.warnings),
            display(session, to_do),
        ):
            record.made = _start(session, options, to_do, stem.with_suffix(".log"))
        record.outcome = "done"
    except MocapError as error:
        record.outcome, record.error = "failed", str(error)
        raise
    except KeyboardInterrupt:
        record.outcome = "interrupted"
        raise
    finally:
        record.seconds = round(time.perf_counter() - started, 2)
        remove_partial_files(session.state)  # of workers that were lost
        _save_if_possible(record, stem)
    return record


def _new_stem(folder: Path, now: datetime) -> Path:
    """A name for a run's files that sorts after all others, even when the clock was set back."""
    name = f"{now:%Y%m%dT%H%M%S_%fZ}"
    last = max((p.stem for p in folder.glob("*.json")), default="")
    if name <= last:
        first, _, count = last.partition("-")
        name = f"{first}-{int(count or 0) + 1:06d}"
    return folder / name


def _start(session: Session, options: RunOptions, to_do: list[UnitPlan], log: Path) -> list[str]:
    from flows.collector import collector_paused
    from flows.prefect_server import prefect_api
    from flows.warm_up import warm_up
    from mocap.stale_kernels import drop_stale_kernels

    drop_stale_kernels()
    root = session.root
    results = session.state / "prefect" if options.cluster else None
    given = Stage.DETECT if session.config.session.keypoints else None  # nothing is detected then
    stages = [u.stage for u in to_do if u.stage is not given]
    with prefect_api(root, lambda ready: warm_up(stages, ready), results) as private:
        with collector_paused():
            from flows.process_session import FlowOptions, run_flow

        workers = max(1, min(os.cpu_count() or 1, len(to_do), _MAX_WORKERS))
        try:
            how = FlowOptions(
                options.until, options.device, options.forced, options.cluster, workers, watched=not private
            )
            return run_flow(root, how)
        except MocapError:
            raise
        except Exception as error:
            logger.exception("a stage ended with an unexpected error")
            raise StageError(
                "a stage ended with an unexpected error",
                found=f"{type(error).__name__}: {error}",
                where=str(root),
                hint=f"see {log}, or run again with --debug; finished work is kept",
            ) from error


class _Collector(logging.Handler):
    """Keeps what the user should hear of, once each."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message that is new."""
        if (text := record.getMessage()) not in self._messages:
            self._messages.append(text)


@contextmanager
def _log_file(path: Path, warnings: list[str]) -> Iterator[None]:
    """Send the program's log records to a file while the run lasts, and collect its warnings."""
    handler, collector = logging.FileHandler(path, delay=True), _Collector(warnings)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("calibration", "mocap", "flows")]
    for each in loggers:
        each.addHandler(handler)
        each.addHandler(collector)
        each.setLevel(logging.INFO)
        each.propagate = False  # Prefect hangs a console handler on the root
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(handler)
            each.removeHandler(collector)
            each.propagate = True
        handler.close()


def _save(record: RunRecord, stem: Path) -> None:
    write_bytes(stem.with_suffix(".json"), json.dumps(asdict(record), indent=1).encode())


def _save_if_possible(record: RunRecord, stem: Path) -> None:
    try:
        _save(record, stem)
    except MocapError:
        logger.warning("the run record could not be written")  # the disk is full: the run's own error says so


def remove_partial_files(state: Path) -> None:
    """Remove what a killed run left half-written or half-said; call with the session locked."""
    for path in (*state.rglob(f"*{TEMPORARY_MARK}*"), *(state / "progress").glob("*.json")):
        path.unlink(missing_ok=True)


def last_run(state: Path) -> RunRecord | None:
    """The record of the latest run."""
    files = sorted((state / "runs").glob("*.json"), key=lambda p: p.stem)
    if not files:
        return None
    try:
        return RunRecord(**json.loads(files[-1].read_text()))
    except (OSError, ValueError, TypeError):
        return None
