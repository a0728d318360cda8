"""Settings of the match stage."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from calibration.errors import SettingsError


class MatchMode(enum.StrEnum):
    """What a decision may look at: the whole take, or only the frames before it."""

    OFFLINE = "offline"
    CAUSAL = "causal"


class AssignmentMethod(enum.StrEnum):
    """How detections of one frame are put together.

    CLUSTER: tracks take slots by the Hungarian method; what is left is clustered over all views at
    once, at most one slot per view in a group, so that the result is cycle-consistent.
    HUNGARIAN: the same for tracks; what is left is joined view by view, Hungarian each time.
    GREEDY: nearest first, for tracks and for what is left. For comparison.
    """

    CLUSTER = "cluster"
    HUNGARIAN = "hungarian"
    GREEDY = "greedy"


@dataclass(frozen=True)
class MatchOverride:
    """A decision made by hand: what a person slot of a camera shows over some frames."""

    frames: tuple[int, int]
    """First and last frame number."""
    camera: str
    """Name of the camera."""
    slot: int
    """Person slot of the 2D keypoints."""
    person: int = -1
    """The person it shows."""
    ignore: bool = False
    """Nobody: the detection counts as not made. Instead of `person`."""

    def __post_init__(self) -> None:
        where = "match.override"
        if self.frames[0] > self.frames[1] or self.slot < 0:
            raise SettingsError("not usable", expected="first frame <= last frame, slot 0 or more",
                                found=f"frames {list(self.frames)}, slot {self.slot}", where=where)  # fmt: skip
        if (self.person >= 0) == self.ignore:
            raise SettingsError(
                "says nothing, or two things", expected="either `person`, 0 or more, or `ignore = true`",
                found=f"person {self.person}, ignore {str(self.ignore).lower()}", where=where,
            )  # fmt: skip


@dataclass(frozen=True)
class MatchingSettings:
    """How 2D people become identities."""

    mode: MatchMode = MatchMode.OFFLINE
    """offline: decisions use the whole take. causal: only what came before, as if live; a person exists from
    the frame on that completes `min_duration_s`, or in which one view more than `min_views` sees it."""
    method: AssignmentMethod = AssignmentMethod.CLUSTER
    """cluster, hungarian or greedy; the last two for comparison."""
    override: tuple[MatchOverride, ...] = ()
    """Decisions by hand, `[[match.override]]`: frames = [first, last], camera, slot, and person or ignore = true."""
    min_views: int = 0
    """A person must be seen by this many views at once (for `min_duration_s` in sum) to become a person.
    0: two with up to three cameras, three with more, so that a bystander in the corner of two does not."""
    min_duration_s: float = 0.2
    """Shortest time, in sum, that `min_views` views must see a person, seconds."""
    min_joints: int = 4
    """Fewest joints two detections must share to be compared."""
    min_confidence: float = 0.1
    """Joints below this confidence do not count in the comparison (they are still handed on)."""
    max_ray_distance_m: float = 0.15
    """Mean distance between the joints' rays of two views up to which they may be one person, metres."""
    max_track_distance_m: float = 0.3
    """Mean distance of a detection's rays from a person's predicted joints up to which it is theirs, metres."""
    max_occlusion_s: float = 1.0
    """A person nobody sees keeps the track for this long, seconds; also the longest gap of `frames`."""
    max_speed_m_s: float = 3.0
    """How fast a person may move while not seen, metres per second (links tracks over occlusions)."""
    max_reentry_difference: float = 0.06
    """Relative difference of limb lengths up to which somebody who comes back is the one who left."""
    max_people: int = 32
    """Most people at the same time."""
    repair_flips: bool = True
    """Undo left/right flips: whole body, arms, legs, face and parts of limbs separately."""
    repair_limbs: bool = True
    """Give limbs back that a detector hung on the neighbour."""
    flip_rate: float = 0.02
    """Expected share of flipped frames where the views do not say (only weighs ties)."""
    flip_change_rate: float = 0.02
    """Expected share of frames at which a view starts or stops being flipped."""
    chunk_frames: int = 1024
    """Frames worked on at a time; bounds memory, does not change the result."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", MatchMode(self.mode))
        object.__setattr__(self, "method", AssignmentMethod(self.method))
        checks = (
            ("min_views", self.min_views == 0 or self.min_views >= 2, "0 or at least 2"),
            ("min_duration_s", self.min_duration_s >= 0, "not negative"),
            ("min_joints", self.min_joints >= 1, "at least 1"),
            ("min_confidence", 0 <= self.min_confidence < 1, "from 0 to below 1"),
            ("max_ray_distance_m", self.max_ray_distance_m > 0, "positive"),
            ("max_track_distance_m", self.max_track_distance_m > 0, "positive"),
            ("max_occlusion_s", self.max_occlusion_s >= 0, "not negative"),
            ("max_speed_m_s", self.max_speed_m_s > 0, "positive"),
            ("max_reentry_difference", self.max_reentry_difference >= 0, "not negative"),
            ("max_people", 1 <= self.max_people <= 256, "1 to 256"),
            ("flip_rate", 0 < self.flip_rate < 0.5, "between 0 and 0.5"),
            ("flip_change_rate", 0 < self.flip_change_rate < 0.5, "between 0 and 0.5"),
            ("chunk_frames", self.chunk_frames >= 1, "at least 1"),
        )
        for name, good, expected in checks:
            if not good:
                raise SettingsError(
                    f"{name} is out of range", expected=expected, found=str(getattr(self, name)), where=f"match.{name}"
                )

    def views_needed(self, cameras: int) -> int:
        """`min_views` for a rig of so many cameras, with 0 made definite."""
        return self.min_views or (2 if cameras <= 3 else 3)
