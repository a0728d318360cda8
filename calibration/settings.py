"""Settings of the joint calibration."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from calibration.camera import Lens
from calibration.errors import SettingsError


class Distortion(enum.StrEnum):
    """Which distortion coefficients are estimated; the others stay 0 (or as known).

    AUTO: those that each camera's data measures, by their covariance.
    NONE, K1, K1K2, K1K2P1P2, FULL: fixed sets; of a fisheye lens k1, k1 k2, k1 k2 k3 (K1K2P1P2) or all four.
    """

    AUTO = "auto"
    NONE = "none"
    K1 = "k1"
    K1K2 = "k1k2"
    K1K2P1P2 = "k1k2p1p2"
    FULL = "full"


class TimeOffsets(enum.StrEnum):
    """Whether a time offset per camera is estimated, and what for.

    AUTO: offsets are found and reported where the target moves in consecutive frames; the cameras are
    those that fit the frames as they come, taken to be simultaneous, as triangulation will take them.
    ON: the cameras are those that fit the true times; for frames that are put on common time afterwards.
    OFF: no offsets.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class CalibrationSettings:
    """How cameras are calibrated from observations of a target.

    Attributes
    ----------
    lens : Lens
        Model of all cameras that are not `known`.
    distortion : Distortion
    estimate_time_offsets : TimeOffsets
    known_weight : float
        Trust in known intrinsics: 1 takes their focal length as good to 2 %, 4 as good to 1 %;
        0 uses them as start values only.
    max_poses : int
        At most so many target poses are used, evenly chosen; 0: all.
    min_views : int
        Fewest usable views of a camera whose intrinsics are not known.
    """

    lens: Lens = Lens.BROWN_CONRADY
    distortion: Distortion = Distortion.AUTO
    estimate_time_offsets: TimeOffsets = TimeOffsets.AUTO
    known_weight: float = 1.0
    max_poses: int = 2000
    min_views: int = 4

    def __post_init__(self) -> None:
        if self.known_weight < 0 or self.max_poses < 0 or self.min_views < 1:
            raise SettingsError(
                "calibration settings out of range",
                expected="known_weight >= 0, max_poses >= 0, min_views >= 1",
                found=f"known_weight={self.known_weight:g}, max_poses={self.max_poses}, min_views={self.min_views}",
            )
