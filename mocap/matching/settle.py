"""From person slots to final observations: flips undone, limbs given back, agreement measured.

Worked on in blocks of frames with some frames of context to either side, so that memory stays
bounded; the blocks are always the same, whatever the settings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses
from mocap.lens_kernels import slot_rays
from mocap.matching.audit import agreement
from mocap.matching.flip_repair import PersonViews, Stretch, repair_flips
from mocap.matching.flips import PairGroups
from mocap.matching.limbs import give_back_limbs, limb_table
from mocap.matching.observations import gather, put_back
from mocap.matching.poses import poses_from_views
from mocap.matching.settings import MatchingSettings, MatchMode
from mocap.skeleton import Skeleton
from mocap.types import Keypoints2D

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BLOCK, _CONTEXT = 4096, 128


@dataclass(frozen=True, eq=False)
class Settled:
    """The observations of every person.

    Attributes
    ----------
    observation : int32 [V, T, P, J]
        slot * J + joint of the input; -1 where none.
    score, runner_up : float32 [V, T, P], px
    limbs_moved : int
    """

    observation: NDArray[np.int32]
    score: NDArray[np.float32]
    runner_up: NDArray[np.float32]
    limbs_moved: int


def settle(
    keypoints: Keypoints2D, slot: NDArray[np.int16], rig: CameraRig, skeleton: Skeleton | None,
    pieces: list[slice], settings: MatchingSettings,
) -> Settled:  # fmt: skip
    """Choose for every person, view and frame the detection of every joint.

    Parameters
    ----------
    keypoints : Keypoints2D
    slot : int16 [V, T, P]
        The slot that shows each person; -1 none.
    rig : CameraRig
        In the order of `keypoints.cameras`.
    skeleton : Skeleton or None
        None: neither flips nor limbs are repaired.
    pieces : list of slice
        Continuous pieces of the recording.
    settings : MatchingSettings
    """
    V, T, P = slot.shape
    starts = np.zeros(T, bool)
    starts[[piece.start for piece in pieces]] = True
    observation = own_observations(slot, keypoints.confidence.shape[3])
    score, runner_up = np.full((V, T, P), np.nan, np.float32), np.full((V, T, P), np.nan, np.float32)
    groups = PairGroups(np.empty((0, 2), np.int64), ()) if skeleton is None else PairGroups.of(skeleton)
    flips = {name: np.zeros((V, P), np.int64) for name, _ in groups.groups}
    moved, centres, lenses = 0, rig.centres, Lenses.of(rig)
    for block, context in _blocks(T, settings):
        rays = _Rays.of(keypoints, lenses, context)
        part, own = observation[:, context].copy(), np.ascontiguousarray(slot[:, context])
        stretch = Stretch(_first(starts[context]), keypoints.fps)
        inner = slice(block.start - context.start, block.stop - context.start)
        poses, tracks = (np.empty((P, part.shape[1], part.shape[3], 3)) for _ in range(2))
        for p in range(P):
            person = PersonViews.of(centres, *rays.of_person(part, p), stretch, settings)
            flipped = repair_flips(centres, person, groups, stretch, settings)
            put_back(part, p, person.order, person.weight)
            poses[p], tracks[p] = person.poses, person.track
            for name, where in flipped.items():
                flips[name][:, p] += where[:, inner].sum(1)
        if skeleton is not None and settings.repair_limbs and V > 2 and P:
            table, touched = limb_table(skeleton), np.zeros((P, part.shape[1]), bool)
            moved += int(give_back_limbs(centres, rays.d, rays.weight, tracks, *table, own, part, touched))
            for p in np.flatnonzero(touched.any(1)).tolist():
                frames = np.flatnonzero(touched[p])
                again = np.empty((len(frames), *poses.shape[2:]))
                poses_from_views(centres, *rays.at(frames).of_person(part.take(frames, 1), p), again)
                poses[p, frames] = again
        _measure(lenses, keypoints, context, inner, poses, own, part, (score[:, block], runner_up[:, block]))
        observation[:, block] = part[:, inner]
    _report(flips, moved, rig, T)
    return Settled(observation, score, runner_up, moved)


def own_observations(slot: NDArray[np.int16], joints: int) -> NDArray[np.int32]:
    """Observations [V, T, P, J] as the slots [V, T, P] have them: slot * J + joint, -1 where none."""
    start = slot.astype(np.int32) * joints
    observation = start[..., None] + np.arange(joints, dtype=np.int32)
    observation[slot < 0] = -1
    return np.asarray(observation)


def _first(starts: Bools) -> Bools:
    starts = starts.copy()
    starts[:1] = True
    return starts


def _blocks(length: int, settings: MatchingSettings) -> Iterator[tuple[slice, slice]]:
    """(rows to decide, rows to look at); nothing ahead is looked at in causal mode."""
    ahead = 0 if settings.mode is MatchMode.CAUSAL else _CONTEXT
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        yield slice(start, stop), slice(max(0, start - _CONTEXT), min(length, stop + ahead))


@dataclass(frozen=True, eq=False)
class _Rays:
    """Rays d [V, T, S, J, 3] of all slots of a stretch and their weight [V, T, S, J], 0 where not seen."""

    d: Array
    weight: Array

    @staticmethod
    def of(keypoints: Keypoints2D, lenses: Lenses, rows: slice) -> _Rays:
        d, weight = all_rays(keypoints, lenses, rows)
        return _Rays(d, weight)

    def at(self, frames: NDArray[np.intp]) -> _Rays:
        """Those of some frames, in memory as all are: for another layout the kernels would be compiled again."""
        return _Rays(self.d.take(frames, 1), self.weight.take(frames, 1))

    def of_person(self, observation: NDArray[np.int32], p: int) -> tuple[Array, Array]:
        """Rays [V, T, J, 3] and weight [V, T, J] of person p's observations, of [V, T, P, J]."""
        V, T, _, J = observation.shape
        d, weight = np.empty((V, T, J, 3)), np.empty((V, T, J))
        gather(self.d, self.weight, observation, p, d, weight)
        return d, weight


