"""Scoring a reconstruction against ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.metrics.averages import action_rows, mean_by_group, mean_error, mean_of_groups, sample_counts
from mocap.metrics.bootstrap import bootstrap_interval
from mocap.metrics.correspondence import common_joints, common_rows, joints_left_out, root_weights
from mocap.metrics.filling import fill_gaps
from mocap.metrics.identity import IdentityScore, identity_score, person_distances
from mocap.metrics.limbs import limb_length_error, limb_spread
from mocap.metrics.motion_error import acceleration_error, foot_slide, mpjve
from mocap.metrics.pairing import align_take, matched_persons
from mocap.metrics.pcp import ShelfScore, shelf_score
from mocap.metrics.poses import Poses3D
from mocap.metrics.position_error import joint_errors, n_mpjpe, pa_joint_errors, rigid_joint_errors
from mocap.metrics.scores import Evaluation
from mocap.metrics.settings import EvaluationSettings
from mocap.metrics.shelf_joints import to_shelf
from mocap.metrics.suspicions import check_sizes, notes_on
from mocap.metrics.thresholds import auc3d, cps, pck3d
from mocap.metrics.time_alignment import best_offset
from mocap.metrics.units import check_unit
from mocap.skeleton import LIMBS_12, Skeleton, identify

Array = NDArray[np.float64]

_FPS_UNKNOWN = 30.0


@dataclass(frozen=True, eq=False)
class _Compared:
    """Poses side by side: matched, actual [T, A, J, 3] m of the common frames; of all truth's frames."""

    names: tuple[str, ...]
    predicted: Array
    matched: Array
    actual: Array
    frames: NDArray[np.int64]
    pairs: list[tuple[int, int]]
    matched_everywhere: Array
    actual_everywhere: Array
    all_frames: NDArray[np.int64]
    offset: int
    actions: tuple[str, ...]


def evaluate(prediction: Poses3D, truth: Poses3D, settings: EvaluationSettings | None = None) -> Evaluation:
    """Compare poses frame by frame.

    Frames meet by number, joints by name or through the map between their skeletons, persons as
    the settings say: unless told otherwise over the whole take so that the summed distance is least.

    Raises
    ------
    DataError
        Lengths not in metres, different frame rates, no common frame, joints that cannot be mapped,
        or no ground truth at all.
    """
    settings = settings or EvaluationSettings()
    for poses in (prediction, truth):
        check_unit(poses)
    c = _compare(prediction, truth, settings)
    weights = root_weights(c.names)
    centred, centred_truth = _centred(c.matched, weights), _centred(c.actual, weights)
    absolute, relative = joint_errors(c.matched, c.actual), joint_errors(centred, centred_truth)
    three = (absolute, relative, pa_joint_errors(c.matched, c.actual))
    known = np.asarray(np.isfinite(c.actual).all(-1))
    others = known & (weights < 1)
    found = absolute[np.isfinite(absolute)]
    every = np.isfinite(c.actual_everywhere).all(-1)
    filled = joint_errors(fill_gaps(c.matched_everywhere, c.all_frames), c.actual_everywhere)
    return Evaluation(
        joint_names=c.names,
        joints_left_out=joints_left_out(truth, c.names),
        n_mpjpe=_scaled(centred, centred_truth),
        mpjpe_interval=_interval(absolute, prediction, truth, settings),
        mpjpe_filled=float(mean_error(filled)),
        median=float(np.median(found)) if len(found) else float("nan"),
        p95=float(np.percentile(found, 95)) if len(found) else float("nan"),
        missing=1 - len(found) / max(int(known.sum()), 1),
        missing_of_truth=1 - len(found) / max(int(every.sum()), 1),
        pck150=pck3d(relative, known),
        auc=auc3d(relative, known),
        root_mpjpe_without_root=float(mean_error(np.where(others, relative, np.nan))),
        pck150_without_root=pck3d(relative, others),
        auc_without_root=auc3d(relative, others),
        rigid_mpjpe=float(mean_error(rigid_joint_errors(c.matched, c.actual))),
        cps=cps(c.matched, c.actual),
        mpjve=mpjve(centred, centred_truth, c.frames),
        acceleration=acceleration_error(c.matched, c.actual, c.frames),
        fps=_rate(prediction, truth),
        foot_slide=_slide(c),
        limb_error=_limb_error(c),
        worst_joint=_worst_joint(absolute),
        frame_numbers=c.frames,
        person_pairs=tuple((int(truth.person_ids[t]), int(prediction.person_ids[p])) for t, p in c.pairs),
        frames=len(c.frames),
        limb_spread=_spread(prediction),
        identity=_identity(c),
        frame_offset=c.offset,
        notes=notes_on(prediction, truth, c.matched, c.actual, settings),
        **_breakdown(three, c.actions),
    )


def _breakdown(errors: tuple[Array, Array, Array], actions: tuple[str, ...]) -> dict[str, Any]:
    """The fields of an `Evaluation` that are means of the absolute, root-aligned and aligned errors [T, A, J]."""
    names, rows = action_rows(actions)
    fields: dict[str, Any] = {"actions": names, "samples": sample_counts(*errors)}
    for kind, e in zip(("", "root_", "pa_"), errors, strict=True):
        by_action = mean_by_group(e, rows, len(names))
        fields |= {
            f"{kind}mpjpe": float(mean_error(e)),
            f"{kind}per_joint": mean_error(e, (0, 1)),
            f"{kind}per_person": mean_error(e, (0, 2)),
            f"{kind}per_frame": mean_error(e, (1, 2)),
            f"{kind}per_action": by_action,
            f"action_{kind}mpjpe": mean_of_groups(by_action),
        }
    return fields


