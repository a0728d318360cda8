"""The Prefect flow: every stage of a session in order, detect camera by camera."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from flows.cache import Cache
from flows.config import Stage
from flows.execute import make_unit
from flows.plan import State, UnitPlan, plan_stage, up_to_date
from flows.session import Session
from flows.stages import References
from mocap.devices import DeviceChoice
from mocap.errors import MocapError, StageError

logger = logging.getLogger(__name__)


@task(name="make-unit", persist_result=True, result_serializer="json", cache_key_fn=lambda _, p: p["key"])
def make_unit_task(root: str, stage: str, unit: str, device: str, key: str, force: bool) -> dict[str, str]:
    """One unit, path to path; Prefect keeps the small reference {key, digest} under our content key."""
    reference = make_unit(Path(root), Stage(stage), unit, DeviceChoice(device), force=force)
    return {"key": key, "digest": reference.digest}


@flow(name="process-session", flow_run_name="{root}", validate_parameters=False)
def process_session(root: str, until: str, device: str, forced: list[str]) -> list[str]:
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

    Returns
    -------
    list of str
        The units that were made, as ``stage`` or ``stage/unit``.

    Raises
    ------
    MocapError
        The first failure of a stage, after its other units have finished.
    """
    made: list[str] = []
    references: References = {}
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
        _make_all(root, to_make, device, force)
        made += [f"{stage}/{u.unit}" if u.unit else stage.value for u in to_make]
        found = up_to_date(plan_stage(session, cache, stage, references))
        if found is None:
            raise StageError(f"{stage} ended without its artifact", where=root, hint="run the command again")
        references[stage] = found
        session.digests.save()
    return made


def _make_all(root: str, units: list[UnitPlan], device: str, force: bool) -> None:
    futures: list[PrefectFuture[Any]] = []
    for u in units:
        key = u.ingredients.key if u.ingredients else ""
        # The plan has just found this artifact absent or damaged, whatever Prefect remembers.
        named = make_unit_task.with_options(
            task_run_name=f"{u.stage} {u.unit}".strip(), refresh_cache=True, tags=[u.stage.value]
        )
        futures.append(named.submit(root, u.stage.value, u.unit, device, key, force))
    wait(futures)
    failures = [e for f in futures if isinstance(e := f.result(raise_on_failure=False), BaseException)]
    for failure in failures:
        if isinstance(failure, MocapError):
            raise failure
    if failures:
        raise failures[0]


def run_flow(root: Path, until: Stage, device: DeviceChoice, forced: list[Stage], workers: int) -> list[str]:
    """Run the flow in this process; raises what a stage raised, without Prefect's wrapping."""
    # Prefect's annotation wants a runner of bare futures; its own runners are of their concrete kind.
    runner: Any = ThreadPoolTaskRunner(max_workers=workers)
    configured = process_session.with_options(task_runner=runner)
    state = configured(str(root), until.value, device.value, [s.value for s in forced], return_state=True)
    result = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return list(result)
