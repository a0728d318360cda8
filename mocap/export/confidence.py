"""How sure a motion is, in words that custom properties hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.types import Source


def measured_fraction(source: NDArray[np.uint8]) -> float:
    """Part of the samples that were triangulated or lifted."""
    return float(np.isin(source, (Source.TRIANGULATED, Source.LIFTED)).mean())


def source_runs(source: NDArray[np.uint8]) -> str:
    """Flags over time as text, e.g. ``triangulated:0-57 interpolated:58-60`` (samples of the file)."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(source)) + 1])
    stops = np.concatenate([starts[1:], [len(source)]]) - 1
    names = [s.name.lower() for s in Source]
    return " ".join(f"{names[source[a]]}:{a}-{b}" for a, b in zip(starts, stops, strict=True))


def median_degrees(std: NDArray[np.float64]) -> float | None:
    """Median of standard deviations in radians, in degrees; None where nothing is known."""
    known = std[np.isfinite(std)]
    return round(float(np.degrees(np.median(known))), 3) if len(known) else None
