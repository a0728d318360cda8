"""One person's motion made better by inverse kinematics over the whole take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.kinematics.chain import FIRST_NODE, Chain, make_chain, to_bones, to_nodes
from mocap.kinematics.contacts import Contact, find_contacts
from mocap.kinematics.equations import points as points_of
from mocap.kinematics.humanoid import NAMES
from mocap.kinematics.inverse import Pose, Targets, rotation_std, solve_chunks
from mocap.kinematics.landmarks import Landmarks
from mocap.kinematics.locking import anchors, slide, strength, with_contacts
from mocap.kinematics.markers import Body, body_of
from mocap.kinematics.pose import PoseSolver
from mocap.kinematics.rotations import fill_points, fill_rotations
from mocap.kinematics.settings import SolveSettings
from mocap.types import Trajectories3D

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Seconds without any point through which the motion is estimated; longer gaps part it.
_BRIDGED_S = 0.5
_STEPS = 8
_STEPS_WITH_CONTACTS = 6


@dataclass(frozen=True, eq=False)
class Refined:
    """A person's motion.

    Attributes
    ----------
    rotations : float64 [T, B, 3, 3]
        Local.
    root : float64 [T, 3] m
    std : float64 [T, B] rad
        See `SkeletalMotion.rotation_std`.
    contacts : bool [T, 2, 2]
    before, after : float64 [2] m
        Slide of the feet; see `SkeletalMotion.slide_before`.
    """

    rotations: Array
    root: Array
    std: Array
    contacts: Mask
    before: Array
    after: Array


def refine(
    points: Landmarks, trajectories: Trajectories3D, person: int, start: PoseSolver, settings: SolveSettings
) -> Refined:
    """The most probable motion of one person.

    Parameters
    ----------
    points : Landmarks
        Torso completed.
    trajectories : Trajectories3D
    person : int
        Index.
    start : PoseSolver
        Solved.
    settings : SolveSettings
    """
    body = body_of(points, trajectories, person, start)
    chain = make_chain(start.offsets, body.moving, limits=settings.limits)
    times = trajectories.frames / trajectories.fps
    first = Rotation.from_matrix(start.local.reshape(-1, 3, 3)).as_quat().reshape(*start.local.shape[:2], 4)
    pose = Pose(start.at[0].copy(), to_nodes(np.swapaxes(first, 0, 1)))
    std = np.full((len(times), len(FIRST_NODE)), np.nan)
    runs = seen_runs(body, start.part, times)
    feet = Feet.of(body, chain) if settings.contacts else None
    stood = Stood(np.zeros((len(times), 2, 2), bool), [], [], [])
    for rows in runs:
        part, targets, when = Pose(pose.root[rows], pose.quats[rows]), body.targets.rows(rows), times[rows]
        solved = solve_chunks(chain, targets, part, when, _STEPS)
        if feet is not None and len(when) > 2:
            held = feet.hold(chain, targets, solved, float(1 / np.median(np.diff(when))))
            if held.contacts:
                before = feet.places(chain, solved)
                solved = solve_chunks(chain, held.targets, solved, when, _STEPS_WITH_CONTACTS)
                stood.add(rows.start, held.contacts, before, feet.places(chain, solved))
        pose.root[rows], pose.quats[rows] = solved.root, solved.quats
        std[rows] = rotation_std(chain, targets, solved)[:, FIRST_NODE]
    R, root = _filled(to_bones(pose.quats), pose.root, runs, start.part)
    return Refined(R, root, std, stood.flags, stood.mean(stood.before), stood.mean(stood.after))


def as_it_is(start: PoseSolver) -> Refined:
    """The motion that inverse kinematics would start from."""
    T, B = start.source.shape
    nothing = np.full(2, np.nan)
    return Refined(
        np.swapaxes(start.local, 0, 1),
        start.at[0],
        np.full((T, B), np.nan),
        np.zeros((T, 2, 2), bool),
        nothing,
        nothing,
    )


@dataclass(frozen=True, eq=False)
class Stood:
    """Contacts of a take and how far each slid."""

    flags: Mask
    contacts: list[Contact]
    before: list[float]
    after: list[float]

    def add(self, first: int, contacts: list[Contact], before: Array, after: Array) -> None:
        """Contacts of a run that begins at frame `first`; places of the feet [T, 2, 2, 3] before and after."""
        for c in contacts:
            self.flags[first + c.start : first + c.stop, c.foot, c.point] = True
        self.contacts.extend(contacts)
        self.before.extend(slide(contacts, before).tolist())
        self.after.extend(slide(contacts, after).tolist())

    def mean(self, values: list[float]) -> Array:
        """Mean over the contacts of each foot [2]; NaN without any."""
        of = [[v for v, c in zip(values, self.contacts, strict=True) if c.foot == foot] for foot in (0, 1)]
        return np.array([np.mean(v) if v else np.nan for v in of])


@dataclass(frozen=True, eq=False)
class Held:
    """Contacts, and targets that hold them."""

    contacts: list[Contact]
    targets: Targets


@dataclass(frozen=True, eq=False)
class Feet:
    """The points on which a person stands.

    Attributes
    ----------
    nodes : int [2, 2]
        Of heel and toes of the left and the right foot.
    local : float64 [2, 2, 3] m
        In the node's axes.
    markers : list of list of int
        The markers that tell where each of the four is.
    """

    nodes: NDArray[np.int64]
    local: Array
    markers: list[list[int]]

    @staticmethod
    def of(body: Body, chain: Chain) -> Feet:
        """Heel and toes where they were ever seen; else the ankle stands for the heel and nothing for the toes."""
        nodes, local, markers = np.zeros((2, 2), np.int64), np.zeros((2, 2, 3)), []
        names = [m.landmark for m in body.markers]
        for foot, (side, s) in enumerate((("Left", "l"), ("Right", "r"))):
            nodes[foot] = FIRST_NODE[NAMES.index(f"{side}Foot")]
            toes = [names.index(n) for n in (f"{s}_big_toe", f"{s}_small_toe") if n in names]
            heel = [names.index(n) for n in (f"{s}_heel", f"{s}_ankle") if n in names][:1]
            for point, found in enumerate((heel, toes)):
                if found:
                    local[foot, point] = body.targets.local[found].mean(0)
                markers.append(found)
        return Feet(nodes, local, markers)

    def places(self, chain: Chain, pose: Pose) -> Array:
        """Where the four points are [T, 2, 2, 3], metres."""
        flat = points_of(
            pose.root, pose.quats, chain.parents, chain.offsets, self.nodes.ravel(), self.local.reshape(4, 3)
        )
        return flat.reshape(-1, 2, 2, 3)

    def hold(self, chain: Chain, targets: Targets, pose: Pose, rate: float) -> Held:
        """Contacts of a run at even steps, and targets with what holds them."""
        T = len(pose.root)
        seen = targets.information[..., 0, 0] > 0
        known = np.stack([seen[:, m].any(-1) if m else np.zeros(T, bool) for m in self.markers], -1).reshape(T, 2, 2)
        places = self.places(chain, pose)
        contacts = find_contacts(places, known, rate)
        length = np.linalg.norm(self.local[:, 1] - self.local[:, 0], axis=-1)
        held = anchors(contacts, places, (float(length[0]), float(length[1])))
        share = strength(contacts, T, rate)
        return Held(contacts, with_contacts(targets, contacts, held, share, self.nodes, self.local))


def seen_runs(body: Body, part: NDArray[np.int64], times: Array) -> list[slice]:
    """Spans of a take that begin and end with a seen point and lack points for no more than half a second."""
    seen = np.flatnonzero(body.targets.information[..., 0, 0].any(-1))
    if not len(seen):
        return []
    breaks = (np.diff(times[seen]) > _BRIDGED_S) | (np.diff(part[seen]) != 0)
    edges = np.flatnonzero(breaks) + 1
    return [slice(int(rows[0]), int(rows[-1]) + 1) for rows in np.split(seen, edges)]


def _filled(quats: Array, root: Array, runs: list[slice], part: NDArray[np.int64]) -> tuple[Array, Array]:
    """Rotations [T, B, 3, 3] and root [T, 3] with what lies outside the runs interpolated or held."""
    known = np.zeros(len(root), bool)
    for rows in runs:
        known[rows] = True
    R = Rotation.from_quat(quats.reshape(-1, 4)).as_matrix().reshape(*quats.shape[:2], 3, 3)
    R = np.stack([fill_rotations(R[:, b], known, part)[0] for b in range(R.shape[1])], 1)
    return R, fill_points(root, known, part)
