"""Settings of the solve stage."""

from __future__ import annotations

from dataclasses import dataclass

from mocap.errors import SettingsError


@dataclass(frozen=True)
class SolveSettings:
    """How joint rotations are found."""

    symmetric: bool = True
    """Whether left and right bones get the same length."""
    ik: bool = True
    """Whether all frames are solved together by inverse kinematics; else each bone is turned on its own."""
    limits: bool = True
    """ik only: whether joints keep to the ranges of healthy adults (softly)."""
    contacts: bool = True
    """ik only: whether feet that stand are kept from sliding."""
    twist_window_s: float = 0.15
    """Width (seconds, one standard deviation) over which bending planes of limbs are averaged."""
    min_frames: int = 3
    """A person whose hips or shoulders are seen in fewer frames is left out."""

    def __post_init__(self) -> None:
        if not 0 <= self.twist_window_s < float("inf"):
            raise SettingsError(
                "out of range", expected="seconds, zero or more", found=f"{self.twist_window_s}",
                where="solve.twist_window_s",
            )  # fmt: skip
        if self.min_frames < 1:
            raise SettingsError(
                "out of range", expected="at least 1", found=f"{self.min_frames}", where="solve.min_frames"
            )
