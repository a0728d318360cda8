"""Making one unit: run the step, store the artifact, remember how it went."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import mocap
from flows.cache import Cache, Failure, Ingredients, Reference
from flows.config import Stage
from flows.plan import UnitPlan, make_plan, plan_stage, stage_references
from flows.progress import progress_file, reporter
from flows.session import Session
from flows.stages import STAGES, Work
from mocap.devices import DeviceChoice
from mocap.errors import MocapError, StageError, StorageError

logger = logging.getLogger(__name__)


def make_unit(root: Path, stage: Stage, unit: str, device: DeviceChoice, *, force: bool = False) -> Reference:
    """Make the artifact of a unit from its inputs' current artifacts, unless it is there already.

    Parameters
    ----------
    root : Path
        Session folder; nothing else is shared with the caller, so this can run in any process.
    force : bool
        Make it anew even when it is up to date.

    Raises
    ------
    MocapError
        Whatever the step says; it is remembered as the unit's failure.
    """
    session = Session(root)
    cache = Cache(session.state, session.digests)
    references = stage_references(make_plan(session, cache))
    planned = next(u for u in plan_stage(session, cache, stage, references) if u.unit == unit)
    if planned.reference is not None and not force:
        cache.set_current(stage, unit, planned.reference)
        return planned.reference
    if planned.ingredients is None:
        raise StageError(f"{stage} cannot run yet", found=planned.reasons[0], where=str(root))
    work = Work(session, cache, unit, references, device, reporter(progress_file(session.state, stage, unit)))
    try:
        return _run_and_store(work, stage, planned.ingredients)
    except (MocapError, OSError, MemoryError) as error:
        _remember_failure(cache, planned, error)
        raise
    finally:
        progress_file(session.state, stage, unit).unlink(missing_ok=True)


def _run_and_store(work: Work, stage: Stage, made_from: Ingredients) -> Reference:
    from mocap.storage.hdf5 import Provenance, write_record

    started = time.perf_counter()
    record = STAGES[stage].step(work)
    path = work.cache.path(stage, made_from.key)
    provenance = Provenance(
        stage=stage.value,
        unit=work.unit,
        key=made_from.key,
        stage_version=made_from.version,
        settings=made_from.settings,
        inputs={**made_from.inputs, **{f"weights {k}": v for k, v in made_from.weights.items()}},
        package_version=mocap.__version__,
    )
    write_record(path, record, provenance)
    reference = Reference(
        key=made_from.key,
        digest=work.session.digests.digest(path),
        size=path.stat().st_size,
        seconds=round(time.perf_counter() - started, 3),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ingredients=made_from,
    )
    work.cache.record(reference)
    work.cache.set_current(stage, work.unit, reference)
    logger.info("%s %s made in %.2f s: %s", stage, work.unit, reference.seconds, path.name)
    return reference


def _remember_failure(cache: Cache, planned: UnitPlan, error: Exception) -> None:
    if planned.ingredients is None:
        return
    failure = Failure(planned.ingredients.key, str(error), datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        cache.set_failure(planned.stage, planned.unit, failure)
    except StorageError:
        # A full disk is what failed: the error on its way up says so already.
        logger.warning("the failure of %s could not be recorded", planned.stage)
