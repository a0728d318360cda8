"""Scores of results against ground truth, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flows.config import Stage
from flows.results import Results
from mocap.errors import DataError, SettingsError
from mocap.metrics import (
    SHELF_JOINTS,
    SHELF_PARTS,
    Evaluation,
    Poses3D,
    ShelfScore,
    action_table,
    comparison_table,
    read_result_npz,
    table,
    time_table,
    worst_frames,
)
from mocap.metrics.action_averages import ActionAverages
from mocap.metrics.ground_truth.human36m import in_camera
from mocap.types import Trajectories3D

Rows = list[tuple[str, ...]]

PROTOCOLS = ("auto", "pose", "shelf")


def load_prediction(path: Path) -> Poses3D:
    """The poses of a session's filtered result, or of a result file.

    Raises
    ------
    MocapError
        Neither of them, or a session that is not up to date.
    """
    if path.is_dir():
        return Poses3D.of(Results(path).read(Stage.FILTER, Trajectories3D), str(path))
    return read_result_npz(path)


def in_axes_of(truth: Poses3D, camera: str, select: str = "") -> Poses3D:
    """The truth in the axes of a camera, named as ``RIG:NAME``; unchanged where none is named.

    Of Human3.6M's camera parameters those of the subject that `select` names are taken.

    Raises
    ------
    MocapError
        A file that is no calibration, or without that camera.
    """
    if not camera:
        return truth
    from calibration.formats import ReadOptions, read_rig

    path, _, name = camera.rpartition(":")
    subject, named, _ = select.partition("/")
    rig = read_rig(Path(path), options=ReadOptions(subject=subject) if named else None)
    if name not in rig.names:
        raise DataError("no such camera", expected=", ".join(rig.names), found=name, where=path)
    return in_camera(truth, rig.cameras[rig.names.index(name)])


def is_shelf(protocol: str, truth: Poses3D) -> bool:
    """Whether results are scored by parts: asked for, or the truth has Shelf's joints.

    Raises
    ------
    SettingsError
        No such protocol.
    DataError
        Parts are asked for and the truth has other joints.
    """
    if protocol not in PROTOCOLS:
        raise SettingsError("no such protocol", expected=", ".join(PROTOCOLS), found=protocol, where="--protocol")
    if protocol == "shelf" and truth.joint_names != SHELF_JOINTS:
        raise DataError("PCP needs the joints of Shelf or Campus", expected="actorsGT.mat or the same as npz",
                        found=f"{len(truth.joint_names)} joints", where=truth.origin)  # fmt: skip
    return protocol == "shelf" or (protocol == "auto" and truth.joint_names == SHELF_JOINTS)


def aligned_text(rows: Rows) -> str:
    """Rows as text: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = [[c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))] for r in rows]
    return "\n".join("  ".join(row).rstrip() for row in cells)


def describe_score(evaluation: Evaluation) -> str:
    """The table of joints and a summary, as text."""
    summary = (
        f"{evaluation.frames} frames, {len(evaluation.person_pairs)} person(s); "
        f"MPJPE {1000 * evaluation.mpjpe:.1f} mm, root-aligned {1000 * evaluation.root_mpjpe:.1f} mm, "
        f"PA-MPJPE {1000 * evaluation.pa_mpjpe:.1f} mm; missing {100 * evaluation.missing:.1f} %"
    )
    return f"{aligned_text(table(evaluation))}\n{summary}"


def describe_all(results: Mapping[str, Evaluation]) -> str:
    """Everything about one result, or several side by side."""
    parts = []
    if len(results) == 1:
        evaluation = next(iter(results.values()))
        worst: Rows = [("worst frame", "MPJPE mm", "worst joint")]
        worst += [(str(f), f"{1000 * e:.2f}", joint) for f, e, joint in worst_frames(evaluation)]
        parts += [aligned_text(table(evaluation)), aligned_text(time_table(evaluation)), aligned_text(worst)]
        if evaluation.actions:
            parts.append(aligned_text(action_table(evaluation)))
    parts.append(aligned_text(comparison_table([short_name(n, results) for n in results], list(results.values()))))
    for name, evaluation in results.items():
        if evaluation.joints_left_out:
            parts.append(f"{short_name(name, results)}: not compared: {', '.join(evaluation.joints_left_out)}")
        said = list(evaluation.notes)
        if evaluation.frame_offset:
            said.append(f"{evaluation.frame_offset} was added to the result's frame numbers")
        parts += [f"{short_name(name, results)}: {note}" for note in said]
    if len(results) == 1:
        parts.append(describe_score(evaluation).splitlines()[-1])
    return "\n\n".join(parts)


