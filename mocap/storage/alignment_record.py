"""What the synchronise stage finds, as a record: when each camera exposes and how it was nudged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from calibration.refinement import RigCorrection
from calibration.synchronisation import TimeModel
from mocap.arrays import Record, array


@dataclass(frozen=True, eq=False)
class AlignmentRecord(Record):
    """A `TimeModel` and a `RigCorrection` as arrays."""

    LABELS: ClassVar[dict[str, str]] = {"cameras": "V"}

    offset_s: NDArray[np.float64] = array("V", "f8", units="s")
    drift: NDArray[np.float64] = array("V", "f8")
    offset_std_s: NDArray[np.float64] = array("V", "f8", units="s")
    rotation: NDArray[np.float64] = array("V 3", "f8", units="rad", frame="camera")
    rotation_std: NDArray[np.float64] = array("V 3", "f8", units="rad", frame="camera")
    offset_before: NDArray[np.float64] = array("V", "f8", units="px", frame="image")
    offset_after: NDArray[np.float64] = array("V", "f8", units="px", frame="image")
    cameras: tuple[str, ...] = ()
    method: str = ""

    @staticmethod
    def of(times: TimeModel, correction: RigCorrection) -> AlignmentRecord:
        """The record of both."""
        return AlignmentRecord(
            offset_s=times.offset_s,
            drift=times.drift,
            offset_std_s=times.offset_std_s,
            rotation=correction.rotation,
            rotation_std=correction.std,
            cameras=times.cameras,
            method=times.method,
            offset_before=correction.offset_before,
            offset_after=correction.offset_after,
        )

    def to_time_model(self) -> TimeModel:
        """When each camera exposes."""
        return TimeModel(self.cameras, self.offset_s, self.drift, self.offset_std_s, self.method)

    def to_correction(self) -> RigCorrection:
        """How each camera was nudged."""
        return RigCorrection(self.rotation, self.rotation_std, self.offset_before, self.offset_after)
