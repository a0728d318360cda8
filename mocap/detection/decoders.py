"""Ways to read heatmaps, and their settings; importing this loads no network library."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from mocap.errors import SettingsError


class DecoderName(enum.StrEnum):
    """How a heatmap becomes a point."""

    ARGMAX = "argmax"
    """The highest cell."""
    QUARTER = "quarter"
    """A quarter of a cell towards the higher neighbour."""
    DARK = "dark"
    """Smoothed by the shape of the peak, then the maximum of a paraboloid through its logarithm."""
    SOFT = "soft"
    """Centre of mass of the softmax."""


@dataclass(frozen=True)
class DecoderSettings:
    """How heatmaps are decoded."""

    method: DecoderName = DecoderName.DARK
    """Way to find the point."""
    peak_sigma: float = 2.0
    """Standard deviation of the peaks the network was trained to draw, cells."""
    temperature: float = 0.07
    """Of soft-argmax, in units of the map's own maximum: small keeps to the peak, large averages over the map."""

    def __post_init__(self) -> None:
        for name in ("peak_sigma", "temperature"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= 100):
                raise SettingsError("a setting is out of range", expected="0..100, not 0", found=f"{value}", where=name)
