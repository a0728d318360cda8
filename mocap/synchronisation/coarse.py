"""Offsets to about a frame, between all cameras that can be told apart in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, rays
from calibration.synchronisation import TimeModel
from calibration.time_network import Helper, judge_with_helpers
from calibration.time_scan import OffsetCosts, OffsetCurve, judge, scan_pair, shifted
from mocap.rows import take
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
        Per camera, by what its clock shows later than the common one (how late it is, with the sign
        changed): all pairs with placed cameras, else the pair that tells most about it.
    evidence : dict of camera pair to OffsetCosts
    """

    offset_s: Array
    reference: int
    certainty: Array
    curves: tuple[OffsetCurve | None, ...]
    evidence: dict[tuple[int, int], OffsetCosts]


@dataclass(frozen=True, eq=False)
class Sights:
    """Where each camera looked at each joint, and when by its own clock.

    Attributes
    ----------
    directions : float64 [V, T, P, J, 3]
        Unit vectors in the world, NaN where not seen.
    centres : float64 [V, 3]
    times : float64 [V, T]
        s, frames that were lost counted.
    """

    directions: Array
    centres: Array
    times: Array

    @staticmethod
    def of(keypoints: Keypoints2D, rig: CameraRig, clocks: TimeModel) -> Sights:
        """Of the middle of a take; of `clocks` only rates and gaps count."""
        extra = max(0, len(keypoints.frames) - _MOST_FRAMES)
        keypoints = take(keypoints, slice(extra // 2, len(keypoints.frames) - (extra + 1) // 2))
        seen = keypoints.confidence >= _MIN_CONFIDENCE
        pixels = np.where(seen[..., None], keypoints.keypoints, np.nan).astype(np.float64)
        centres, directions = rays(Lenses.of(rig), pixels)
        frames = keypoints.frames.astype(np.float64)
        times = [clocks.counts(v, frames) / (keypoints.fps * r) for v, r in enumerate(clocks.rate)]
        return Sights(directions, centres, np.stack(times))


def coarse_offsets(sights: Sights, search_s: float) -> CoarseOffsets:
    """Try all offsets between pairs of cameras and chain the clearest.

    Parameters
    ----------
    sights : Sights
    search_s : float
        Largest offset, s.
    """
    d, t, c = sights.directions, sights.times, sights.centres
    evidence = {
        (a, b): scan_pair((d[a], d[b]), (t[a], t[b]), (c[a], c[b]), search_s) for a, b in _pairs(len(sights.times))
    }
    return _chain(len(sights.times), evidence)


def _pairs(views: int) -> list[tuple[int, int]]:
    if views <= 2 * _PARTNERS:
        return [(a, b) for a in range(views) for b in range(a + 1, views)]
    ring = {tuple(sorted((a, (a + k) % views))) for a in range(views) for k in range(1, _PARTNERS + 1)}
    return sorted((a, b) for a, b in ring)


def _chain(views: int, evidence: dict[tuple[int, int], OffsetCosts]) -> CoarseOffsets:
    """Grow a group of cameras from the clearest pair: next the one that all members together place best."""
    curves: list[OffsetCurve | None] = [None] * views
    offset, certainty = np.full(views, np.nan), np.zeros(views)
    pairs = {pair: judge([costs]) for pair, costs in evidence.items()}
    for pair, curve in sorted(pairs.items(), key=lambda item: item[1].certainty):
        # On the camera's own axis: what its clock is later than the partner's.
        curves[pair[0]] = OffsetCurve(-curve.offsets_s[::-1], curve.cost[::-1], -curve.best_s, curve.certainty)
        curves[pair[1]] = curve
    first = max(pairs, key=lambda pair: pairs[pair].certainty, default=None)
    if first is None:
        return CoarseOffsets(offset, 0, certainty, tuple(curves), evidence)
    offset[first[0]] = 0.0
    second = _place(first[1], offset, evidence)
    if second is None or not second.is_clear:
        return CoarseOffsets(np.full(views, np.nan), 0, certainty, tuple(curves), evidence)
    offset[first[1]], certainty[list(first)] = -second.best_s, second.certainty
    while True:
        placed = {v: _place(v, offset, evidence) for v in range(views) if np.isnan(offset[v])}
        found = {v: curve for v, curve in placed.items() if curve is not None}
        best = max(found, key=lambda v: found[v].certainty, default=None)
        if best is None or not found[best].is_clear:
            break
        # A moment that the camera's clock calls best_s later: it is early by that much.
        offset[best], certainty[best], curves[best] = -found[best].best_s, found[best].certainty, found[best]
    reference = int(np.flatnonzero(np.isfinite(offset))[0])
    offset = offset - offset[reference]
    for v in range(views):
        curves[v] = _place(v, np.where(np.arange(views) == v, np.nan, offset), evidence) or curves[v]
    return CoarseOffsets(offset, reference, certainty, tuple(curves), evidence)


def _place(camera: int, offset: Array, evidence: dict[tuple[int, int], OffsetCosts]) -> OffsetCurve | None:
    """One camera's clock against the group's, from all pairs with its members.

    Where these do not tell, cameras that are in neither count too, whenever they may have been placed themselves.
    """
    parts = [part for _, part in against_group(camera, offset, evidence)]
    if not parts:
        return None
    plain = judge(parts)
    if plain.is_clear:
        return plain
    helpers = []
    for other in np.flatnonzero(np.isnan(offset)).tolist():
        between = against_group(other, np.where(np.arange(len(offset)) == camera, 0.0, np.nan), evidence)
        group = [part for _, part in against_group(other, offset, evidence)]
        if other != camera and between and group:
            helpers.append(Helper(tuple(group), between[0][1]))
    helped = judge_with_helpers(parts, helpers)
    return helped if helped.is_clear else plain


def against_group(
    camera: int, offset: Array, evidence: dict[tuple[int, int], OffsetCosts]
) -> list[tuple[tuple[int, int], OffsetCosts]]:
    """The pairs of a camera with those of known offset [V], all by what its own clock is later than the common one."""
    parts = []
    for (a, b), costs in evidence.items():
        if not len(costs.time):
            continue
        # The member's clock shows the common time less its offset.
        if camera == b and np.isfinite(offset[a]):
            parts.append(((a, b), shifted(costs, -offset[a])))
        elif camera == a and np.isfinite(offset[b]):
            parts.append(((a, b), shifted(costs, -offset[b], mirrored=True)))
    return parts if len({len(p.offsets_s) for _, p in parts}) == 1 else parts[:1]