def _identity(c: _Compared) -> IdentityScore:
    return identity_score(
        person_distances(c.predicted, c.actual),
        np.asarray(np.isfinite(c.actual).all(-1).any(-1)),
        np.asarray(np.isfinite(c.predicted).all(-1).any(-1)),
    )


def _compare(prediction: Poses3D, truth: Poses3D, settings: EvaluationSettings) -> _Compared:
    mapped, target, names = common_joints(prediction, truth, settings.wanted_joints)
    offset = settings.frame_offset
    if settings.search_offset:
        offset = best_offset(prediction, truth, mapped, target, settings)
    rows_p, rows_t = common_rows(prediction, truth, offset)
    predicted, actual = mapped[rows_p], target[rows_t]
    matched, pairs = matched_persons(predicted, actual, settings.association)
    check_sizes(matched, actual, prediction, settings.alignment)
    matched = align_take(matched, actual, settings.alignment)
    everywhere = np.full_like(target, np.nan)
    everywhere[rows_t] = matched
    return _Compared(
        names, predicted, matched, actual, truth.frames[rows_t], pairs, everywhere, target, truth.frames, offset,
        tuple(truth.actions[i] for i in rows_t) if truth.actions else (),
    )  # fmt: skip


def _scaled(centred: Array, centred_truth: Array) -> float:
    """N-MPJPE of poses whose root, not necessarily a joint, is at the origin."""
    origin = np.zeros((*centred.shape[:-2], 1, 3))
    x, y = np.concatenate([origin, centred], -2), np.concatenate([origin, centred_truth], -2)
    mask = np.ones(x.shape[:-1], bool)
    mask[..., 0] = False  # the origin stands for the root and is no joint of its own
    return n_mpjpe(x, y, mask)


def _interval(errors: Array, prediction: Poses3D, truth: Poses3D, settings: EvaluationSettings) -> tuple[float, float]:
    known = np.isfinite(errors)
    rate = _rate(prediction, truth)
    block = max(1, round(settings.interval_block_s * (rate if np.isfinite(rate) else _FPS_UNKNOWN)))
    totals = np.where(known, errors, 0.0).sum((1, 2))
    return bootstrap_interval(totals, known.sum((1, 2)), settings.interval_level, block=block)


def _rate(prediction: Poses3D, truth: Poses3D) -> float:
    """Frames per second of whichever says it, the truth first; NaN where neither does."""
    return next((f for f in (truth.fps, prediction.fps) if np.isfinite(f)), float("nan"))


def _slide(c: _Compared) -> float:
    ankles = [c.names.index(j) for j in ("l_ankle", "r_ankle") if j in c.names]
    if not ankles:
        return float("nan")
    return foot_slide(c.matched[:, :, ankles].reshape(len(c.matched), -1, 3), c.frames)


def _worst_joint(errors: Array) -> NDArray[np.int64]:
    worst = np.where(np.isfinite(errors), errors, -1.0).max(1)
    return np.where(worst.max(-1) >= 0, worst.argmax(-1), -1)


def _centred(poses: Array, weights: Array) -> Array:
    """Poses relative to their root, the weighted mean of the joints that make it."""
    used = weights > 0
    return poses - np.einsum("j,tpjc->tpc", weights[used], poses[:, :, used])[:, :, None]


def _spread(poses: Poses3D) -> float:
    try:
        skeleton = identify(poses.joint_names)
    except DataError:
        return float("nan")
    spread = limb_spread(poses.positions, skeleton)
    return float(np.nanmean(spread)) if np.isfinite(spread).any() else float("nan")


def _limb_error(c: _Compared) -> float:
    """Mean absolute error of the limbs' lengths; NaN where the joints compared do not have them all."""
    if not {j for limb in LIMBS_12 for j in limb} <= set(c.names):
        return float("nan")
    error = limb_length_error(c.matched, c.actual, Skeleton("compared", c.names, (), ()))
    return float(mean_error(error))


def evaluate_shelf(prediction: Poses3D, truth: Poses3D, settings: EvaluationSettings | None = None) -> ShelfScore:
    """PCP on Shelf or Campus: `mocap.metrics.pcp.shelf_score` on the truth's frames.

    Frames that the prediction lacks count as wrong. Of the settings only `frame_offset` matters.

    Raises
    ------
    DataError
        As `evaluate`, or joints that Shelf's cannot be made from.
    """
    for poses in (prediction, truth):
        check_unit(poses)
    rows_p, rows_t = common_rows(prediction, truth, settings.frame_offset if settings else 0)
    converted = to_shelf(prediction.positions[rows_p], prediction.joint_names)
    people = np.full((len(truth.frames), *converted.shape[1:]), np.nan)
    people[rows_t] = converted
    present = np.zeros(people.shape[:2], bool)
    present[rows_t] = np.isfinite(prediction.positions[rows_p]).any((-1, -2))
    return shelf_score(people, truth.positions, prediction.person_ids, present)
