"""The records that stages hand to each other.

Axes: V views, T frames, P persons (or person slots), J joints, B bones. Units are metres, pixels
and seconds. A missing observation is NaN with confidence 0. `frames` are the recording's frame
numbers, increasing; a jump parts the recording (see `mocap.timeline`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mocap.arrays import Record, array
from mocap.errors import DataError
from mocap.persistence import Persistence


class Source(enum.IntEnum):
    """Where a 3D joint sample comes from; stored as uint8."""

    MISSING = 0
    TRIANGULATED = 1
    LIFTED = 2
    INTERPOLATED = 3


class _Timed(Record):
    """A record with `frames` and `fps`."""

    frames: NDArray[np.int64]
    fps: float

    def __post_init__(self) -> None:
        super().__post_init__()
        where = type(self).__name__
        object.__setattr__(self, "fps", float(self.fps))
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise DataError("fps is not usable", expected="a positive number", found=f"{self.fps}", where=where)
        if (np.diff(self.frames) <= 0).any():
            raise DataError("frame numbers must increase", found="equal or falling numbers", where=f"{where}.frames")


@dataclass(frozen=True, eq=False)
class Keypoints2D(_Timed):
    """2D people per view, as a detector finds them.

    Person slots carry no identity across views or frames. Coordinates are those of the raw,
    distorted video image.
    """

    LABELS: ClassVar[dict[str, str]] = {"cameras": "V", "joint_names": "J"}

    keypoints: NDArray[np.float32] = array("V T P J 2", units="px", frame="raw image")
    confidence: NDArray[np.float32] = array("V T P J", units="0..1")
    uncertainty: NDArray[np.float32] = array("V T P J", units="px", frame="raw image")
    """Standard deviation per axis as far as the detector knows it; NaN where it does not say."""
    frames: NDArray[np.int64] = array("T", "i8")
    cameras: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()
    fps: float = 0.0
    appearance: NDArray[np.float32] = array("V T P E", optional=True)
    """What people look like to each view, in E numbers of any kind (see `mocap.detection.appearance`); NaN
    where not known. E is 0 unless the detector says."""

    def __post_init__(self) -> None:
        if self.appearance is None or np.shape(self.appearance)[-1] == 0:
            object.__setattr__(self, "appearance", np.zeros((*np.shape(self.confidence)[:3], 0), np.float32))
        super().__post_init__()
        # One rule for "not seen", so that no consumer has to know a second one.
        x, y = self.keypoints[..., 0], self.keypoints[..., 1]
        seen = np.isfinite(x) & np.isfinite(y) & (self.confidence > 0)
        if (seen | (np.isnan(x) & np.isnan(y) & (self.confidence == 0))).all():
            return  # as it is in stored records: no need for another copy
        object.__setattr__(self, "keypoints", np.where(seen[..., None], self.keypoints, np.float32(np.nan)))
        object.__setattr__(self, "confidence", np.where(seen, self.confidence, np.float32(0)))


@dataclass(frozen=True, eq=False)
class Matches(_Timed):
    """2D people with identity: index p is the same person in every view and frame.

    `keypoints` are final for triangulation: slots chosen, left/right flips and swapped limbs
    repaired. `observation` says for each sample which detection it is (slot * J + joint of the
    input; -1 where none), `slot` which person slot was taken (-1 none), `score` how well it agrees
    with the person's other views (mean reprojection error, px) and `runner_up` the same for the
    best alternative (NaN where there is none).
    """

    LABELS: ClassVar[dict[str, str]] = {"cameras": "V", "joint_names": "J"}

    keypoints: NDArray[np.float32] = array("V T P J 2", units="px", frame="raw image")
    confidence: NDArray[np.float32] = array("V T P J", units="0..1")
    uncertainty: NDArray[np.float32] = array("V T P J", units="px", frame="raw image")
    observation: NDArray[np.int32] = array("V T P J", "i4")
    slot: NDArray[np.int16] = array("V T P", "i2")
    score: NDArray[np.float32] = array("V T P", units="px")
    runner_up: NDArray[np.float32] = array("V T P", units="px")
    person_ids: NDArray[np.int64] = array("P", "i8")
    frames: NDArray[np.int64] = array("T", "i8")
    cameras: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()
    fps: float = 0.0


@dataclass(frozen=True, eq=False)
class Trajectories3D(_Timed):
    """3D joints of every person over time, in the world frame.

    `reprojection_error` is the mean distance over the views used (as Pose2Sim and Anipose count it);
    `consistency` the spread of the points that single view pairs give (metres; NaN with fewer than
    two views); `views_used` a bit mask of the views that count as inliers (bit v = view v).
    `lasting_share` of the 2D errors' variance lasts from frame to frame, with a correlation that falls to
    1/e in `lasting_s` seconds; `constant_share` of it does not change (0 and 0: frames are independent).
    """

    LABELS: ClassVar[dict[str, str]] = {"joint_names": "J"}

    positions: NDArray[np.float32] = array("T P J 3", units="m", frame="world")
    covariance: NDArray[np.float32] = array("T P J 3 3", units="m2", frame="world")
    source: NDArray[np.uint8] = array("T P J", "u1")
    reprojection_error: NDArray[np.float32] = array("T P J", units="px")
    consistency: NDArray[np.float32] = array("T P J", units="m")
    views_used: NDArray[np.uint64] = array("T P J", "u8")
    person_ids: NDArray[np.int64] = array("P", "i8")
    frames: NDArray[np.int64] = array("T", "i8")
    joint_names: tuple[str, ...] = ()
    fps: float = 0.0
    lasting_share: float = 0.0
    lasting_s: float = 0.0
    constant_share: float = 0.0

    @property
    def persistence(self) -> Persistence:
        """How the errors hang together in time."""
        return Persistence(self.lasting_share, self.lasting_s, self.constant_share)

    def __post_init__(self) -> None:
        super().__post_init__()
        present = np.isfinite(self.positions).all(-1)
        if (present != (self.source != Source.MISSING)).any():
            raise DataError(
                "positions and source disagree",
                expected="source = missing exactly where the position is NaN",
                where="Trajectories3D",
            )


@dataclass(frozen=True, eq=False)
class SkeletalMotion(_Timed):
    """Motion of a skeleton with constant bone lengths: what animation formats hold.

    World frame, z up. Joint b's world rotation is its parent's times `rotations`; its world
    position is the parent's position plus the parent's world rotation applied to `offsets`.
    In the rest pose (all rotations identity) the person stands in a T-pose, faces -y, left hand
    along +x.
    """

    LABELS: ClassVar[dict[str, str]] = {"joint_names": "B"}

    offsets: NDArray[np.float32] = array("P B 3", units="m", frame="parent, rest pose")
    rotations: NDArray[np.float32] = array("T P B 4", units="quaternion, scalar last", frame="parent")
    root_positions: NDArray[np.float32] = array("T P 3", units="m", frame="world")
    source: NDArray[np.uint8] = array("T P B", "u1")
    parents: NDArray[np.int64] = array("B", "i8")
    person_ids: NDArray[np.int64] = array("P", "i8")
    frames: NDArray[np.int64] = array("T", "i8")
    joint_names: tuple[str, ...] = ()
    fps: float = 0.0
    rotation_std: NDArray[np.float32] = array("T P B", units="rad", optional=True)
    """Uncertainty of each joint's rotation (one standard deviation about its least certain axis); NaN
    where nothing tells it."""
    contacts: NDArray[np.bool_] = array("T P 2 2", "?", optional=True)
    """Whether a foot (left, right) stands without sliding, on its heel and on its toes. Where the input has
    no heel and toes the ankle takes the heel's place."""
    slide_before: NDArray[np.float32] = array("P 2", units="m", optional=True)
    """How far a foot (left, right) slides during a contact before contacts were locked: the farthest its
    standing point gets from its mean place, averaged over contacts; NaN without contacts."""
    slide_after: NDArray[np.float32] = array("P 2", units="m", optional=True)
    """The same in this motion."""

    def __post_init__(self) -> None:
        T, P, B = np.shape(self.source)
        for name, empty in (
            ("rotation_std", np.full((T, P, B), np.nan)), ("contacts", np.zeros((T, P, 2, 2), bool)),
            ("slide_before", np.full((P, 2), np.nan)), ("slide_after", np.full((P, 2), np.nan)),
        ):  # fmt: skip
            if getattr(self, name) is None:
                object.__setattr__(self, name, empty)
        super().__post_init__()
