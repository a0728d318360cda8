"""Procedural human motion with exact kinematics: constant bones, planted feet, knees that bend forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.spatial.transform import Rotation

from mocap.errors import DataError
from mocap.skeleton import H36M_17, Skeleton
from mocap.synthetic.body import JOINTS, PARENTS, Body, anchor, forward_kinematics
from mocap.synthetic.channels import Channel, MotionKind, add_stretch, neutral, schedule
from mocap.synthetic.gait import Path, place_pelvis, plan_feet, solve_legs, turn_x, turn_y, turn_z
from mocap.types import SkeletalMotion, Source

Array = NDArray[np.float64]
C = Channel

# Before and after the take, so that it starts and ends within the motion.
_MARGIN_S = 2.5
_CADENCE_PER_S = 0.92  # gait cycles


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of synthetic people: the ground truth.

    Attributes
    ----------
    bodies : tuple of Body, one per person
    rotations : float64 [T, P, 17, 3, 3]
        Of each joint of the H36M-17 tree relative to its parent (the pelvis: to the world).
    root : float64 [T, P, 3], metres
        Pelvis in the world.
    planted : bool [T, P, 2]
        Whether the left and the right foot stand on the floor without sliding.
    fps : float
    """

    bodies: tuple[Body, ...]
    rotations: Array
    root: Array
    planted: NDArray[np.bool_]
    fps: float

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.root)

    @property
    def frames(self) -> NDArray[np.int64]:
        """Int [T]: frame numbers from 0."""
        return np.arange(self.n_frames)

    @cached_property
    def world(self) -> tuple[Array, Array]:
        """Positions [T, P, 17, 3] (m) and orientations [T, P, 17, 3, 3] of the tree in the world."""
        return forward_kinematics(np.stack([b.offsets for b in self.bodies]), self.rotations, self.root)

    def skeletal(self) -> SkeletalMotion:
        """The same motion as the record that the solve stage makes."""
        T, P, B = self.rotations.shape[:3]
        quaternions = Rotation.from_matrix(self.rotations.reshape(-1, 3, 3)).as_quat().reshape(T, P, B, 4)
        return SkeletalMotion(
            offsets=np.stack([b.offsets for b in self.bodies]).astype(np.float32),
            rotations=quaternions.astype(np.float32),
            root_positions=self.root.astype(np.float32),
            source=np.full((T, P, B), Source.TRIANGULATED, np.uint8),
            parents=PARENTS,
            person_ids=np.arange(P),
            frames=self.frames,
            joint_names=JOINTS,
            fps=self.fps,
        )


def truth_positions(motion: Motion, skeleton: Skeleton = H36M_17) -> Array:
    """True joint centres and surface points, named as a skeleton names them.

    Parameters
    ----------
    motion : Motion
    skeleton : Skeleton
        Any of `mocap.skeleton`.

    Returns
    -------
    float64 [T, P, J, 3]
        World, metres.

    Raises
    ------
    DataError
        The body has no such joint.
    """
    return named_positions(motion, skeleton.joints, skeleton)


def named_positions(motion: Motion, names: Sequence[str], skeleton: Skeleton | None = None) -> Array:
    """World positions [T, P, J, 3] (metres) of joints and landmarks of the body by name."""
    positions, orientations = motion.world
    result = np.empty((*positions.shape[:2], len(names), 3))
    for p, body in enumerate(motion.bodies):
        anchors = [anchor(body, name, skeleton) for name in names]
        joint = [j for j, _ in anchors]
        offset = np.stack([o for _, o in anchors])
        result[:, p] = positions[:, p, joint] + np.einsum("tjik,jk->tji", orientations[:, p, joint], offset)
    return result


def procedural_motion(
    n_frames: int,
    fps: float = 30.0,
    seed: int = 0,
    kind: MotionKind = MotionKind.TAKE,
    *,
    n_people: int = 1,
    bodies: Sequence[Body] | None = None,
    spacing: float = 1.5,
) -> Motion:
    """People who walk, wave, squat, turn, jump: made up, but kinematically exact.

    Parameters
    ----------
    n_frames : int
    fps : float
    seed : int
        Same seed, same motion.
    kind : MotionKind
        TAKE strings the kinds together.
    n_people : int
        Each with a place of its own.
    bodies : sequence of Body, optional
        Drawn from the seed unless given; its length overrides `n_people`.
    spacing : float
        Distance between neighbours' places, metres.

    Returns
    -------
    Motion

    Raises
    ------
    DataError
        No frame, no person, or no positive rate.
    """
    people = n_people if bodies is None else len(bodies)
    if n_frames < 1 or people < 1 or not fps > 0:
        raise DataError(
            "no motion can be made of this",
            expected="at least one frame and person, a positive rate",
            found=f"{n_frames} frames, {people} persons, {fps} fps",
            where="procedural_motion",
        )
    if bodies is None:
        bodies = [Body.random([seed, p, 1]) for p in range(people)]
    places, radius = _places(people, spacing)
    parts = [
        _person(n_frames, fps, np.random.default_rng([seed, p]), MotionKind(kind), body, places[p], radius)
        for p, body in enumerate(bodies)
    ]
    rotations, root, planted = (np.stack(x, 1) for x in zip(*parts, strict=True))
    return Motion(tuple(bodies), rotations, root, planted, float(fps))


def _places(people: int, spacing: float) -> tuple[Array, float]:
    """Middle of each person's place [P, 2] and radius of the circle each walks on, metres."""
    if people == 1:
        return np.zeros((1, 2)), 0.75
    angles = 2 * np.pi * np.arange(people) / people + 0.3
    ring = spacing / (2 * np.sin(np.pi / people))
    return ring * np.stack([np.cos(angles), np.sin(angles)], -1), 0.22 * spacing


