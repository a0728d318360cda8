"""The match stage: person slots of all views to identities, flips repaired, every choice on record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses
from mocap.errors import DataError
from mocap.matching.likeness import BLOCK_ROWS
from mocap.matching.linking import Tracklet, collect, frames_needed, link, link_causally, merge_renewed
from mocap.matching.observations import take_observations
from mocap.matching.overrides import assign_by_hand, ignore_by_hand
from mocap.matching.settings import AssignmentMethod, MatchingSettings, MatchMode
from mocap.matching.settle import Settled, all_rays, settle
from mocap.matching.track_state import TrackState
from mocap.matching.tracker import track_frames
from mocap.skeleton import LIMBS_12, Skeleton, identify
from mocap.timeline import segments
from mocap.types import Keypoints2D, Matches

log = logging.getLogger(__name__)

Array = NDArray[np.float64]


def match_people(keypoints: Keypoints2D, rig: CameraRig, settings: MatchingSettings | None = None) -> Matches:
    """Identities over views and time.

    Parameters
    ----------
    keypoints : Keypoints2D
        Person slots in any order per view and frame.
    rig : CameraRig
        Must have every camera of `keypoints`.
    settings : MatchingSettings, optional

    Returns
    -------
    Matches
        Persons in order of appearance; none where nobody was seen by enough views. A recording
        with a single slot per view holds one person throughout, whatever `frames` does.

    Raises
    ------
    DataError
        An override names a camera, slot, frame or person that there is not.
    CalibrationError
        The rig lacks a camera.
    """
    settings = settings or MatchingSettings()
    rig = rig.select(keypoints.cameras)
    skeleton = _skeleton(keypoints, settings)
    pieces = segments(keypoints.frames, round(settings.max_occlusion_s * keypoints.fps))
    keypoints = ignore_by_hand(keypoints, settings.override)
    if keypoints.confidence.shape[2] == 1 or len(rig) < 2:
        slot = _single_slots(keypoints, settings)
    else:
        slot = _tracked_slots(keypoints, rig, skeleton, pieces, settings)
    slot = assign_by_hand(keypoints, slot, settings.override)
    settled = settle(keypoints, slot, rig, skeleton, pieces, settings)
    return _take(keypoints, slot, settled)


def _skeleton(keypoints: Keypoints2D, settings: MatchingSettings) -> Skeleton | None:
    try:
        return _identified(tuple(keypoints.joint_names))
    except DataError as error:
        if settings.repair_flips or settings.repair_limbs:
            log.warning("left/right flips are not repaired: %s", error.problem)
        return None


@cache
def _identified(joint_names: tuple[str, ...]) -> Skeleton:
    return identify(joint_names)


def _single_slots(keypoints: Keypoints2D, settings: MatchingSettings) -> NDArray[np.int16]:
    """Slots [V, T, P] of a recording with one slot per view: one person, or none."""
    seen = np.asarray((keypoints.confidence > 0).any(-1))[:, :, :1]
    full = seen[..., 0].sum(0) >= settings.views_needed(len(seen))
    slot = np.where(seen, 0, -1).astype(np.int16)
    needed = frames_needed(keypoints.fps, settings)
    if settings.mode is MatchMode.CAUSAL:
        confirmed = full.cumsum() >= needed
        slot[:, ~confirmed] = -1
        return slot if confirmed.any() else slot[..., :0]
    return slot if full.sum() >= min(needed, len(full)) and full.any() else slot[..., :0]


def chunks(length: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows that cover `length` rows."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _tracked_slots(
    keypoints: Keypoints2D, rig: CameraRig, skeleton: Skeleton | None, pieces: list[slice], settings: MatchingSettings
) -> NDArray[np.int16]:
    """Slots [V, T, P] by tracking; -1 where a view does not see the person."""
    V, T, S, J = keypoints.confidence.shape
    state = TrackState.empty(settings.max_people, J)
    owner = np.full((V, T, S), -1, np.int64)
    breaks, segment = np.zeros(T, bool), np.zeros(T, np.int64)
    for i, piece in enumerate(pieces):
        breaks[piece.start], segment[piece] = True, i
    seconds = np.diff(keypoints.frames, prepend=keypoints.frames[:1] - 1) / keypoints.fps
    names = () if skeleton is None else skeleton.joints
    limbs = [(names.index(a), names.index(b)) for a, b in LIMBS_12 if a in names and b in names]
    limb_index = np.array(limbs, int).reshape(-1, 2)
    mirror = np.arange(J) if skeleton is None else skeleton.mirror
    needed = frames_needed(keypoints.fps, settings)
    method = list(AssignmentMethod).index(settings.method)
    tracklets: dict[int, Tracklet] = {}
    centres, lenses = rig.centres, Lenses.of(rig)
    for rows in chunks(T, -(-settings.chunk_frames // BLOCK_ROWS) * BLOCK_ROWS):  # so that no block is parted
        d, weight = all_rays(keypoints, lenses, rows)
        weight[weight < settings.min_confidence] = 0.0
        count = rows.stop - rows.start
        poses = np.full((count, settings.max_people, J, 3), np.nan, np.float32)
        tracks, parents = (np.full((count, settings.max_people), -1, np.int64) for _ in range(2))
        track_frames(
            centres, d, weight, seconds[rows], breaks[rows], mirror, settings.max_track_distance_m,
            settings.max_speed_m_s, settings.max_ray_distance_m, settings.min_joints, settings.max_occlusion_s,
            method, state.pose, state.velocity, state.ident, state.unseen, state.apart, state.support, state.hold,
            state.counter, owner[:, rows], poses, tracks, parents,
        )  # fmt: skip
        collect(
            tracklets, rows, owner[:, rows], poses, tracks, parents, keypoints.appearance[:, rows], limb_index, segment,
            settings.views_needed(V), needed,
        )  # fmt: skip
    causal = settings.mode is MatchMode.CAUSAL
    found = merge_renewed(list(tracklets.values()), needed, always=causal)
    person = (link_causally if causal else link)(found, keypoints.frames, keypoints.fps, settings)
    log.info("%d tracks, %d persons", len(tracklets), len(set(person.values())))
    since = {ident: t.confirmed if causal else 0 for t in found for ident in t.idents if ident in person}
    until = {} if causal else _until(found, person)
    return _slots_of_persons(owner, person, since, until)


def _until(tracklets: list[Tracklet], person: dict[int, int]) -> dict[int, int]:
    """Row from which each tracklet counts no more, as the same person's next one has begun."""
    order = sorted((t for t in tracklets if t.ident in person), key=lambda t: (person[t.ident], t.first, t.ident))
    return {ident: b.first for a, b in pairwise(order) if person[a.ident] == person[b.ident] for ident in a.idents}


