"""Settings of the triangulate stage."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.errors import SettingsError


@dataclass(frozen=True)
class TriangulationSettings:
    """How 2D observations become 3D points."""

    robust: bool = True
    """Mixture-of-inliers weights and subset hypotheses; off: every view counts as an inlier."""
    use_confidence: bool = True
    """Learn pixel noise and inlier probability per confidence level; off: one level for all."""
    learning_passes: int = 5
    """Expectation-maximisation passes that learn the noise model from the take itself."""
    learning_points: int = 6_000
    """Largest number of joint samples the noise model is learnt from (evenly spread over the take)."""
    min_views: int = 2
    """Fewest inlier views that make a point (at least 2)."""
    min_angle_deg: float = 1.0
    """Largest angle between two rays of a point must reach this, degrees; below, the depth is unknown."""
    max_std_m: float = 0.5
    """A point whose worst direction has a larger standard deviation is reported missing, metres."""
    max_doubt: float = 0.5
    """A point is reported missing if it is more probable than this that no two views agree."""
    max_hypothesis_views: int = 8
    """Views whose pairs are tried as hypotheses where a view is doubtful (the most trusted ones)."""
    chunk_frames: int = 2048
    """Frames worked on at a time; bounds memory, does not change the result."""

    def __post_init__(self) -> None:
        checks = (
            ("learning_passes", self.learning_passes >= 1, "at least 1"),
            ("learning_points", self.learning_points >= 100, "at least 100"),
            ("min_views", self.min_views >= 2, "at least 2"),
            ("min_angle_deg", 0 < self.min_angle_deg < 90, "between 0 and 90"),
            ("max_std_m", self.max_std_m > 0, "positive"),
            ("max_doubt", 0 < self.max_doubt <= 1, "above 0 and at most 1"),
            ("max_hypothesis_views", self.max_hypothesis_views >= 3, "at least 3"),
            ("chunk_frames", self.chunk_frames >= 1, "at least 1"),
        )
        for name, good, expected in checks:
            if not good:
                raise SettingsError(
                    f"{name} is out of range",
                    expected=expected,
                    found=str(getattr(self, name)),
                    where=f"triangulate.{name}",
                )
