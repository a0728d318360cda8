"""Settings of the match stage."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.errors import SettingsError


@dataclass(frozen=True)
class MatchingSettings:
    """How 2D people become identities."""

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
    """Undo left/right flips: whole body, arms, legs and face separately."""
    flip_rate: float = 0.02
    """Expected share of flipped frames where the views do not say (only weighs ties)."""
    flip_change_rate: float = 0.02
    """Expected share of frames at which a view starts or stops being flipped."""
    chunk_frames: int = 1024
    """Frames worked on at a time; bounds memory, does not change the result."""

    def __post_init__(self) -> None:
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
