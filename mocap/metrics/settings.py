"""How a result is compared with ground truth."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mocap.errors import SettingsError


class Association(enum.StrEnum):
    """Which predicted person is compared with a true one."""

    TRACK = "track"
    """One for the whole take, so that the summed distance is least: a lost identity is an error."""
    NEAREST = "nearest"
    """In each frame the nearest (mvpose, VoxelPose): identities do not count, one may be taken twice."""
    FULLEST = "fullest"
    """In each frame the one with the most joints: for ground truth of one person."""


class Alignment(enum.StrEnum):
    """What is taken off before absolute errors: one transform for the whole take."""

    NONE = "none"
    RIGID = "rigid"
    """Rotation and shift: worlds that differ."""
    SIMILARITY = "similarity"
    """And scale: a calibration without a known length."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How a result is compared with ground truth."""

    association: Association = Association.TRACK
    """Which predicted person is compared with a true one."""
    alignment: Alignment = Alignment.NONE
    """Transform of the whole take that is taken off first; named in the report."""
    frame_offset: int = 0
    """Added to the prediction's frame numbers, frames."""
    search_offset: int = 0
    """Shifts tried on either side of `frame_offset`, frames; the best is used, and named in the report."""
    joints: str = ""
    """Joints that count, by name, parted by commas; all that both have unless given."""
    interval_level: float = 0.95
    """Level of the bootstrap confidence interval of MPJPE, 0..1."""
    interval_block_s: float = 1.0
    """Length of the blocks drawn together, s (30 frames where the frame rate is not known)."""

    @property
    def wanted_joints(self) -> tuple[str, ...]:
        """The names in `joints`."""
        return tuple(j.strip() for j in self.joints.split(",") if j.strip())

    def __post_init__(self) -> None:
        if not (0 < self.interval_level < 1 and self.interval_block_s > 0):
            raise SettingsError(
                "no such confidence interval", expected="a level between 0 and 1, blocks longer than 0 s",
                found=f"{self.interval_level}, {self.interval_block_s} s", where="EvaluationSettings",
            )  # fmt: skip
        if self.search_offset < 0:
            raise SettingsError(
                "no such search", expected="a number of frames, at least 0", found=f"{self.search_offset}",
                where="EvaluationSettings",
            )  # fmt: skip
