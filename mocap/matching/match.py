"""The match stage: person slots of all views to identities, flips repaired, every choice on record."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, rays
from mocap.errors import DataError
from mocap.matching.audit import agreement
from mocap.matching.flip_repair import repair_flips
from mocap.matching.linking import Tracklet, collect, link
from mocap.matching.settings import MatchingSettings
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
        Joint names of no known skeleton while flips are to be repaired.
    CalibrationError
        The rig lacks a camera.
    """
    settings = settings or MatchingSettings()
    rig = rig.select(keypoints.cameras)
    skeleton = _skeleton(keypoints, settings)
    pieces = segments(keypoints.frames, round(settings.max_occlusion_s * keypoints.fps))
    if keypoints.confidence.shape[2] == 1 or len(rig) < 2:
        slot = _single_slots(keypoints, settings)
    else:
        slot = _tracked_slots(keypoints, rig, skeleton, pieces, settings)
    matches = _take(keypoints, slot)
    if settings.repair_flips and skeleton is not None:
        matches = repair_flips(matches, rig, skeleton, pieces, settings)
    return agreement(matches, keypoints, rig, settings)


def _skeleton(keypoints: Keypoints2D, settings: MatchingSettings) -> Skeleton | None:
    try:
        return identify(keypoints.joint_names)
    except DataError as error:
        if settings.repair_flips:
            log.warning("left/right flips are not repaired: %s", error.problem)
        return None


def _single_slots(keypoints: Keypoints2D, settings: MatchingSettings) -> NDArray[np.int16]:
    """Slots [V, T, P] of a recording with one slot per view: one person, or none."""
    seen = np.asarray((keypoints.confidence > 0).any(-1))[:, :, :1]
    enough = int((seen[..., 0].sum(0) >= settings.views_needed(len(seen))).sum())
    if enough < max(1.0, settings.min_duration_s * keypoints.fps) and enough < len(keypoints.frames):
        return np.full((*seen.shape[:2], 0), -1, np.int16)
    return np.where(seen, 0, -1).astype(np.int16)


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
    lenses, centres, needed = Lenses.of(rig), rig.centres, settings.views_needed(V)
    tracklets: dict[int, Tracklet] = {}
    for rows in chunks(T, settings.chunk_frames):
        _, d = rays(lenses, keypoints.keypoints[:, rows].astype(float))
        weight = keypoints.confidence[:, rows].astype(float)
        weight[(weight < settings.min_confidence) | ~np.isfinite(d[..., 0])] = 0.0
        count = rows.stop - rows.start
        poses = np.full((count, settings.max_people, J, 3), np.nan, np.float32)
        tracks = np.full((count, settings.max_people), -1, np.int64)
        track_frames(
            centres, d, weight, seconds[rows], breaks[rows], mirror, settings.max_track_distance_m,
            settings.max_speed_m_s,
            settings.max_ray_distance_m, settings.min_joints, settings.max_occlusion_s, state.pose, state.velocity,
            state.ident, state.unseen, state.support, state.counter, owner[:, rows], poses, tracks,
        )  # fmt: skip
        collect(tracklets, rows, owner[:, rows], poses, tracks, limb_index, segment, needed)
    person = link(list(tracklets.values()), keypoints.frames, keypoints.fps, settings)
    log.info("%d tracks, %d persons", len(tracklets), len(set(person.values())))
    return _slots_of_persons(owner, person)


def _slots_of_persons(owner: NDArray[np.int64], person: dict[int, int]) -> NDArray[np.int16]:
    V, T, _ = owner.shape
    P = max(person.values(), default=-1) + 1
    table = np.full(max(int(owner.max(initial=-1)), max(person, default=-1)) + 2, -1)
    for ident, p in person.items():
        table[ident] = p
    who = table[owner]  # ident -1 reads the last entry, which stays -1
    slot = np.full((V, T, P), -1, np.int16)
    v, t, s = np.nonzero(who >= 0)
    slot[v, t, who[v, t, s]] = s
    return slot


def _take(keypoints: Keypoints2D, slot: NDArray[np.int16]) -> Matches:
    """The observations of the chosen slots."""
    J = keypoints.confidence.shape[3]
    index = np.maximum(slot, 0).astype(np.int64)
    absent = slot < 0

    def pick(values: NDArray) -> NDArray:
        shape = index.shape + (1,) * (values.ndim - 3)
        return np.take_along_axis(values, index.reshape(shape), axis=2)

    confidence = np.where(absent[..., None], 0.0, pick(keypoints.confidence))
    seen = confidence > 0
    observation = np.where(seen, index[..., None] * J + np.arange(J), -1)
    nothing = np.full(slot.shape, np.nan)
    return Matches(
        keypoints=np.where(seen[..., None], pick(keypoints.keypoints), np.nan),
        confidence=confidence,
        uncertainty=np.where(seen, pick(keypoints.uncertainty), np.nan),
        observation=observation,
        slot=slot,
        score=nothing,
        runner_up=nothing,
        person_ids=np.arange(slot.shape[2]),
        frames=keypoints.frames,
        cameras=keypoints.cameras,
        joint_names=keypoints.joint_names,
        fps=keypoints.fps,
    )
