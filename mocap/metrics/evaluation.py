"""Scoring a reconstruction against ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.metrics.bootstrap import bootstrap_interval
from mocap.metrics.correspondence import common_joints, common_rows, joints_left_out, root_weights
from mocap.metrics.filling import fill_gaps
from mocap.metrics.identity import IdentityScore, identity_score, person_distances
from mocap.metrics.limbs import limb_spread
from mocap.metrics.motion_error import acceleration_error, foot_slide, mpjve
from mocap.metrics.pairing import align_take, matched_persons
from mocap.metrics.pcp import ShelfScore, shelf_score
from mocap.metrics.poses import Poses3D
from mocap.metrics.position_error import joint_errors, n_mpjpe, pa_joint_errors
from mocap.metrics.settings import EvaluationSettings
from mocap.metrics.shelf_joints import to_shelf
from mocap.metrics.thresholds import auc3d, cps, pck3d
from mocap.metrics.units import check_unit
from mocap.skeleton import identify

Array = NDArray[np.float64]

_FPS_UNKNOWN = 30.0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of a reconstruction.

    Root-aligned means relative to the pelvis (the middle of the hips, else the first joint); the
    root counts, with error 0.

    Attributes
    ----------
    joint_names : tuple of str
        Joints that were compared.
    joints_left_out : tuple of str
        Joints of the truth that the prediction has nothing to compare with.
    mpjpe, root_mpjpe, pa_mpjpe, n_mpjpe : float, metres
        Absolute, root-aligned (protocol 1), Procrustes-aligned (protocol 2) and root-aligned with
        the best scale, over all joint samples that both have.
    mpjpe_interval : (float, float), metres
        Bootstrap confidence interval of `mpjpe`, in blocks of time.
    mpjpe_filled : float, metres
        Absolute, over all joint samples of the truth, frames that the prediction lacks included;
        gaps filled as `mocap.metrics.filling` does.
    median, p95 : float, metres
        Of the absolute errors.
    missing : float
        Share of the truth's joint samples that the reconstruction lacks, in the frames compared.
    missing_of_truth : float
        The same over all frames of the truth.
    pck150, auc : float
        3DPCK at 150 mm and its AUC, root-aligned, 0..1; missing joints are wrong.
    cps : float, metres
        Correct poses score, at best 0.3.
    mpjve : float, metres per frame
        Root-aligned.
    acceleration : float, metres per frame squared
        Absolute ("jitter").
    foot_slide : float, metres per frame
        Of the prediction's ankles when low; NaN without ankles.
    per_joint, root_per_joint, pa_per_joint : float64 [J], metres
    per_person : float64 [P_truth], metres
        Absolute; NaN for a person who was not found.
    per_frame : float64 [T], metres
        Absolute, of the frames compared.
    worst_joint : int [T]
        Row in `joint_names` of the frame's largest error; -1 where nothing is known.
    frame_numbers : int [T]
    person_pairs : tuple of (truth id, predicted id)
    frames : int
        Frames compared.
    limb_spread : float
        Mean over limbs and persons of std/mean of the prediction's limb lengths; NaN without limbs.
    identity : IdentityScore
    """

    joint_names: tuple[str, ...]
    joints_left_out: tuple[str, ...]
    mpjpe: float
    root_mpjpe: float
    pa_mpjpe: float
    n_mpjpe: float
    mpjpe_interval: tuple[float, float]
    mpjpe_filled: float
    median: float
    p95: float
    missing: float
    missing_of_truth: float
    pck150: float
    auc: float
    cps: float
    mpjve: float
    acceleration: float
    foot_slide: float
    per_joint: Array
    root_per_joint: Array
    pa_per_joint: Array
    per_person: Array
    per_frame: Array
    worst_joint: NDArray[np.int64]
    frame_numbers: NDArray[np.int64]
    person_pairs: tuple[tuple[int, int], ...]
    frames: int
    limb_spread: float
    identity: IdentityScore


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
    aligned = pa_joint_errors(c.matched, c.actual)
    known = np.asarray(np.isfinite(c.actual).all(-1))
    found = absolute[np.isfinite(absolute)]
    every = np.isfinite(c.actual_everywhere).all(-1)
    filled = joint_errors(fill_gaps(c.matched_everywhere, c.all_frames), c.actual_everywhere)
    return Evaluation(
        joint_names=c.names,
        joints_left_out=joints_left_out(truth, c.names),
        mpjpe=float(_mean(absolute)),
        root_mpjpe=float(_mean(relative)),
        pa_mpjpe=float(_mean(aligned)),
        n_mpjpe=_scaled(centred, centred_truth),
        mpjpe_interval=_interval(absolute, prediction, truth, settings),
        mpjpe_filled=float(_mean(filled)),
        median=float(np.median(found)) if len(found) else float("nan"),
        p95=float(np.percentile(found, 95)) if len(found) else float("nan"),
        missing=1 - len(found) / max(int(known.sum()), 1),
        missing_of_truth=1 - len(found) / max(int(every.sum()), 1),
        pck150=pck3d(relative, known),
        auc=auc3d(relative, known),
        cps=cps(c.matched, c.actual),
        mpjve=mpjve(centred, centred_truth, c.frames),
        acceleration=acceleration_error(c.matched, c.actual, c.frames),
        foot_slide=_slide(c),
        per_joint=_mean(absolute, (0, 1)),
        root_per_joint=_mean(relative, (0, 1)),
        pa_per_joint=_mean(aligned, (0, 1)),
        per_person=_mean(absolute, (0, 2)),
        per_frame=_mean(absolute, (1, 2)),
        worst_joint=_worst_joint(absolute),
        frame_numbers=c.frames,
        person_pairs=tuple((int(truth.person_ids[t]), int(prediction.person_ids[p])) for t, p in c.pairs),
        frames=len(c.frames),
        limb_spread=_spread(prediction),
        identity=identity_score(
            person_distances(c.predicted, c.actual),
            np.asarray(known.any(-1)),
            np.asarray(np.isfinite(c.predicted).all(-1).any(-1)),
        ),
    )