def _person(n_frames: int, fps: float, rng: np.random.Generator, kind: MotionKind, body: Body, place: Array,
            radius: float) -> tuple[Array, Array, NDArray[np.bool_]]:  # fmt: skip
    margin = int(np.ceil(_MARGIN_S * fps))
    times = (np.arange(n_frames + 2 * margin) - margin) / fps
    values = neutral(times, rng)
    # A take begins a little into its first stretch, a walk well into it.
    lead = _MARGIN_S if kind is MotionKind.WALK else 0.4
    stretches = schedule(kind, -lead, times[-1] if kind is MotionKind.WALK else times[-1] - 0.2, rng)
    if kind is not MotionKind.WALK:
        stretches = [s for s in stretches if s[1] + s[2] <= times[-1] or s[1] < n_frames / fps]
    for which, start, duration in stretches:
        add_stretch(values, times, which, start, duration, rng)
    path = _path(values, times, rng, place, radius)
    rotations, root, planted = _pose(values, path, body, fps)
    keep = slice(margin, margin + n_frames)
    return rotations[keep], root[keep], planted[keep]


def _path(values: Array, times: Array, rng: np.random.Generator, place: Array, radius: float) -> Path:
    """The body's way on the floor: a circle, walked as far as the speed takes it."""
    along = cumulative_trapezoid(values[:, C.SPEED], times, initial=0)
    way = rng.choice([-1.0, 1.0])
    start = rng.uniform(0, 2 * np.pi)
    bearing = start + way * along / radius
    # heading a faces (sin a, -cos a); its integral along the arc is the circle itself
    position = place + way * radius * np.stack([-np.cos(bearing), -np.sin(bearing)], -1)
    phase = _phase(values[:, C.STEP], times)
    pick = [values[:, c] for c in (C.SPREAD, C.HOP, C.DROP, C.BACK)]
    return Path(position, bearing + values[:, C.YAW], phase, pick[0], pick[1], pick[2], pick[3])


def _phase(step: Array, times: Array) -> Array:
    """Gait phase: whole cycles within each stretch of stepping, so that both feet stand between them."""
    raw = _CADENCE_PER_S * cumulative_trapezoid(step, times, initial=0)
    phase = np.full(len(step), 0.05)
    edges = np.flatnonzero(np.diff(np.r_[0, (step > 0).astype(int), 0]))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        last = min(b, len(step) - 1)
        gain = raw[last] - raw[a]
        cycles = max(1, round(gain))
        phase[a:] += (raw[np.minimum(np.arange(a, len(step)), last)] - raw[a]) / max(gain, 1e-9) * cycles
    return phase


def _pose(values: Array, path: Path, body: Body, fps: float) -> tuple[Array, Array, NDArray[np.bool_]]:
    T = len(values)
    stride = 2 * np.pi * path.phase
    briskness = np.clip(values[:, C.SPEED] / 1.2, 0, 1.2)
    pelvis = turn_z(path.heading + 0.10 * briskness * np.cos(stride)) @ turn_x(0.3 * values[:, C.BEND])
    pelvis = pelvis @ turn_y(0.25 * values[:, C.LEAN])
    feet = plan_feet(path, body)
    root = place_pelvis(path, feet, pelvis, body, fps)
    hips = root[:, None] + np.einsum("tij,sj->tsi", pelvis, body.offsets[[4, 1]])
    thighs, shins = solve_legs(hips, feet, pelvis, body)

    local = np.tile(np.eye(3), (T, len(JOINTS), 1, 1))
    index = {j: i for i, j in enumerate(JOINTS)}
    local[:, 0] = pelvis
    for s, side in enumerate("lr"):
        local[:, index[f"{side}_hip"]] = pelvis.swapaxes(-1, -2) @ thighs[:, s]
        local[:, index[f"{side}_knee"]] = thighs[:, s].swapaxes(-1, -2) @ shins[:, s]
        local[:, index[f"{side}_ankle"]] = shins[:, s].swapaxes(-1, -2) @ feet.orientations[:, s]
    trunk = _bend(0.35 * values[:, C.BEND], 0.4 * values[:, C.LEAN], 0.5 * values[:, C.TWIST])
    counter = turn_z(-0.14 * briskness * np.cos(stride))
    local[:, index["spine"]] = trunk
    local[:, index["thorax"]] = trunk @ counter
    local[:, index["neck"]] = _bend(values[:, C.NOD], 0 * values[:, C.NOD], values[:, C.LOOK])
    swing = 0.42 * briskness * np.cos(stride)
    local[:, index["l_shoulder"]], local[:, index["l_elbow"]] = _arm(values, -swing, left=True)
    local[:, index["r_shoulder"]], local[:, index["r_elbow"]] = _arm(values, swing, left=False)
    return local, root, feet.planted


def _bend(forward: Array, left: Array, twist: Array) -> Array:
    """Trunk or head rotation from angles in radians."""
    return turn_z(twist) @ turn_y(left) @ turn_x(forward)


def _arm(values: Array, swing: Array, *, left: bool) -> tuple[Array, Array]:
    """Rotations of shoulder and elbow [T, 3, 3]; the rest pose is the T-pose."""
    first = C.L_RAISE if left else C.R_RAISE
    raise_, reach, roll, elbow = (values[:, first + i] for i in range(4))
    sign = 1.0 if left else -1.0
    reach = reach + swing
    elbow = np.maximum(elbow + 0.5 * np.maximum(swing, 0), 0.02)
    hang = turn_y(sign * (np.pi / 2 - raise_))
    shoulder = turn_x(-reach) @ hang @ turn_x(-roll)
    return shoulder, turn_z(-sign * elbow)
