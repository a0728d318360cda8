"""Seen points as targets of the skeleton: which node each belongs to, where on it, how far it is trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.kinematics.chain import FIRST_NODE, NODE_PARENTS, NODES
from mocap.kinematics.humanoid import NAMES
from mocap.kinematics.inverse import Targets
from mocap.kinematics.landmarks import Landmarks
from mocap.kinematics.pose import PoseSolver
from mocap.kinematics.ranges import neutral_arm
from mocap.skeleton import identify
from mocap.types import Source, Trajectories3D

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Standard deviation of a point that comes without a covariance, metres.
_UNKNOWN_STD = 0.05


@dataclass(frozen=True)
class Marker:
    """A landmark fixed to a bone.

    Attributes
    ----------
    landmark, bone : str
    std : float
        How far (m, one standard deviation per axis) it strays from a rigid skeleton: joint centres that
        detectors place by eye, flesh, shoulders and hips that are no ball joints. It is added to the
        sample's own covariance.
    fixed : bool
        Whether it is the bone's own start; else its place on the bone is measured.
    """

    landmark: str
    bone: str
    std: float
    fixed: bool = True


def _markers() -> tuple[Marker, ...]:
    out = [Marker("spine", "Spine1", 0.015), Marker("head_base", "Head", 0.010)]
    out += [Marker(n, "Head", 0.008, fixed=False) for n in ("nose", "head")]
    for side, s in (("Left", "l"), ("Right", "r")):
        out += [
            Marker(f"{s}_hip", f"{side}UpLeg", 0.010), Marker(f"{s}_knee", f"{side}Leg", 0.006),
            Marker(f"{s}_ankle", f"{side}Foot", 0.006), Marker(f"{s}_shoulder", f"{side}Arm", 0.010),
            Marker(f"{s}_elbow", f"{side}ForeArm", 0.006), Marker(f"{s}_wrist", f"{side}Hand", 0.006),
        ]  # fmt: skip
        out += [Marker(f"{s}_{n}", "Head", 0.008, fixed=False) for n in ("ear", "eye")]
        out += [Marker(f"{s}_{n}", f"{side}Foot", 0.006, fixed=False) for n in ("heel", "big_toe", "small_toe")]
        out += [Marker(f"{s}_{n}", f"{side}Hand", 0.012, fixed=False) for n in ("index", "pinky")]
    return tuple(out)


MARKERS = _markers()


@dataclass(frozen=True, eq=False)
class Body:
    """What of a person the solver works with.

    Attributes
    ----------
    markers : tuple of Marker
        Those ever seen.
    targets : Targets
    moving : bool [N]
        Nodes that some marker tells about.
    """

    markers: tuple[Marker, ...]
    targets: Targets
    moving: Mask

    def place(self, landmark: str) -> tuple[int, Array] | None:
        """Node and place on it (m) of a landmark; None where it was never seen."""
        for m, marker in enumerate(self.markers):
            if marker.landmark == landmark:
                return int(self.targets.node[m]), self.targets.local[m]
        return None


def body_of(points: Landmarks, trajectories: Trajectories3D, person: int, start: PoseSolver) -> Body:
    """Targets of one person.

    Parameters
    ----------
    points : Landmarks
        Of the person, torso completed.
    trajectories : Trajectories3D
        For the covariances.
    person : int
        Index.
    start : PoseSolver
        Solved; tells where on their bones the measured markers sit.
    """
    chosen = [m for m in MARKERS if points.seen(m.landmark).any() and _of_use(m, points, trajectories)]
    local = {m: np.zeros(3) if m.fixed else _measured(m, points, start) for m in chosen}
    for m in chosen:
        mirror = _partner(m, chosen)
        if not m.fixed and mirror is not None and m.landmark.startswith("l_"):
            mean = 0.5 * (local[m] + local[mirror] * (-1.0, 1.0, 1.0))
            local[m], local[mirror] = mean, mean * (-1.0, 1.0, 1.0)
    moving = np.zeros(len(NODES), bool)
    for m in chosen:
        _mark(moving, m)
    seen = np.stack([points[m.landmark] for m in chosen], 1)
    known: Mask = np.asarray(np.isfinite(seen).all(-1))
    covariance = _covariances(chosen, trajectories, person)
    covariance += (np.array([m.std for m in chosen]) ** 2)[:, None, None] * np.eye(3)
    information = np.where(known[..., None, None], np.linalg.inv(covariance), 0.0)
    node = FIRST_NODE[[NAMES.index(m.bone) for m in chosen]]
    targets = Targets(
        node, np.stack([local[m] for m in chosen]), np.ones(len(chosen), bool), np.nan_to_num(seen), information,
        _neutral(start),
    )  # fmt: skip
    return Body(tuple(chosen), targets, moving)


def _neutral(start: PoseSolver) -> Array:
    """Rotations [T, N, 4] from which angles count: rest, and for upper arms where they point at first."""
    out = np.zeros((start.local.shape[1], len(NODES), 4))
    out[..., 3] = 1
    for name, side in (("LeftArm", 1), ("RightArm", -1)):
        b = NAMES.index(name)
        neutral = neutral_arm(side * start.local[b][..., 0], side)
        out[:, FIRST_NODE[b]] = Rotation.from_matrix(neutral).as_quat()
    return out


def _of_use(marker: Marker, points: Landmarks, trajectories: Trajectories3D) -> bool:
    """Points made from others tell nothing new."""
    if marker.landmark == "spine":
        return "spine" in identify(trajectories.joint_names).joints
    if marker.landmark == "head_base":
        return not points.seen("l_ear", "r_ear").any()
    return True


def _partner(marker: Marker, markers: list[Marker]) -> Marker | None:
    other = {"l_": "r_", "r_": "l_"}.get(marker.landmark[:2])
    if other is None:
        return None
    return next((m for m in markers if m.landmark == other + marker.landmark[2:]), None)


def _measured(marker: Marker, points: Landmarks, start: PoseSolver) -> Array:
    """Median place of a marker in its bone's axes [3], metres."""
    b = NAMES.index(marker.bone)
    seen = points.seen(marker.landmark)
    told = start.source[:, b] != Source.MISSING
    direct = seen & (points.flags(marker.landmark) == Source.TRIANGULATED) & told
    rows = next(r for r in (direct, seen & told, seen) if r.any())
    away = points[marker.landmark][rows] - start.at[b][rows]
    place = np.median(np.einsum("tji,tj->ti", start.world[b][rows], away), axis=0)
    if marker.bone.endswith("Hand"):
        # Knuckles lie in the plane of the palm; the first guess of its turn leans towards rest.
        place[1:] = (-1 if marker.landmark.endswith("index") else 1) * np.hypot(place[1], place[2]), 0.0
    return np.asarray(place)


def _mark(moving: Mask, marker: Marker) -> None:
    """The nodes that turn a marker: its bone, unless it sits where that starts, and all bones before."""
    node = int(FIRST_NODE[NAMES.index(marker.bone)])
    if marker.fixed:
        node = int(NODE_PARENTS[node])
        if NODES[node].endswith("Twist"):  # turns about the line to the wrist
            node = int(NODE_PARENTS[node])
    while node >= 0:
        moving[node] = True
        node = int(NODE_PARENTS[node])


def _covariances(markers: list[Marker], trajectories: Trajectories3D, person: int) -> Array:
    """Covariances [T, M, 3, 3], metres squared."""
    joints = identify(trajectories.joint_names).joints
    out = np.empty((len(trajectories.frames), len(markers), 3, 3))
    out[:] = _UNKNOWN_STD**2 * np.eye(3)
    for m, marker in enumerate(markers):
        name = {"head_base": "neck"}.get(marker.landmark, marker.landmark)
        if name in joints:
            own = trajectories.covariance[:, person, joints.index(name)].astype(np.float64)
            usable = np.isfinite(own).all((-1, -2))
            out[usable, m] = own[usable]
    return out