def average_text(averages: ActionAverages) -> str:
    """Errors of each action over all its results, and both averages, as text."""
    rows: Rows = [("action", "MPJPE mm", "root-aligned mm", "PA-MPJPE mm")]
    rows += [(name, *(f"{v:.2f}" for v in row)) for name, row in zip(averages.actions, averages.by_action, strict=True)]
    rows.append(("mean of actions", *(f"{v:.2f}" for v in averages.of_actions)))
    rows.append(("mean of samples", *(f"{v:.2f}" for v in averages.of_samples)))
    return aligned_text(rows)


def describe_shelf(results: Mapping[str, ShelfScore]) -> str:
    """PCP by actor and part, results side by side."""
    scores = list(results.values())
    rows: Rows = [("PCP@0.5 %", *(short_name(n, results) for n in results))]
    rows.append(("mean of actors 1-3", *(_percent(s.pcp) for s in scores)))
    for a in range(len(scores[0].by_actor)):
        rows.append((f"  actor {a + 1}", *(_percent(s.by_actor[a]) for s in scores)))
    for i, part in enumerate(SHELF_PARTS):
        rows.append((f"  {part[0]}", *(_percent(s.by_part[i]) for s in scores)))
    rows.append(("both ends right (strict)", *(_percent(s.pcp_strict) for s in scores)))
    rows.append(("limb joints mm", *(f"{1000 * s.limb_error:.1f}" for s in scores)))
    rows.append(("identity switches", *(str(s.id_switches) for s in scores)))
    rows.append(("people per frame", *(f"{s.people_per_frame:.2f}" for s in scores)))
    rows.append(("frames", *(str(s.frames) for s in scores)))
    return aligned_text(rows)


def short_name(name: str, results: Mapping[str, object]) -> str:
    """The last part of a path where it is unambiguous."""
    last = Path(name).name
    return last if sum(Path(n).name == last for n in results) == 1 else name


def _percent(value: float) -> str:
    return f"{100 * value:.2f}" if np.isfinite(value) else "-"


