"""The Prefect flow: every stage of a session in order, detect camera by camera."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect import flow, task
from prefect import tags as prefect_tags
from prefect.client.schemas.objects import TaskRun
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import TagsContext
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.settings import temporary_settings
from prefect.states import State as PrefectState
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from flows import flow_artifacts
from flows.cache import Cache
from flows.config import Stage
from flows.execute import make_unit, pack_inputs
from flows.faults import is_transient
from flows.gpu_limit import gpu_tags
from flows.interrupt import beside_signals
from flows.plan import State, UnitPlan, plan_stage, up_to_date
from flows.session import Session
from flows.stages import References
from mocap.devices import DeviceChoice
from mocap.errors import MocapError, StageError

logger = logging.getLogger(__name__)

_RETRY_DELAYS_S = (2.0, 15.0)
_ATTEMPTS = 3
_ENGINE_ERRORS = (ConcurrencySlotAcquisitionError, httpx.TransportError, httpx.HTTPStatusError)
"""Between a task and the Prefect server: nothing that a stage did wrong."""


def _may_pass(_task: Task[..., Any], _run: TaskRun, state: PrefectState[Any]) -> bool:
    """Prefect's question whether to try a failed task again."""
    return isinstance(state.data, BaseException) and is_transient(state.data)


@task(
    name="make-unit",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=lambda _, p: p["key"],
    retries=len(_RETRY_DELAYS_S),
    retry_delay_seconds=list(_RETRY_DELAYS_S),
    retry_condition_fn=_may_pass,
)
def make_unit_task(
    root: str, stage: str, unit: str, device: str, key: str, force: bool, inputs: str = ""
) -> dict[str, str]:
    """One unit, path to path; Prefect keeps the small reference {key, digest} under our content key."""
    reference = make_unit(Path(root), Stage(stage), unit, DeviceChoice(device), force=force, inputs=inputs, key=key)
    return {"key": key, "digest": reference.digest}


def _run_name() -> str:
    """The session and the last stage: what one looks for in a list of runs."""
    parameters = flow_run.parameters
    return f"{Path(parameters['root']).name} until {parameters['until']}"


@flow(name="process-session", flow_run_name=_run_name, validate_parameters=False)
def process_session(root: str, until: str, device: str, forced: list[str], cluster: str = "") -> list[str]:
    """Bring a session up to date.

    Parameters
    ----------
    root : str
        Session folder.
    until : str
        Last stage.
    device : str
        auto, cpu or cuda.
    forced : list of str
        Stages to make anew even when up to date.
    cluster : str
        Address of the Dask scheduler that the tasks go to; empty on this machine.

    Returns
    -------
    list of str
        The units that were made, as ``stage`` or ``stage/unit``.

    Raises
    ------
    MocapError
        The first failure of a stage, after its other units have finished.
    """
    made: list[UnitPlan] = []
    references: References = {}
    flow_artifacts.link_session(Path(root))
    for stage in list(Stage)[: list(Stage).index(Stage(until)) + 1]:
        session = Session(Path(root))
        cache = Cache(session.state, session.digests)
        units = plan_stage(session, cache, stage, references)
        force = stage.value in forced
        to_make = [u for u in units if force or u.state is not State.UP_TO_DATE]
        for u in units:
            if u.reference is not None and not force:
                cache.set_current(stage, u.unit, u.reference)
        session.digests.save()  # the tasks, perhaps in other processes, need not read the inputs again
        if to_make:
            tags = gpu_tags(session, stage, DeviceChoice(device), cluster)
            _make_all(root, to_make, device, force, pack_inputs(stage, references), tags)
        made += to_make
        found = up_to_date(plan_stage(session, cache, stage, references))
        if found is None:
            raise StageError(f"{stage} ended without its artifact", where=root, hint="run the command again")
        references[stage] = found
        session.digests.save()
    flow_artifacts.table_of_units(Path(root), made, references)
    return [f"{u.stage}/{u.unit}" if u.unit else u.stage.value for u in made]


def _make_all(root: str, units: list[UnitPlan], device: str, force: bool, inputs: str, tags: list[str]) -> None:
    open_ = units
    failures: list[BaseException] = []
    for _ in range(_ATTEMPTS):
        failed = _attempt(root, open_, device, force, inputs, tags)
        open_ = [u for u, e in failed if isinstance(e, _ENGINE_ERRORS)]
        failures = [*(e for e in failures if not isinstance(e, _ENGINE_ERRORS)), *(e for _, e in failed)]
        if not open_:
            break
        logger.warning("%d units are tried again: %s", len(open_), failures[-1])
    for failure in failures:
        if isinstance(failure, MocapError):
            raise failure
    if failures:
        raise failures[0]


def _attempt(
    root: str, units: list[UnitPlan], device: str, force: bool, inputs: str, tags: list[str]
) -> list[tuple[UnitPlan, BaseException]]:
    """Make units side by side; those that failed."""
    futures: list[PrefectFuture[Any]] = []
    # A tag of a task costs a request for a slot even where nothing is limited, so that the flow's stay its own.
    with TagsContext(current_tags=set()):
        for u in units:
            key = u.ingredients.key if u.ingredients else ""
            # The plan has just found this artifact absent or damaged, whatever Prefect remembers.
            named = make_unit_task.with_options(
                task_run_name=f"{u.stage} {u.unit}".strip(), refresh_cache=True, tags=tags
            )
            futures.append(named.submit(root, u.stage.value, u.unit, device, key, force, inputs))
    with flow_artifacts.Progress(Path(root), units[0].stage, len(units)) as progress:
        for _ in as_completed(futures):
            progress.advance()
    results = ((u, _result(f)) for u, f in zip(units, futures, strict=True))
    return [(u, r) for u, r in results if isinstance(r, BaseException)]


def _result(future: PrefectFuture[Any]) -> Any:
    """What a task returned or raised; or why it never came back, as when all workers it was given to died."""
    try:
        return future.result(raise_on_failure=False)
    except Exception as error:
        logger.exception("a task did not come back")
        return error


@dataclass(frozen=True)
class FlowOptions:
    """How a session is brought up to date.

    Attributes
    ----------
    until : Stage
        Last stage.
    device : DeviceChoice
    forced : list of Stage
        Stages to make anew even when up to date.
    cluster : str
        Address of the Dask scheduler that the tasks go to; empty on this machine.
    workers : int
        Tasks at a time, on this machine.
    watched : bool
        Whether the server outlives this process, and shall be told every few minutes that it is alive. The thread
        that does so is waited for when the flow ends, up to a second.
    """

    until: Stage
    device: DeviceChoice
    forced: list[Stage]
    cluster: str
    workers: int
    watched: bool


def run_flow(root: Path, options: FlowOptions) -> list[str]:
    """Run the flow in this process; raises what a stage raised, without Prefect's wrapping."""
    # Prefect's annotation wants a runner of bare futures; its own runners are of their concrete kind.
    runner: Any = ThreadPoolTaskRunner(max_workers=options.workers)
    if options.cluster:
        from flows.cluster import dask_runner

        runner = dask_runner(options.cluster)
    configured = process_session.with_options(task_runner=runner)
    names = [s.value for s in options.forced]
    until, device = options.until.value, options.device.value
    settings = {} if options.watched else {"flows.heartbeat_frequency": None}
    with temporary_settings(settings), prefect_tags("mocap", root.name):
        state = beside_signals(lambda: configured(str(root), until, device, names, options.cluster, return_state=True))
    result = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return list(result)
