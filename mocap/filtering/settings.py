"""Settings of the filter stage."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mocap.errors import SettingsError

# Customary for whole-body motion (Winter 2009, 3.4.4.3).
_USUAL_CUTOFF_HZ = 6.0


class FilterMethod(enum.StrEnum):
    """How trajectories are smoothed.

    AUTO: MAP, or BUTTERWORTH where a cutoff is given.
    BUTTERWORTH: zero-phase low-pass (Winter, Biomechanics and Motor Control, 2009, 3.4.4).
    MAP: the most probable trajectory given every sample's covariance and a smoothness that is
    learnt from the take (`mocap.filtering.map_smoother`).
    FIXED_LAG: MAP from what is known `lag_frames` frames later, as for live use
    (`mocap.filtering.fixed_lag`).
    SAVITZKY_GOLAY, ONE_EURO, KALMAN: see `mocap.filtering.classic`.
    HAMPEL: samples far from the median of their neighbours are taken out and filled; nothing else.
    NONE: samples stay as they are; nothing is filled.
    """

    AUTO = "auto"
    BUTTERWORTH = "butterworth"
    MAP = "map"
    FIXED_LAG = "fixed_lag"
    SAVITZKY_GOLAY = "savitzky_golay"
    ONE_EURO = "one_euro"
    KALMAN = "kalman"
    HAMPEL = "hampel"
    NONE = "none"


@dataclass(frozen=True)
class FilterSettings:
    """How trajectories are filtered."""

    method: FilterMethod = FilterMethod.AUTO
    """The smoother."""
    cutoff_hz: float = 0.0
    """Butterworth's frequency (Hz) at which both passes together leave 1/sqrt(2) of the amplitude; giving one
    selects Butterworth. 0: map learns the smoothness from the take; 6 Hz where Butterworth is asked for."""
    order: int = 4
    """Butterworth only: order of both passes together; even."""
    max_gap_s: float = 0.25
    """Longest gap (seconds) that is filled; longer gaps and jumps of `frames` stay open."""
    bones: bool = True
    """map only: whether bones are held as constant in length as the take shows them to be."""
    hampel: bool = False
    """Whether samples far from the median of their neighbours are taken out first; for triangulated
    points without covariances, or for Butterworth on bad detections (map has its own outlier model)."""
    hampel_window_s: float = 0.25
    """Hampel: whole width (seconds) of the window of neighbours, at least five samples."""
    hampel_threshold: float = 4.0
    """Hampel: deviations beyond this many robust standard deviations are outliers."""
    lag_frames: int = 10
    """fixed_lag only: frames that are waited for before a frame is estimated."""
    savgol_window_s: float = 0.25
    """Savitzky-Golay: width (seconds) of the window that a polynomial is fitted to."""
    savgol_degree: int = 3
    """Savitzky-Golay: degree of the polynomial."""
    one_euro_cutoff_hz: float = 1.0
    """One-Euro: cutoff (Hz) at rest."""
    one_euro_beta: float = 5.0
    """One-Euro: what each m/s of speed adds to the cutoff, Hz."""
    kalman_acceleration: float = 5.0
    """Kalman: standard deviation of the acceleration, m/s2."""
    chunk_frames: int = 16_384
    """Frames worked on at a time; bounds memory, changes the result by less than a hundredth of a millimetre."""

    def __post_init__(self) -> None:
        if not isinstance(self.method, FilterMethod):
            object.__setattr__(self, "method", _method(self.method))
        if not 0 <= self.cutoff_hz < float("inf"):
            expected = "a frequency in Hz, or 0 to let the take decide"
            raise SettingsError("out of range", expected=expected, found=f"{self.cutoff_hz}", where=_at("cutoff_hz"))
        if self.method is FilterMethod.MAP and self.cutoff_hz > 0:
            raise SettingsError(
                "map has no cutoff",
                expected="filter.cutoff_hz = 0, as the smoothness is learnt from the take",
                found=f"{self.cutoff_hz}",
                where=_at("cutoff_hz"),
                hint='set filter.method = "butterworth" or "auto" to use a cutoff',
            )
        positive = (
            "hampel_window_s",
            "hampel_threshold",
            "savgol_window_s",
            "one_euro_cutoff_hz",
            "kalman_acceleration",
        )
        for name in positive:
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise SettingsError("out of range", expected="a positive number", found=f"{value}", where=_at(name))
        for name, least in (("lag_frames", 0), ("savgol_degree", 0), ("one_euro_beta", 0), ("chunk_frames", 16)):
            value = getattr(self, name)
            if not least <= value < float("inf"):
                raise SettingsError("out of range", expected=f"at least {least}", found=f"{value}", where=_at(name))
        if not 0 <= self.max_gap_s < float("inf"):
            found = f"{self.max_gap_s}"
            raise SettingsError("out of range", expected="seconds, zero or more", found=found, where=_at("max_gap_s"))
        if self.order < 2 or self.order % 2 or self.order > 16:
            expected = "an even number from 2 to 16"
            raise SettingsError("out of range", expected=expected, found=f"{self.order}", where=_at("order"))

    @property
    def smoother(self) -> FilterMethod:
        """The method in use, AUTO resolved."""
        if self.method is not FilterMethod.AUTO:
            return self.method
        return FilterMethod.BUTTERWORTH if self.cutoff_hz > 0 else FilterMethod.MAP

    @property
    def butterworth_cutoff_hz(self) -> float:
        """Butterworth's cutoff in use, Hz."""
        return self.cutoff_hz or _USUAL_CUTOFF_HZ


def _at(name: str) -> str:
    return f"filter.{name}"


def _method(value: object) -> FilterMethod:
    try:
        return FilterMethod(str(value))
    except ValueError as error:
        expected = " | ".join(FilterMethod)
        raise SettingsError("no such method", expected=expected, found=f"{value}", where=_at("method")) from error
