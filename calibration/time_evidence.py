"""What several sources say of the cameras' clocks, put together by their certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

Array = NDArray[np.float64]

# Two sources disagree beyond chance.
_CONTRADICTION = 4.0
_LEAST_STD_S = 1e-6


@dataclass(frozen=True, eq=False)
class ClockEvidence:
    """One source's view of when cameras expose.

    Attributes
    ----------
    source : str
        In words, e.g. "timecode".
    offset_s : float64 [V]
        On the source's own common clock, whatever its zero; NaN where it is silent.
    std_s : float64 [V]
        Standard deviation of each, independent between cameras.
    drift, drift_std : float64 [V], optional
        Relative excess length of the camera's second; NaN where not known.

    Raises
    ------
    CalibrationError
        Shapes that do not fit.
    """

    source: str
    offset_s: Array
    std_s: Array
    drift: Array = field(default=None)  # type: ignore[arg-type]
    drift_std: Array = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        unknown = np.full(len(self.offset_s), np.nan)
        for name in ("offset_s", "std_s", "drift", "drift_std"):
            value = getattr(self, name)
            value = unknown if value is None else np.array(value, np.float64)
            if value.shape != unknown.shape:
                raise CalibrationError(
                    f"{name} does not fit the cameras", expected=f"{len(unknown)} numbers",
                    found=f"shape {value.shape}", where=f"evidence from {self.source}",
                )  # fmt: skip
            object.__setattr__(self, name, value)

    @property
    def told(self) -> NDArray[np.bool_]:
        """Cameras [V] that it says something of."""
        return np.isfinite(self.offset_s) & np.isfinite(self.std_s)

    def against(self, reference: int) -> tuple[Array, Array]:
        """Offsets [V] relative to one camera and their standard deviations; NaN where silent."""
        offset = self.offset_s - self.offset_s[reference]
        std = np.where(self.told, np.hypot(self.std_s, self.std_s[reference]), np.nan)
        std[reference] = 0.0 if self.told[reference] else np.nan
        return offset, std


@dataclass(frozen=True, eq=False)
class Combined:
    """Offsets from all sources.

    Attributes
    ----------
    offset_s, std_s : float64 [V]
        Relative to the reference; NaN where no source links the camera to it.
    contradicting : tuple of (camera, source)
        Sources that say something else of a camera than a more certain one; they do not count for it.
    """

    offset_s: Array
    std_s: Array
    contradicting: tuple[tuple[int, str], ...]


def combine(evidence: Sequence[ClockEvidence], reference: int) -> Combined:
    """Weighted least squares over all sources, each with a zero of its own.

    Parameters
    ----------
    evidence : sequence of ClockEvidence
        At least one, the most trusted first: where two contradict each other the earlier one counts.
    reference : int
        Camera whose clock is the common one.
    """
    kept: list[ClockEvidence] = []
    contradicting: list[tuple[int, str]] = []
    for part in evidence:
        told = part.told
        if kept:
            sofar = _solve(kept, reference)
            offset, std = part.against(_anchor(part, sofar, reference))
            anchor = _anchor(part, sofar, reference)
            apart = np.abs(offset - (sofar.offset_s - sofar.offset_s[anchor]))
            wrong = apart > _CONTRADICTION * np.hypot(std, sofar.std_s)
            contradicting += [(int(v), part.source) for v in np.flatnonzero(wrong)]
            told = told & ~wrong
        kept.append(ClockEvidence(part.source, np.where(told, part.offset_s, np.nan), part.std_s))
    solved = _solve(kept, reference)
    return Combined(solved.offset_s, solved.std_s, tuple(contradicting))


def _anchor(part: ClockEvidence, sofar: Combined, reference: int) -> int:
    """The camera by which a source's zero is compared: the reference, or the surest one that both know."""
    if part.told[reference]:
        return reference
    both = part.told & np.isfinite(sofar.std_s)
    return int(np.argmin(np.where(both, part.std_s, np.inf)))


def _solve(evidence: Sequence[ClockEvidence], reference: int) -> Combined:
    V = len(evidence[0].offset_s)
    rows = [(s, v) for s, part in enumerate(evidence) for v in np.flatnonzero(part.told).tolist()]
    A = np.zeros((len(rows), V + len(evidence)))
    b = np.zeros(len(rows))
    for k, (s, v) in enumerate(rows):
        weight = 1 / max(float(evidence[s].std_s[v]), _LEAST_STD_S)
        A[k, v], A[k, V + s] = weight, weight
        b[k] = weight * evidence[s].offset_s[v]
    linked = _linked(evidence, reference)
    free = np.concatenate([linked & (np.arange(V) != reference), [linked[p.told].any() for p in evidence]])
    usable = np.array([linked[v] for _, v in rows], bool)
    N = A[usable][:, free]
    covariance = np.linalg.pinv(N.T @ N, hermitian=True)
    x, variance = np.zeros(len(free)), np.zeros(len(free))
    x[free], variance[free] = covariance @ (N.T @ b[usable]), np.diag(covariance)
    return Combined(np.where(linked, x[:V], np.nan), np.where(linked, np.sqrt(np.maximum(variance[:V], 0)), np.nan), ())


def _linked(evidence: Sequence[ClockEvidence], reference: int) -> NDArray[np.bool_]:
    """Cameras that sources connect with the reference, through other cameras or not."""
    linked = np.arange(len(evidence[0].offset_s)) == reference
    for _ in evidence:
        for part in evidence:
            if (linked & part.told).any():
                linked |= part.told
    return linked
