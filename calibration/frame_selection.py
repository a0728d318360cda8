"""Which of many target poses to calibrate from: those that show something new."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.observations import TargetObservations

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Cells of the image along its longer side; a lens varies slowly over one of them.
CELLS = 10
_TILTS, _SIZES = 8, 4
_PAIR_WEIGHT = 4.0


def coverage_cells(observations: TargetObservations) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which cell of a grid over its camera's image each observation is in, and the number of cells per camera.

    Returns
    -------
    cell : int64 [N]
        Row-wise index within the camera's grid.
    shape : int64 [C, 2]
        Columns and rows of each camera's grid; cells are about square.
    """
    size = np.array(observations.sizes, dtype=np.float64).reshape(-1, 2)
    shape = np.maximum(1, np.round(CELLS * size / size.max(1, keepdims=True))).astype(np.int64)
    of = shape[observations.camera]
    place = np.floor((observations.pixel + 0.5) / size[observations.camera] * of).astype(np.int64)
    place = np.clip(place, 0, of - 1)
    return place[:, 1] * of[:, 0] + place[:, 0], shape


def select_poses(observations: TargetObservations, most: int) -> Bools:
    """The target poses [B] to keep: image coverage, variety of tilt and distance, cameras linked to each other.

    Each pose counts for the image cells its corners fall into, for the shape in which each camera
    sees it, and for the pairs of cameras that see it together; what has been seen n times counts
    1 / (1 + n). Poses are taken greedily, which for such a sum of diminishing returns is within 1 - 1/e
    of the best choice (Nemhauser, Wolsey & Fisher 1978).

    Parameters
    ----------
    observations : TargetObservations
    most : int
        Poses to keep at most.
    """
    B = len(observations.times)
    seen = np.bincount(observations.pose, minlength=B) > 0
    if seen.sum() <= most:
        return seen
    features, weight = _features(observations)
    count = np.zeros(features.shape[1])
    chosen = np.zeros(B, bool)
    open_ = seen.copy()
    for _ in range(most):
        gain = np.where(open_, features @ (weight / (1 + count)), -1.0)
        best = int(gain.argmax())
        chosen[best], open_[best] = True, False
        count += features[best]
    return chosen


def _features(o: TargetObservations) -> tuple[Array, Array]:
    """What each pose shows [B, F] (0 or 1), and the weight of each feature [F]."""
    B, C = len(o.times), len(o.cameras)
    cell, shape = coverage_cells(o)
    cells = int(shape.prod(1).max())
    image = np.zeros((B, C, cells))
    image[o.pose, o.camera, cell] = 1
    tilt = np.zeros((B, C, _TILTS * _SIZES))
    pose, camera, bucket = _appearance(o)
    tilt[pose, camera, bucket] = 1
    sees = np.zeros((B, C), bool)
    sees[o.pose, o.camera] = True
    i, j = np.triu_indices(C, 1)
    pairs = (sees[:, i] & sees[:, j]).astype(np.float64)
    features = np.concatenate([image.reshape(B, -1), tilt.reshape(B, -1), pairs], axis=1)
    weight = np.concatenate([np.ones(C * cells), np.full(C * _TILTS * _SIZES, 2.0), np.full(len(i), _PAIR_WEIGHT)])
    return features, weight


def _appearance(o: TargetObservations) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Per view: its pose, its camera, and a class of the affine shape (direction of foreshortening, size)."""
    key = o.pose * len(o.cameras) + o.camera
    views, of = np.unique(key, return_inverse=True)
    n = np.bincount(of).astype(np.float64)

    def mean(value: Array) -> Array:
        return np.bincount(of, value) / n

    x, y = o.pixel[:, 0], o.pixel[:, 1]
    dx, dy = x - mean(x)[of], y - mean(y)[of]
    xx, yy, xy = mean(dx * dx), mean(dy * dy), mean(dx * dy)
    direction = np.mod(0.5 * np.arctan2(2 * xy, xx - yy), np.pi)
    spread = np.sqrt(np.maximum(xx + yy, 1e-12))
    long = np.array(o.sizes).max(1)[views % len(o.cameras)]
    size = np.clip(np.log2(np.maximum(spread / long, 1e-6) / 0.02), 0, _SIZES - 1).astype(np.int64)
    turn = np.minimum((direction / np.pi * _TILTS).astype(np.int64), _TILTS - 1)
    return views // len(o.cameras), views % len(o.cameras), turn * _SIZES + size
