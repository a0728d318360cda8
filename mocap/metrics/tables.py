"""Evaluations as rows of text: per joint, over time, worst frames, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mocap.metrics.scores import Evaluation

Rows = list[tuple[str, ...]]

_STRETCHES = 8


def table(evaluation: Evaluation) -> Rows:
    """Rows of text, the first a header: joint, MPJPE, root-aligned and PA-MPJPE in mm; the mean last."""
    rows: Rows = [("joint", "MPJPE mm", "root-aligned mm", "PA-MPJPE mm")]
    columns = (evaluation.per_joint, evaluation.root_per_joint, evaluation.pa_per_joint)
    for j, name in enumerate(evaluation.joint_names):
        rows.append((name, *(mm(c[j]) for c in columns)))
    rows.append(("mean", mm(evaluation.mpjpe), mm(evaluation.root_mpjpe), mm(evaluation.pa_mpjpe)))
    return rows


def action_table(evaluation: Evaluation) -> Rows:
    """Rows of text, the first a header: action and its errors in mm; the mean over actions, and over samples, last."""
    rows: Rows = [("action", "MPJPE mm", "root-aligned mm", "PA-MPJPE mm")]
    columns = (evaluation.per_action, evaluation.root_per_action, evaluation.pa_per_action)
    for i, name in enumerate(evaluation.actions):
        rows.append((name, *(mm(c[i]) for c in columns)))
    e = evaluation
    rows.append(("mean of actions", mm(e.action_mpjpe), mm(e.action_root_mpjpe), mm(e.action_pa_mpjpe)))
    rows.append(("mean of samples", mm(e.mpjpe), mm(e.root_mpjpe), mm(e.pa_mpjpe)))
    return rows


def time_table(evaluation: Evaluation, stretches: int = _STRETCHES) -> Rows:
    """Absolute MPJPE over time, in stretches of equally many frames: frames, mean and largest in mm."""
    rows: Rows = [("frames", "MPJPE mm", "worst frame mm")]
    for part in np.array_split(np.arange(evaluation.frames), min(stretches, evaluation.frames)):
        known = evaluation.per_frame[part][np.isfinite(evaluation.per_frame[part])]
        numbers = evaluation.frame_numbers[part]
        worst = known.max() if len(known) else np.nan
        mean = known.mean() if len(known) else np.nan
        rows.append((f"{numbers[0]}..{numbers[-1]}", mm(float(mean)), mm(float(worst))))
    return rows


def worst_frames(evaluation: Evaluation, count: int = 5) -> list[tuple[int, float, str]]:
    """The frames with the largest mean error: (frame number, metres, its worst joint), worst first."""
    errors = np.where(np.isfinite(evaluation.per_frame), evaluation.per_frame, -1.0)
    order = [i for i in np.argsort(-errors, kind="stable")[:count] if errors[i] >= 0]
    return [
        (int(evaluation.frame_numbers[i]), float(errors[i]), evaluation.joint_names[evaluation.worst_joint[i]])
        for i in order
    ]


def comparison_table(names: Sequence[str], evaluations: Sequence[Evaluation]) -> Rows:
    """Results side by side: one row per figure that at least one of them has, one column per result."""
    rows = ((label, *(text(e) for e in evaluations)) for label, text in _FIGURES)
    return [("", *names), *(row for row in rows if set(row[1:]) != {"-"})]


def mm(value: float) -> str:
    """Metres as millimetres with two digits; '-' for NaN."""
    return f"{1000 * value:.2f}" if np.isfinite(value) else "-"


def percent(value: float) -> str:
    """A share as per cent with two digits; '-' for NaN."""
    return f"{100 * value:.2f}" if np.isfinite(value) else "-"


def _metres(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


_FIGURES: tuple[tuple[str, Callable[[Evaluation], str]], ...] = (
    ("MPJPE mm", lambda e: mm(e.mpjpe)),
    ("  95 % interval mm", lambda e: f"{mm(e.mpjpe_interval[0])}..{mm(e.mpjpe_interval[1])}"),
    ("  gaps filled mm", lambda e: mm(e.mpjpe_filled)),
    ("  median mm", lambda e: mm(e.median)),
    ("  95th percentile mm", lambda e: mm(e.p95)),
    ("root-aligned MPJPE mm", lambda e: mm(e.root_mpjpe)),
    ("  without the root mm", lambda e: mm(e.root_mpjpe_without_root)),
    ("N-MPJPE mm", lambda e: mm(e.n_mpjpe)),
    ("PA-MPJPE mm", lambda e: mm(e.pa_mpjpe)),
    ("  size kept mm", lambda e: mm(e.rigid_mpjpe)),
    ("mean of actions: MPJPE mm", lambda e: mm(e.action_mpjpe)),
    ("  root-aligned mm", lambda e: mm(e.action_root_mpjpe)),
    ("  PA-MPJPE mm", lambda e: mm(e.action_pa_mpjpe)),
    ("3DPCK@150 mm %", lambda e: percent(e.pck150)),
    ("  without the root %", lambda e: percent(e.pck150_without_root)),
    ("AUC %", lambda e: percent(e.auc)),
    ("  without the root %", lambda e: percent(e.auc_without_root)),
    ("CPS mm", lambda e: mm(e.cps)),
    ("MPJVE mm/frame", lambda e: mm(e.mpjve)),
    ("acceleration error mm/frame2", lambda e: mm(e.acceleration)),
    ("  m/s2", lambda e: _metres(e.acceleration * e.fps**2)),
    ("foot slide mm/frame", lambda e: mm(e.foot_slide)),
    ("limb length spread %", lambda e: percent(e.limb_spread)),
    ("limb length error mm", lambda e: mm(e.limb_error)),
    ("missing %", lambda e: percent(e.missing)),
    ("MOTA %", lambda e: percent(e.identity.mota)),
    ("IDF1 %", lambda e: percent(e.identity.idf1)),
    ("identity switches", lambda e: str(e.identity.switches)),
    ("joints compared", lambda e: str(len(e.joint_names))),
    ("frames compared", lambda e: str(e.frames)),
)
