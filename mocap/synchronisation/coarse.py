"""Offsets to about a frame, between all cameras that can be told apart in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, rays
from calibration.time_scan import OffsetCurve, scan_pair
from mocap.types import Keypoints2D

Array = NDArray[np.float64]

_PARTNERS = 3  # pairs per camera in large rigs; a small one tries all
_MOST_FRAMES = 20_000
_MIN_CONFIDENCE = 0.2


@dataclass(frozen=True, eq=False)
class CoarseOffsets:
    """Offsets from pairs of cameras.

    Attributes
    ----------
    offset_s : float64 [V]
        How late each camera is against the reference; NaN where nothing tells.
    reference : int
    certainty : float64 [V]
        Of the least certain pair that links the camera to the reference (see `OffsetCurve`).
    curves : tuple of OffsetCurve
        Per camera: the pair that tells most about it.
    """

    offset_s: Array
    reference: int
    certainty: Array
    curves: tuple[OffsetCurve | None, ...]


def coarse_offsets(keypoints: Keypoints2D, rig: CameraRig, rate: Array, search_s: float) -> CoarseOffsets:
    """Try all offsets between pairs of cameras and chain the clearest.

    Parameters
    ----------
    keypoints : Keypoints2D
        Of the same cameras as `rig`, frame numbers as each camera counts them.
    rig : CameraRig
    rate : float64 [V]
        Frame rates as shares of the keypoints' own.
    search_s : float
        Largest offset, s.
    """
    keypoints = _middle(keypoints)
    seen = keypoints.confidence >= _MIN_CONFIDENCE
    pixels = np.where(seen[..., None], keypoints.keypoints, np.nan).astype(np.float64)
    centres, directions = rays(Lenses.of(rig), pixels)
    times = [keypoints.frames / (keypoints.fps * r) for r in rate]
    V = len(rig)
    links: list[tuple[float, int, int, OffsetCurve]] = []
    for a, b in _pairs(V):
        curve = scan_pair((directions[a], directions[b]), (times[a], times[b]), (centres[a], centres[b]), search_s)
        links.append((curve.certainty, a, b, curve))
    return _chain(V, links)


def _middle(keypoints: Keypoints2D) -> Keypoints2D:
    extra = len(keypoints.frames) - _MOST_FRAMES
    if extra <= 0:
        return keypoints
    rows = slice(extra // 2, extra // 2 + _MOST_FRAMES)
    return Keypoints2D(
        keypoints.keypoints[:, rows], keypoints.confidence[:, rows], keypoints.uncertainty[:, rows],
        keypoints.frames[rows], keypoints.cameras, keypoints.joint_names, keypoints.fps,
    )  # fmt: skip


def _pairs(views: int) -> list[tuple[int, int]]:
    if views <= 2 * _PARTNERS:
        return [(a, b) for a in range(views) for b in range(a + 1, views)]
    ring = {tuple(sorted((a, (a + k) % views))) for a in range(views) for k in range(1, _PARTNERS + 1)}
    return sorted((a, b) for a, b in ring)


def _chain(views: int, links: list[tuple[float, int, int, OffsetCurve]]) -> CoarseOffsets:
    """Maximum spanning forest over the clear pairs; the first camera of its largest tree is the reference."""
    group = np.arange(views)
    offset, certainty = np.zeros(views), np.full(views, np.inf)
    for sure, a, b, curve in sorted(links, key=lambda link: (-link[0], link[1:3])):
        if not curve.is_clear or group[a] == group[b]:
            continue
        # A moment that b's clock calls best_s later: b is early by that much.
        move = offset[a] - curve.best_s - offset[b]
        joined = group == group[b]
        offset[joined] += move
        certainty[joined | (group == group[a])] = np.minimum(certainty[joined | (group == group[a])], sure)
        group[joined] = group[a]
    sizes = np.bincount(group, minlength=views)
    largest = int(np.argmax(sizes))
    members = group == largest
    reference = int(np.flatnonzero(members)[0])
    best: list[OffsetCurve | None] = [None] * views
    for _, a, b, curve in sorted(links, key=lambda link: link[0]):
        best[a] = best[b] = curve
    alone = members.sum() < 2
    return CoarseOffsets(
        np.where(members & ~alone, offset - offset[reference], np.nan),
        reference,
        np.where(members & ~alone, certainty, 0.0),
        tuple(best),
    )