def all_rays(keypoints: Keypoints2D, lenses: Lenses, rows: slice) -> tuple[Array, Array]:
    """Ray directions [V, T, S, J, 3] of the rows of all slots, and confidence, 0 where there is no ray."""
    pixels = keypoints.keypoints[:, rows]
    d = np.empty((*pixels.shape[:4], 3))
    V = len(pixels)
    flat = np.ascontiguousarray(pixels).reshape(V, -1, 2)
    slot_rays(lenses.K, lenses.distortion, np.asarray(lenses.fisheye, bool), lenses.R, flat, d.reshape(V, -1, 3))
    weight = keypoints.confidence[:, rows].astype(float)
    weight[np.isnan(d[..., 0])] = 0.0
    return d, weight


def _measure(
    lenses: Lenses, keypoints: Keypoints2D, context: slice, inner: slice, poses: Array, slot: NDArray[np.int16],
    observation: NDArray[np.int32], out: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:  # fmt: skip
    rows = slice(context.start + inner.start, context.start + inner.stop)
    score, runner_up = (np.empty(a.shape, np.float32) for a in out)
    agreement(
        lenses.K, lenses.distortion, np.asarray(lenses.fisheye, bool), lenses.R, lenses.t,
        np.ascontiguousarray(poses[:, inner]), np.ascontiguousarray(keypoints.keypoints[:, rows]),
        np.ascontiguousarray(slot[:, inner]), np.ascontiguousarray(observation[:, inner]), score, runner_up,
    )  # fmt: skip
    out[0][:], out[1][:] = score, runner_up


def _report(flips: dict[str, NDArray[np.int64]], moved: int, rig: CameraRig, frames: int) -> None:
    for name, count in flips.items():
        for p in np.flatnonzero(count.any(0)):
            shares = ", ".join(
                f"{n} {100 * c / frames:.1f} %" for n, c in zip(rig.names, count[:, p], strict=True) if c
            )
            log.info("person %d: %s flipped in %s", p, name, shares)
    if moved:
        log.info("%d limbs given back to the neighbour or taken from an unused detection", moved)
