"""The report of a session: reads its results, whatever state they are in, and writes one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flows.cache import Cache, Reference
from flows.config import Stage
from flows.plan import State, UnitPlan, make_plan
from flows.provenance import session_chain
from flows.run import last_run
from flows.score import is_shelf
from flows.session import Session
from flows.stages import References, Work
from mocap.arrays import Record
from mocap.devices import DeviceChoice
from mocap.errors import MocapError, SessionError
from mocap.metrics import Poses3D, comparison_table, evaluate, evaluate_shelf, read_ground_truth, table
from mocap.report.measures import Measures
from mocap.report.pictures import thumbnails
from mocap.report.report import render
from mocap.report.synchronisation import curves
from mocap.report.take import StageRun, Take
from mocap.resampling import to_common_time
from mocap.storage.alignment_record import AlignmentRecord
from mocap.storage.atomic import write_bytes
from mocap.storage.rig_record import RigRecord
from mocap.types import Matches, SkeletalMotion, Trajectories3D

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
Rows = list[tuple[str, ...]]

_NEEDED = (Stage.CALIBRATE, Stage.DETECT, Stage.SYNCHRONISE, Stage.MATCH, Stage.LIFT, Stage.FILTER)


def write_report(root: Path, output: Path | None = None, ground_truth: Path | None = None) -> Path:
    """Write the report of a session; by default to SESSION/reports/report.html.

    A result that is no longer up to date is reported with a note that says so: a session that is broken
    is the one whose report is needed most.

    Raises
    ------
    SessionError
        A stage has never run.
    MocapError
        Not a session, unreadable ground truth, or a place that cannot be written.
    """
    session = Session(root)
    cache = Cache(session.state, session.digests)
    plan = make_plan(session, cache)
    references = _references(session, cache, plan)
    work = Work(session, cache, "", references, DeviceChoice.CPU, lambda done, total: None)
    take = _take(work, plan)
    measures = Measures(take)
    scores = _scores(take.filtered, ground_truth) if ground_truth is not None else []
    pictures = thumbnails(measures, session.videos, _video_frames(take, work))
    path = output if output is not None else session.root / "reports" / "report.html"
    write_bytes(path, render(measures, pictures, scores, _provenance(cache, references)).encode())
    return path


def write_plots(root: Path, folder: Path) -> list[Path]:
    """Write the charts of a session's camera times as SVG; none where its times were stated.

    Raises
    ------
    MocapError
        As `write_report`.
    """
    session = Session(root)
    cache = Cache(session.state, session.digests)
    references = _references(session, cache, make_plan(session, cache))
    work = Work(session, cache, "", references, DeviceChoice.CPU, lambda done, total: None)
    svg = curves(work.read(Stage.SYNCHRONISE, AlignmentRecord))
    if not svg:
        return []
    path = folder / "camera_times.svg"
    write_bytes(path, svg.encode())
    return [path]


def _references(session: Session, cache: Cache, plan: list[UnitPlan]) -> References:
    """The artifacts that are up to date, else those made last.

    Raises
    ------
    SessionError
        There are none of a stage that the report needs.
    """
    found: References = {}
    for u in plan:
        reference = u.reference or cache.current(u.stage, u.unit)
        if reference is not None and cache.path(u.stage, reference.key).is_file():
            found.setdefault(u.stage, {})[u.unit] = reference
        elif u.stage in _NEEDED:
            raise SessionError(
                f"stage {u.stage} has no result to report on", found="; ".join(u.reasons) or u.state.value,
                where=str(session.root), hint=f"mocap run {session.root}",
            )  # fmt: skip
    return found


def _take(work: Work, plan: list[UnitPlan]) -> Take:
    matches, filtered = work.read(Stage.MATCH, Matches), work.read(Stage.FILTER, Trajectories3D)
    alignment = work.read(Stage.SYNCHRONISE, AlignmentRecord)
    keypoints = to_common_time(work.keypoints(), alignment.to_time_model())
    order = [keypoints.cameras.index(c) for c in matches.cameras]
    rows = np.isin(keypoints.frames, matches.frames)
    run = last_run(work.session.state)
    return Take(
        work.session.root.name,
        np.asarray((keypoints.confidence > 0).any((2, 3)))[order][:, rows],
        matches,
        work.rig(matches.cameras),
        work.read(Stage.LIFT, Trajectories3D),
        filtered,
        alignment,
        work.read(Stage.SOLVE, SkeletalMotion) if Stage.SOLVE in work.references else None,
        work.read(Stage.CALIBRATE, RigRecord).quality,
        tuple(_stage_run(stage, plan, work.references.get(stage, {})) for stage in Stage),
        tuple(run.warnings) if run is not None else (),
    )


def _stage_run(stage: Stage, plan: list[UnitPlan], references: Mapping[str, Reference]) -> StageRun:
    units = [u for u in plan if u.stage is stage]
    late = [u for u in units if u.state is not State.UP_TO_DATE]
    state = f"{late[0].state}: {'; '.join(late[0].reasons).splitlines()[0]}" if late else State.UP_TO_DATE.value
    made = list(references.values())
    settings = made[0].ingredients.settings if made else {}
    return StageRun(
        stage.value, state, len(units), sum(r.seconds for r in made), sum(r.size for r in made) / 1e6,
        max((r.made_at for r in made), default=""), tuple((k, str(v)) for k, v in sorted(settings.items())),
    )  # fmt: skip


def _video_frames(take: Take, work: Work) -> dict[str, NDArray[np.int64]]:
    """Per camera, the frame of its video that is nearest to each frame of the take."""
    times = work.read(Stage.SYNCHRONISE, AlignmentRecord).to_time_model()
    seconds = take.matches.frames / take.matches.fps
    return {camera: times.nearest_frames(v, seconds, take.matches.fps) for v, camera in enumerate(times.cameras)}


def _scores(filtered: Trajectories3D, ground_truth: Path) -> list[Rows]:
    poses, truth = Poses3D.of(filtered, "result"), read_ground_truth(ground_truth, "")
    if is_shelf("auto", truth):
        score = evaluate_shelf(poses, truth)
        rows: Rows = [("score", "result"), ("PCP@0.5 %", f"{100 * score.pcp:.1f}")]
        rows += [("both ends right (strict) %", f"{100 * score.pcp_strict:.1f}"), ("frames", str(score.frames))]
        return [rows]
    result = evaluate(poses, truth)
    return [list(comparison_table(["result"], [result])), list(table(result))]


def _provenance(cache: Cache, references: References) -> Rows:
    """Name and digest of every artifact and file that the last result was made from."""
    last = next(references[s][""] for s in reversed(Stage) if "" in references.get(s, {}))
    rows: Rows = []
    try:
        made = session_chain(cache, last)
    except MocapError as error:
        logger.warning("the provenance is not readable: %s", error)
        return rows
    for m in made:
        rows.append((f"{m.name} (version {m.version})", m.digest))
        rows += [(f"{m.name}: {n}", d) for n, d in sorted(m.inputs.items()) if n.startswith("file ")]
        rows += [(f"{m.name}: weights {n}", d) for n, d in sorted(m.weights.items())]
    return rows