def _slots_of_persons(
    owner: NDArray[np.int64], person: dict[int, int], since: dict[int, int], until: dict[int, int]
) -> NDArray[np.int16]:
    """Slots [V, T, P] of the owners [V, T, S], each from the row `since` to before the row `until`."""
    V, T, _ = owner.shape
    P = max(person.values(), default=-1) + 1
    table = np.full(max(int(owner.max(initial=-1)), max(person, default=-1)) + 2, -1)
    first, end = np.zeros(len(table), np.int64), np.full(len(table), T)
    for ident, p in person.items():
        table[ident], first[ident], end[ident] = p, since[ident], until.get(ident, T)
    who = table[owner]  # ident -1 reads the last entry, which stays -1
    row = np.arange(T)[:, None]
    who[(row < first[owner]) | (row >= end[owner])] = -1
    slot = np.full((V, T, P), -1, np.int16)
    v, t, s = np.nonzero(who >= 0)
    slot[v, t, who[v, t, s]] = s
    return slot


def _take(keypoints: Keypoints2D, slot: NDArray[np.int16], settled: Settled) -> Matches:
    """The observations that were chosen."""
    shape = settled.observation.shape
    pixels, confidence, uncertainty = (np.empty((*shape, *more), np.float32) for more in ((2,), (), ()))
    take_observations(
        np.ascontiguousarray(keypoints.keypoints), np.ascontiguousarray(keypoints.confidence),
        np.ascontiguousarray(keypoints.uncertainty), settled.observation, pixels, confidence, uncertainty,
    )  # fmt: skip
    return Matches(
        keypoints=pixels, confidence=confidence, uncertainty=uncertainty, observation=settled.observation, slot=slot,
        score=settled.score, runner_up=settled.runner_up, person_ids=np.arange(shape[2]), frames=keypoints.frames,
        cameras=keypoints.cameras, joint_names=keypoints.joint_names, fps=keypoints.fps,
    )  # fmt: skip
