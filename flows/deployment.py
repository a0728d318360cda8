"""`mocap run` as a Prefect deployment: started from Prefect's UI, schedules or API, on any machine with a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.exceptions import ObjectNotFound

from flows.config import Stage
from flows.plan import UnitPlan
from flows.run import RunOptions, run_session
from flows.session import Session
from mocap.devices import DeviceChoice

FLOW_NAME = "mocap-run"


@contextmanager
def _no_display(_session: Session, _units: list[UnitPlan]) -> Iterator[None]:
    yield


@flow(name=FLOW_NAME, flow_run_name="run {session}")
def run_deployed(
    session: str, until: Stage = Stage.SOLVE, device: DeviceChoice = DeviceChoice.AUTO, cluster: str = ""
) -> list[str]:
    """Bring a session up to date, as `mocap run` does.

    Parameters
    ----------
    session : str
        Session folder, as the worker's machine sees it.
    until : Stage
        Last stage.
    device : DeviceChoice
    cluster : str
        Address of a Dask scheduler; empty to work on the worker's own machine.

    Returns
    -------
    list of str
        The units that were made, as ``stage`` or ``stage/unit``.

    Raises
    ------
    MocapError
        What `mocap run` would print.
    """
    record = run_session(Path(session), RunOptions(until=until, device=device, cluster=cluster), _no_display)
    return record.made if record else []


def deploy(pool: str, name: str) -> UUID:
    """Register the flow with the Prefect server that PREFECT_API_URL names; makes the work pool if there is none.

    The deployment names this module, not files: workers need the package installed, nothing else.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    deployment = run_deployed.to_deployment(
        name, work_pool_name=pool, tags=["mocap"], entrypoint_type=EntrypointType.MODULE_PATH,
        description="mocap run SESSION: content-keyed, redoes only what is stale",
    )  # fmt: skip
    # Prefect's annotations allow for coroutines, which only come where an event loop runs.
    return cast(UUID, cast(RunnerDeployment, deployment).apply())
