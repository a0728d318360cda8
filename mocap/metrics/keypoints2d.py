"""2D keypoints against truth: PCK, PCKh, OKS and average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

COCO_SIGMAS: Array = np.array(
    [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087,
     0.089, 0.089]
)  # fmt: skip
"""Spread of annotators per COCO-17 joint, relative to the square root of the area (COCO keypoint evaluation)."""

OKS_THRESHOLDS: Array = np.linspace(0.5, 0.95, 10)

_RECALLS = np.linspace(0.0, 1.0, 101)


def pck(prediction: Array, truth: Array, size: Array, alpha: float = 0.2) -> float:
    """Share (0..1) of known joints that are nearer than `alpha` times the person's size.

    Yang & Ramanan, Articulated human detection (PAMI 35, 2013): `size` is the longer side
    of the person's box. Their test is "falls within", so the border counts.

    Parameters
    ----------
    prediction, truth : [..., J, 2], px
        A missing prediction is wrong, a missing truth does not count.
    size : [...], px
    alpha : float
    """
    known = np.isfinite(truth).all(-1)
    right = np.linalg.norm(prediction - truth, axis=-1) <= alpha * np.asarray(size)[..., None]
    return float(right[known].mean()) if known.any() else float("nan")


def pck_by_joint(prediction: Array, truth: Array, size: Array, alpha: float = 0.2) -> Array:
    """`pck` of each joint [J] by itself; NaN for a joint that is never known. Parameters as in `pck`.

    Papers' mean is over all known joints (`pck`), MPII's over the means of joint groups: both can be made of this.
    """
    known = np.isfinite(truth).all(-1)
    right = np.linalg.norm(prediction - truth, axis=-1) <= alpha * np.asarray(size)[..., None]
    axes = tuple(range(known.ndim - 1))
    count = known.sum(axes)
    return np.asarray(np.where(count > 0, (right & known).sum(axes) / np.maximum(count, 1), np.nan))


def pckh(prediction: Array, truth: Array, head_size: Array, alpha: float = 0.5) -> float:
    """PCK normalised by the head (PCKh@0.5): Andriluka et al., 2D human pose estimation (CVPR 2014).

    `head_size` [...] px is 0.6 times the diagonal of the head's box, as MPII's evaluation counts it.
    """
    return pck(prediction, truth, head_size, alpha)


def box_size(truth: Array) -> Array:
    """Longer side [...] of the box round the known joints [..., J, 2], px; NaN without any."""
    known = np.asarray(np.isfinite(truth).all(-1, keepdims=True))
    high = np.where(known, truth, -np.inf).max(-2)
    low = np.where(known, truth, np.inf).min(-2)
    return np.asarray(np.where(known.any(axis=(-1, -2)), (high - low).max(-1), np.nan))


def oks(prediction: Array, truth: Array, area: Array, sigmas: Array = COCO_SIGMAS) -> Array:
    """Object keypoint similarity [...], 0..1 (COCO keypoint evaluation; Ronchi & Perona, ICCV 2017, eq. 1).

    The mean over the joints that the truth has of exp(-d^2 / (2 area (2 sigma)^2)); a missing prediction
    counts 0 there. NaN without a known joint.

    Parameters
    ----------
    prediction, truth : [..., J, 2], px
    area : [...], px2
        Of the person's segment (or box) in the truth.
    sigmas : [J]

    Raises
    ------
    DataError
        Sigmas of another number of joints.
    """
    if len(sigmas) != np.asarray(truth).shape[-2]:
        found = f"{np.asarray(truth).shape[-2]} joints"
        raise DataError("sigmas do not fit the joints", expected=f"{len(sigmas)} joints", found=found, where="oks")
    d2 = ((np.asarray(prediction, np.float64) - truth) ** 2).sum(-1)
    known = np.isfinite(truth).all(-1)
    spread = 2 * np.maximum(np.asarray(area, np.float64), np.spacing(1))[..., None] * (2 * sigmas) ** 2
    similar = np.where(known & np.isfinite(d2), np.exp(-np.where(np.isfinite(d2), d2, 0) / spread), 0.0)
    return np.where(known.any(-1), similar.sum(-1) / np.maximum(known.sum(-1), 1), np.nan)


@dataclass(frozen=True, eq=False)
class KeypointAP:
    """COCO keypoint average precision, 0..1.

    Attributes
    ----------
    ap : float
        Mean over OKS thresholds 0.50, 0.55, ..., 0.95 (the papers' AP or mAP).
    ap50, ap75 : float
    ar : float
        Mean over the thresholds of the highest recall.
    """

    ap: float
    ap50: float
    ap75: float
    ar: float


def average_precision(similarity: list[Array], scores: list[Array]) -> KeypointAP:
    """Average precision of detections, as the COCO API computes it for one category.

    Detections, best score first, each take the free truth they are most similar to; precision is
    made monotone and sampled at 101 recalls. Areas, crowds and the limit of 20 detections are left out.

    Parameters
    ----------
    similarity : list over images of [n_detections, n_truths]
        `oks` of each pair.
    scores : list over images of [n_detections]
        Confidence of each detection.

    Returns
    -------
    KeypointAP
        NaN throughout without truth.
    """
    truths = sum(s.shape[1] for s in similarity)
    if not truths:
        return KeypointAP(*[float("nan")] * 4)
    ordered = [s[np.argsort(-c, kind="mergesort")] for s, c in zip(similarity, scores, strict=True)]
    ranks = np.concatenate([np.sort(-c, kind="mergesort") for c in scores]) if scores else np.zeros(0)
    precision, recall = [], []
    for threshold in OKS_THRESHOLDS:
        hit = np.concatenate([_take(s, float(threshold)) for s in ordered])[np.argsort(ranks, kind="mergesort")]
        p, r = _curve(hit, truths)
        precision.append(p)
        recall.append(r)
    return KeypointAP(float(np.mean(precision)), precision[0], precision[5], float(np.mean(recall)))


def _take(similarity: Array, threshold: float) -> Bools:
    """Which detections of an image, best first, find a truth."""
    free = np.ones(similarity.shape[1], bool)
    hit = np.zeros(len(similarity), bool)
    for i, row in enumerate(similarity):
        open_ = np.where(free, row, -1.0)
        # The threshold is inclusive, with the COCO API's guard for rounding.
        if open_.size and open_.max() >= min(threshold, 1 - 1e-10):
            free[int(open_.argmax())] = False
            hit[i] = True
    return hit


def _curve(hit: Bools, truths: int) -> tuple[float, float]:
    if not len(hit):
        return 0.0, 0.0
    right = np.cumsum(hit)
    recall = right / truths
    precision = np.maximum.accumulate((right / np.arange(1, len(hit) + 1))[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(at, len(hit))].mean()), float(recall[-1])