def _compare(prediction: Poses3D, truth: Poses3D, settings: EvaluationSettings) -> _Compared:
    rows_p, rows_t = common_rows(prediction, truth, settings.frame_offset)
    mapped, target, names = common_joints(prediction, truth)
    predicted, actual = mapped[rows_p], target[rows_t]
    matched, pairs = matched_persons(predicted, actual, settings.association)
    matched = align_take(matched, actual, settings.alignment)
    everywhere = np.full_like(target, np.nan)
    everywhere[rows_t] = matched
    return _Compared(
        names, predicted, matched, actual, truth.frames[rows_t], pairs, everywhere, target, truth.frames
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
    rates = [f for f in (truth.fps, prediction.fps) if np.isfinite(f)]
    block = max(1, round(settings.interval_block_s * (rates[0] if rates else _FPS_UNKNOWN)))
    totals = np.where(known, errors, 0.0).sum((1, 2))
    return bootstrap_interval(totals, known.sum((1, 2)), settings.interval_level, block=block)


def _slide(c: _Compared) -> float:
    ankles = [c.names.index(j) for j in ("l_ankle", "r_ankle") if j in c.names]
    if not ankles:
        return float("nan")
    return foot_slide(c.matched[:, :, ankles].reshape(len(c.matched), -1, 3), c.frames)


def _worst_joint(errors: Array) -> NDArray[np.int64]:
    worst = np.where(np.isfinite(errors), errors, -1.0).max(1)
    return np.where(worst.max(-1) >= 0, worst.argmax(-1), -1)


def _mean(errors: Array, axis: tuple[int, ...] | None = None) -> Array:
    known = np.isfinite(errors)
    count = known.sum(axis)
    total = np.where(known, errors, 0.0).sum(axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


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
