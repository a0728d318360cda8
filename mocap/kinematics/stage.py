"""The solve stage: joint positions to the motion of a skeleton with constant bone lengths."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from mocap.errors import StageError
from mocap.kinematics.forward import joint_positions
from mocap.kinematics.humanoid import BONES, NAMES, PARENTS
from mocap.kinematics.landmarks import landmarks
from mocap.kinematics.lengths import body_lengths
from mocap.kinematics.pose import PoseSolver
from mocap.kinematics.refine import Refined, as_it_is, refine
from mocap.kinematics.rotations import continuous_quaternions
from mocap.kinematics.settings import SolveSettings
from mocap.kinematics.torso import completed_torso, mirrored_side, seen_enough
from mocap.skeleton import identify
from mocap.timeline import segments
from mocap.types import SkeletalMotion, Trajectories3D

_log = logging.getLogger(__name__)

Array = NDArray[np.float64]

# Jumps of more than this many seconds part a take: nothing is interpolated across them.
_MAX_JUMP_S = 1.0

_LIMBS = ("Arm", "Leg")


def solve_motion(trajectories: Trajectories3D, settings: SolveSettings) -> SkeletalMotion:
    """The motion of a humanoid skeleton (`humanoid.BONES`) that fits the trajectories.

    Parameters
    ----------
    trajectories : Trajectories3D
        Best filtered; of any known skeleton.
    settings : SolveSettings

    Returns
    -------
    SkeletalMotion
        Without NaN. Per bone and frame `source` is the least direct source of the landmarks that
        determine it; INTERPOLATED where the rotation was interpolated or held through a gap, and
        MISSING where nothing tells it (rest rotation, or held from another part of the take).
        Persons of whom neither hips nor shoulders were seen for `min_frames` are left out.

    Raises
    ------
    StageError
        Nobody was seen well enough.
    DataError
        The joint names belong to no known skeleton.
    """
    parts = segments(trajectories.frames, max_gap=int(_MAX_JUMP_S * trajectories.fps))
    part = np.repeat(np.arange(len(parts)), [s.stop - s.start for s in parts])
    sigma = settings.twist_window_s * trajectories.fps
    solved: list[tuple[int, PoseSolver, Refined]] = []
    for person in range(trajectories.positions.shape[1]):
        points = landmarks(trajectories, person)
        lengths = body_lengths(points, symmetric=settings.symmetric)
        points = mirrored_side(points, lengths, parts, sigma)
        if not seen_enough(points, settings.min_frames):
            _log.warning(
                "person %d is left out of the solve: neither hips nor shoulders are seen in %d frames",
                trajectories.person_ids[person],
                settings.min_frames,
            )
            continue
        points = completed_torso(points, lengths, settings.min_frames)
        solver = PoseSolver(points, lengths.offsets(), part, sigma)
        solver.solve()
        _tell_unseen(int(trajectories.person_ids[person]), solver)
        refined = refine(points, trajectories, person, solver, settings) if settings.ik else as_it_is(solver)
        solved.append((person, solver, refined))
    if not solved:
        raise StageError(
            "nobody is seen well enough for a skeleton",
            expected=f"hips or shoulders in {settings.min_frames} frames of at least one person",
            found=f"{trajectories.positions.shape[1]} persons, none with them",
            where="solve",
            hint="look at the detections (mocap view), or lower solve.min_frames",
        )
    motion = _motion(trajectories, solved)
    error = fit_error(motion, trajectories)
    if np.isfinite(error).any():
        _log.info("solved %d persons; joints fit within %.1f mm on average", len(solved), 1e3 * np.nanmean(error))
    for p, person in enumerate(motion.person_ids):
        if motion.contacts[:, p].any():
            _log.info(
                "person %d: feet that stand slid %.1f mm, now %.1f mm", person,
                1e3 * np.nanmean(motion.slide_before[p]), 1e3 * np.nanmean(motion.slide_after[p]),
            )  # fmt: skip
    return motion


def fit_error(motion: SkeletalMotion, trajectories: Trajectories3D) -> Array:
    """Distance of the motion's joints to the landmarks they stand for.

    Returns
    -------
    float64 [T, P, B], metres
        NaN for bones without a landmark (the middle of the trunk where the input has no such joint)
        and where the landmark was not seen. Persons as in `motion`.
    """
    reached = joint_positions(motion)
    made_up = {"spine"} - set(identify(trajectories.joint_names).joints)
    out = np.full(reached.shape[:-1], np.nan)
    rows = {int(i): r for r, i in enumerate(trajectories.person_ids)}
    for p, person in enumerate(motion.person_ids):
        points = landmarks(trajectories, rows[int(person)])
        for b, bone in enumerate(BONES):
            if bone.landmark and bone.landmark not in made_up:
                out[:, p, b] = np.linalg.norm(reached[:, p, b] - points[bone.landmark], axis=-1)
    return out


def _motion(trajectories: Trajectories3D, solved: list[tuple[int, PoseSolver, Refined]]) -> SkeletalMotion:
    quaternions = [[continuous_quaternions(r.rotations[:, b]) for b in range(len(NAMES))] for _, _, r in solved]
    return SkeletalMotion(
        offsets=np.stack([s.offsets for _, s, _ in solved]),
        rotations=np.array(quaternions).transpose(2, 0, 1, 3),
        root_positions=np.stack([r.root for _, _, r in solved], 1),
        source=np.stack([s.source for _, s, _ in solved], 1),
        parents=PARENTS,
        person_ids=trajectories.person_ids[[p for p, _, _ in solved]],
        frames=trajectories.frames,
        joint_names=NAMES,
        fps=trajectories.fps,
        rotation_std=np.stack([r.std for _, _, r in solved], 1),
        contacts=np.stack([r.contacts for _, _, r in solved], 1),
        slide_before=np.stack([r.before for _, _, r in solved]),
        slide_after=np.stack([r.after for _, _, r in solved]),
    )


def _tell_unseen(person: int, solver: PoseSolver) -> None:
    """Warn of limbs that keep their rest pose because nothing of them was seen."""
    unseen = [n for b, n in enumerate(NAMES) if n.endswith(_LIMBS) and not solver.source[:, b].any()]
    if unseen:
        _log.warning("person %d: never seen and left in the rest pose: %s", person, ", ".join(unseen))
