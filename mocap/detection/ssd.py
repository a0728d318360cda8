"""Decoding of BlazePose's person finder: anchors, boxes, keypoints, weighted suppression.

Source: V. Bazarevsky et al., BlazeFace (2019), section 3 (anchor scheme, blending instead of
suppression); constants of the published network `pose_detection.tflite`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INPUT_SIZE = 224
_STRIDES = (8, 16, 32, 32, 32)
_ANCHORS_PER_LAYER = 2
_SCORE_CLIP = 100.0


def anchors() -> NDArray[np.float64]:
    """Anchor centres [2254, 2] in units of the input size; layers of one stride are interleaved."""
    centres = []
    for stride in sorted(set(_STRIDES)):
        cells = INPUT_SIZE // stride
        per_cell = _ANCHORS_PER_LAYER * _STRIDES.count(stride)
        y, x = np.mgrid[0:cells, 0:cells]
        grid = np.stack([x, y], axis=-1).reshape(-1, 2)
        centres.append(np.repeat((grid + 0.5) / cells, per_cell, axis=0))
    return np.concatenate(centres)


def decode(
    raw_boxes: NDArray[np.float32], raw_scores: NDArray[np.float32], anchor_centres: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and scores from the network's outputs.

    Parameters
    ----------
    raw_boxes : float [N, A, 12]
        Per anchor: box centre, box size, four keypoints; offsets in input px.
    raw_scores : float [N, A, 1]
        Logits.
    anchor_centres : float [A, 2]

    Returns
    -------
    points : float64 [N, A, 6, 2]
        Box corners (low, high), then mid-hip, whole-body circle point, mid-shoulder and upper-body
        circle point, in units of the input size (0..1 from edge to edge).
    scores : float64 [N, A]
    """
    pairs = raw_boxes.reshape(*raw_boxes.shape[:2], 6, 2).astype(np.float64) / INPUT_SIZE
    centre, size = pairs[:, :, 0] + anchor_centres, pairs[:, :, 1]
    keypoints = pairs[:, :, 2:] + anchor_centres[:, None]
    points = np.concatenate([(centre - size / 2)[:, :, None], (centre + size / 2)[:, :, None], keypoints], axis=2)
    logits = np.clip(raw_scores[..., 0].astype(np.float64), -_SCORE_CLIP, _SCORE_CLIP)
    return points, 1.0 / (1.0 + np.exp(-logits))


def blend(
    points: NDArray[np.float64], scores: NDArray[np.float64], overlap: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted suppression: of overlapping boxes the score-weighted mean remains, with the best score.

    Parameters
    ----------
    points : float [A, 6, 2]
        As `decode` gives them, of one image.
    scores : float [A]
    overlap : float
        Intersection over union from which boxes belong together.

    Returns
    -------
    points [n, 6, 2], scores [n], best first.
    """
    order = np.argsort(-scores, kind="stable")
    points, scores = points[order], scores[order]
    kept_points, kept_scores = [], []
    while len(scores):
        together = box_overlap(points[0, :2], points[:, :2]) > overlap
        together[0] = True
        weights = scores[together] / scores[together].sum()
        kept_points.append(np.einsum("a,aij->ij", weights, points[together]))
        kept_scores.append(scores[0])
        points, scores = points[~together], scores[~together]
    return np.array(kept_points).reshape(-1, 6, 2), np.array(kept_scores)


def box_overlap(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box [2, 2] (low, high corner) with others [n, 2, 2]."""
    extent = np.clip(np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0]), 0, None)
    shared = extent.prod(-1)
    areas = np.clip(boxes[:, 1] - boxes[:, 0], 0, None).prod(-1)
    union = areas + np.clip(box[1] - box[0], 0, None).prod() - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
