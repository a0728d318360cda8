"""What is up to date, what is stale and why: computed before anything is started."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flows.cache import Cache, Failure, Ingredients, Reference
from flows.config import Stage
from flows.session import Session
from flows.stages import STAGES, References, ingredients, unit_names


class State(enum.StrEnum):
    """How a unit stands."""

    UP_TO_DATE = "up to date"
    STALE = "stale"
    MISSING = "missing"
    FAILED = "failed"
    WAITING = "waiting"


@dataclass(frozen=True)
class UnitPlan:
    """How one unit stands.

    Attributes
    ----------
    stage, unit
    state : State
        WAITING: an input has to be made first, so its key is not known yet.
    reasons : tuple of str
        Why it is not up to date.
    ingredients : Ingredients or None
        What it would be made from; None while waiting.
    reference : Reference or None
        The artifact, when up to date.
    failure : Failure or None
    """

    stage: Stage
    unit: str
    state: State
    reasons: tuple[str, ...]
    ingredients: Ingredients | None
    reference: Reference | None
    failure: Failure | None = None


def plan_stage(session: Session, cache: Cache, stage: Stage, references: References) -> list[UnitPlan]:
    """How the units of a stage stand, given the artifacts of its input stages.

    An input stage absent from `references` is not up to date.
    """
    return [plan_unit(session, cache, stage, unit, references) for unit in unit_names(session, stage)]


def plan_unit(session: Session, cache: Cache, stage: Stage, unit: str, references: References) -> UnitPlan:
    """How one unit of a stage stands; as `plan_stage`, without looking at the others."""
    absent = [s.value for s in STAGES[stage].inputs if s not in references]
    if absent:
        waits = f"{', '.join(absent)} {'has' if len(absent) == 1 else 'have'} to run first"
        return UnitPlan(stage, unit, State.WAITING, (waits,), None, None, cache.failure(stage, unit))
    wanted = ingredients(session, stage, unit, references)
    reference, absence = cache.lookup(stage, wanted.key)
    if reference is not None:
        return UnitPlan(stage, unit, State.UP_TO_DATE, (), wanted, reference)
    before = cache.current(stage, unit)
    failure = cache.failure(stage, unit)
    if failure is not None and failure.key == wanted.key:
        return UnitPlan(stage, unit, State.FAILED, (failure.message,), wanted, None, failure)
    if before is None:
        return UnitPlan(stage, unit, State.MISSING, (absence,), wanted, None)
    reasons = tuple(differences(before.ingredients, wanted)) or (absence,)
    return UnitPlan(stage, unit, State.STALE, reasons, wanted, None)


def make_plan(session: Session, cache: Cache) -> list[UnitPlan]:
    """How every unit of every stage stands, in order."""
    plan: list[UnitPlan] = []
    references: References = {}
    for stage in Stage:
        units = plan_stage(session, cache, stage, references)
        plan += units
        found = up_to_date(units)
        if found is not None:
            references[stage] = found
    return plan


def up_to_date(units: Iterable[UnitPlan]) -> dict[str, Reference] | None:
    """The references of a stage's units when all of them are up to date."""
    found = {u.unit: u.reference for u in units}
    return None if any(r is None for r in found.values()) else {u: r for u, r in found.items() if r is not None}


def stage_references(plan: Iterable[UnitPlan]) -> References:
    """The artifacts of the stages that are wholly up to date."""
    by_stage: dict[Stage, list[UnitPlan]] = {}
    for u in plan:
        by_stage.setdefault(u.stage, []).append(u)
    found = {stage: up_to_date(units) for stage, units in by_stage.items()}
    return {stage: refs for stage, refs in found.items() if refs is not None}


def differences(before: Ingredients, now: Ingredients) -> list[str]:
    """What changed between two sets of ingredients, in words, old and new value."""
    changes = []
    if before.version != now.version:
        changes.append(f"the stage's version: {before.version} -> {now.version}")
    changes += [f"setting {c}" for c in _dict_changes(before.settings, now.settings)]
    changes += [f"input {c}" for c in _dict_changes(before.inputs, now.inputs, digests=True)]
    changes += [f"weights {c}" for c in _dict_changes(before.weights, now.weights, digests=True)]
    return changes


def _dict_changes(before: dict[str, Any], now: dict[str, Any], *, digests: bool = False) -> list[str]:
    def show(value: Any) -> str:
        return str(value)[:8] if digests else str(value)

    changes = []
    for name in sorted({*before, *now}):
        if name not in now:
            changes.append(f"{name}: no longer used")
        elif name not in before:
            changes.append(f"{name}: new ({show(now[name])})")
        elif before[name] != now[name]:
            changes.append(f"{name}: {show(before[name])} -> {show(now[name])}")
    return changes
