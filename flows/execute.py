"""Making one unit: run the step, store the artifact, remember how it went."""

from __future__ import annotations

import json
import logging
import socket
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import mocap
from flows.cache import Cache, Failure, Ingredients, Reference
from flows.config import Stage
from flows.digests import canonical, hash_file
from flows.plan import UnitPlan, differences, make_plan, plan_unit, stage_references
from flows.progress import progress_file, reporter
from flows.session import Session
from flows.stages import STAGES, References, Work, ingredients
from mocap.devices import DeviceChoice
from mocap.errors import MocapError, StageError, StorageError

logger = logging.getLogger(__name__)


def pack_inputs(stage: Stage, references: References) -> str:
    """The artifacts that a stage reads, as JSON text that can be sent anywhere."""
    return canonical(
        {s.value: {unit: asdict(r) for unit, r in references.get(s, {}).items()} for s in STAGES[stage].inputs}
    )


def unpack_inputs(text: str) -> References:
    """What `pack_inputs` packed."""
    return {
        Stage(stage): {unit: Reference.of(fields) for unit, fields in units.items()}
        for stage, units in json.loads(text).items()
    }


def make_unit(
    root: Path, stage: Stage, unit: str, device: DeviceChoice, *, force: bool = False, inputs: str = "", key: str = ""
) -> Reference:
    """Make the artifact of a unit from its inputs' current artifacts, unless it is there already.

    Parameters
    ----------
    root : Path
        Session folder; nothing else is shared with the caller, so this can run in any process.
    force : bool
        Make it anew even when it is up to date.
    inputs : str
        The artifacts to make it from (`pack_inputs`); the session is searched for them where empty.
    key : str
        The content key that was planned; another one is an error. Empty takes any.

    Raises
    ------
    MocapError
        Whatever the step says; it is remembered as the unit's failure.
    """
    session = Session(root)
    cache = Cache(session.state, session.digests)
    references = unpack_inputs(inputs) if inputs else stage_references(make_plan(session, cache))
    planned = plan_unit(session, cache, stage, unit, references)
    if key and planned.ingredients is not None and planned.ingredients.key != key:
        raise StageError(
            f"{f'{stage} {unit}'.strip()} is not what was planned any more",
            expected=f"key {key}", found=f"key {planned.ingredients.key} on {socket.gethostname()}", where=str(root),
            hint="an input or setting changed meanwhile: run again; or this machine has another version of mocap",
        )  # fmt: skip
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
    from mocap.rows import Pieces
    from mocap.storage.hdf5 import Provenance, write_record
    from mocap.storage.rows import write_pieces

    started = time.perf_counter()
    record = STAGES[stage].step(work)
    _check_unchanged(work, stage, made_from)
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
    if isinstance(record, Pieces):
        write_pieces(path, record, provenance)
    else:
        write_record(path, record, provenance)
    reference = Reference(
        key=made_from.key,
        digest=hash_file(path),
        size=path.stat().st_size,
        seconds=round(time.perf_counter() - started, 3),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ingredients=made_from,
    )
    work.cache.record(reference)
    work.cache.set_current(stage, work.unit, reference)
    logger.info("%s %s made in %.2f s: %s", stage, work.unit, reference.seconds, path.name)
    return reference


def _check_unchanged(work: Work, stage: Stage, made_from: Ingredients) -> None:
    """A file that changed while it was read may have given anything: nothing is kept of it."""
    changed = differences(made_from, ingredients(work.session, stage, work.unit, work.references))
    if changed:
        raise StageError(
            f"an input of {f'{stage} {work.unit}'.strip()} changed while it was read", found="; ".join(changed),
            where=str(work.session.root), hint="run the same command again once nobody writes to it",
        )  # fmt: skip


def _remember_failure(cache: Cache, planned: UnitPlan, error: Exception) -> None:
    if planned.ingredients is None:
        return
    failure = Failure(planned.ingredients.key, str(error), datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        cache.set_failure(planned.stage, planned.unit, failure)
    except StorageError:
        # A full disk is what failed: the error on its way up says so already.
        logger.warning("the failure of %s could not be recorded", planned.stage)