def score_json(evaluation: Evaluation) -> dict[str, Any]:
    """All scores by name; lengths in millimetres, shares 0..1, null where there is none."""
    e = evaluation
    joints = {
        f"per_joint_{kind}_mm": dict(zip(e.joint_names, _mm_list(values), strict=True))
        for kind, values in (("mpjpe", e.per_joint), ("root_aligned", e.root_per_joint), ("pa_mpjpe", e.pa_per_joint))
    }
    return {
        "mpjpe_mm": millimetres(e.mpjpe),
        "mpjpe_interval_mm": [millimetres(v) for v in e.mpjpe_interval],
        "mpjpe_filled_mm": millimetres(e.mpjpe_filled),
        "root_aligned_mpjpe_mm": millimetres(e.root_mpjpe),
        "n_mpjpe_mm": millimetres(e.n_mpjpe),
        "pa_mpjpe_mm": millimetres(e.pa_mpjpe),
        "root_aligned_mpjpe_without_root_mm": millimetres(e.root_mpjpe_without_root),
        "rigid_aligned_mpjpe_mm": millimetres(e.rigid_mpjpe),
        "median_mm": millimetres(e.median),
        "p95_mm": millimetres(e.p95),
        "pck3d_150mm": rounded(e.pck150, 5),
        "auc": rounded(e.auc, 5),
        "pck3d_150mm_without_root": rounded(e.pck150_without_root, 5),
        "auc_without_root": rounded(e.auc_without_root, 5),
        "cps_mm": millimetres(e.cps),
        "mpjve_mm_per_frame": millimetres(e.mpjve),
        "acceleration_error_mm_per_frame2": millimetres(e.acceleration),
        "mpjve_mm_per_s": millimetres(e.mpjve * e.fps),
        "acceleration_error_m_per_s2": rounded(e.acceleration * e.fps**2, 4),
        "foot_slide_mm_per_frame": millimetres(e.foot_slide),
        "missing": rounded(e.missing, 5),
        "missing_of_truth": rounded(e.missing_of_truth, 5),
        "limb_spread": rounded(e.limb_spread, 5),
        "limb_length_error_mm": millimetres(e.limb_error),
        "frames": e.frames,
        "persons": [list(pair) for pair in e.person_pairs],
        "per_person_mpjpe_mm": _mm_list(e.per_person),
        "per_person_root_aligned_mm": _mm_list(e.root_per_person),
        "per_person_pa_mpjpe_mm": _mm_list(e.pa_per_person),
        **_actions_json(e),
        "frame_offset": e.frame_offset,
        "notes": list(e.notes),
        "identity": {k: rounded(float(v), 5) for k, v in asdict(e.identity).items()},
        "joints_left_out": list(e.joints_left_out),
        **joints,
        "worst_frames": [{"frame": f, "mpjpe_mm": millimetres(v), "worst_joint": j} for f, v, j in worst_frames(e, 10)],
        "over_time": {"frames": e.frame_numbers.tolist(), "mpjpe_mm": _mm_list(e.per_frame),
                      "root_aligned_mm": _mm_list(e.root_per_frame), "pa_mpjpe_mm": _mm_list(e.pa_per_frame)},
    }  # fmt: skip


def _actions_json(e: Evaluation) -> dict[str, Any]:
    """Errors per action and their mean, each action counting alike; nothing where the truth names no actions."""
    if not e.actions:
        return {}
    kinds = (("mpjpe", e.per_action), ("root_aligned", e.root_per_action), ("pa_mpjpe", e.pa_per_action))
    means = (("mpjpe", e.action_mpjpe), ("root_aligned", e.action_root_mpjpe), ("pa_mpjpe", e.action_pa_mpjpe))
    return {
        **{f"per_action_{kind}_mm": dict(zip(e.actions, _mm_list(v), strict=True)) for kind, v in kinds},
        **{f"mean_of_actions_{kind}_mm": millimetres(v) for kind, v in means},
    }


def averages_json(averages: ActionAverages) -> dict[str, Any]:
    """Both averages over several sequences, millimetres."""
    kinds = ("mpjpe_mm", "root_aligned_mpjpe_mm", "pa_mpjpe_mm")

    def row(values: Any) -> dict[str, float | None]:
        return {k: rounded(float(v), 3) for k, v in zip(kinds, values, strict=True)}

    return {
        "mean_of_actions": row(averages.of_actions),
        "mean_of_samples": row(averages.of_samples),
        "actions": {n: row(v) for n, v in zip(averages.actions, averages.by_action, strict=True)},
    }


def shelf_json(score: ShelfScore) -> dict[str, Any]:
    """PCP in per cent, lengths in millimetres; null where there is none."""
    return {
        "pcp_average": rounded(100 * score.pcp, 2),
        "pcp_strict_average": rounded(100 * score.pcp_strict, 2),
        "pcp_by_actor": {str(a + 1): rounded(100 * v, 2) for a, v in enumerate(score.by_actor) if np.isfinite(v)},
        "pcp_by_part": {p[0]: rounded(100 * float(v), 2) for p, v in zip(SHELF_PARTS, score.by_part, strict=True)},
        "limb_mpjpe_mm": rounded(1000 * score.limb_error, 1),
        "id_switches": score.id_switches,
        "people_per_frame": rounded(score.people_per_frame, 2),
        "frames": score.frames,
    }


def rounded(value: float, digits: int) -> float | None:
    """A figure for JSON: null where there is none."""
    return round(float(value), digits) if np.isfinite(value) else None


def millimetres(value: float) -> float | None:
    """Metres as millimetres for JSON."""
    return rounded(1000 * value, 3)


def _mm_list(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [millimetres(float(v)) for v in values]
