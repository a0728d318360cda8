"""What people look like: the colours of their clothes, by which matching knows them again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import Skeleton

Floats = NDArray[np.float32]

COLOURS = 6
"""Mean L, a, b (CIE 1976) of the upper body, then of the thighs."""

# Samples along and across each part, and how far inside its joints they stay (shares).
_ALONG, _ACROSS, _INSET = 8, 4, 0.15
# What is finer than this, in parts of 1, is noise and does not compress.
_FINENESS = 16
_PARTS = (("l_shoulder", "r_shoulder", "l_hip", "r_hip"), ("l_hip", "r_hip", "l_knee", "r_knee"))


def describe_people(
    frames: NDArray[np.uint8], keypoints: Floats, confidence: Floats, skeleton: Skeleton, least_confidence: float = 0.3
) -> Floats:
    """Colours of everybody's clothes.

    Parameters
    ----------
    frames : uint8 [n, H, W, 3]
        BGR.
    keypoints : float32 [n, P, J, 2]
        Raw-image px.
    confidence : float32 [n, P, J]
    skeleton : Skeleton
    least_confidence : float
        Of each of the four joints that a part lies between.

    Returns
    -------
    float32 [n, P, 6]
        L 0..100, a and b about -100..100; NaN for a part that is not seen or outside the picture.
    """
    n, P = confidence.shape[:2]
    found = np.full((n, P, COLOURS), np.nan, np.float32)
    for k, part in enumerate(_PARTS):
        if not set(part) <= set(skeleton.joints):
            continue
        joints = [skeleton.index(name) for name in part]
        seen = (confidence[:, :, joints] >= least_confidence).all(-1)
        frame, person = np.nonzero(seen)
        if len(frame):
            corners = keypoints[frame, person][:, joints]
            found[frame, person, 3 * k : 3 * k + 3] = _mean_lab(frames, frame, corners)
    return found


def _mean_lab(frames: NDArray[np.uint8], frame: NDArray[np.int64], corners: Floats) -> Floats:
    """Mean Lab [m, 3] of the quadrilaterals with corners [m, 4, 2] px, each in its frame [m]."""
    down, across = (np.linspace(_INSET, 1 - _INSET, count) for count in (_ALONG, _ACROSS))
    v, u = (a.ravel() for a in np.meshgrid(down, across, indexing="ij"))
    weights = np.stack([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u])  # [4, S]
    at = np.rint(np.einsum("mkx,ks->msx", corners, weights)).astype(np.int64)
    height, width = frames.shape[1:3]
    inside = (at[..., 0] >= 0) & (at[..., 0] < width) & (at[..., 1] >= 0) & (at[..., 1] < height)
    x, y = np.clip(at[..., 0], 0, width - 1), np.clip(at[..., 1], 0, height - 1)
    bgr = frames[frame[:, None], y, x].astype(np.float32) / 255
    lab = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2Lab), np.float32)
    count = inside.sum(1)
    mean = (lab * inside[..., None]).sum(1) / np.maximum(count, 1)[:, None]
    mean = np.round(_FINENESS * mean) / _FINENESS
    return np.where((count >= inside.shape[1] / 2)[:, None], mean, np.nan).astype(np.float32)
