"""What the synchronise stage finds, as a record: when each camera exposes and how it was nudged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from calibration.refinement import RigCorrection
from calibration.synchronisation import Gap, TimeModel
from mocap.arrays import Record, array
from mocap.synchronisation.align import Alignment


@dataclass(frozen=True, eq=False)
class AlignmentRecord(Record):
    """A `TimeModel`, its evidence and a `RigCorrection` as arrays.

    `measured_s` and `measured_std_s` are the offsets that motion and recordings tell, used or not;
    `curve_s` and `curve_cost` the misfit of each camera with the others by how late it is assumed to be
    (NaN behind a shorter curve's end); `gap_...` say where which camera lost frames; `statements` say the
    same in words, per camera. Where nothing was measured all are NaN or empty.
    """

    LABELS: ClassVar[dict[str, str]] = {"cameras": "V", "statements": "V"}

    offset_s: NDArray[np.float64] = array("V", "f8", units="s")
    offset_std_s: NDArray[np.float64] = array("V", "f8", units="s")
    drift: NDArray[np.float64] = array("V", "f8")
    drift_std: NDArray[np.float64] = array("V", "f8")
    rate: NDArray[np.float64] = array("V", "f8")
    measured_s: NDArray[np.float64] = array("V", "f8", units="s")
    measured_std_s: NDArray[np.float64] = array("V", "f8", units="s")
    curve_s: NDArray[np.float64] = array("V L", "f8", units="s")
    curve_cost: NDArray[np.float64] = array("V L", "f8", units="0..1")
    row_delay_s: NDArray[np.float64] = array("V", "f8", units="s")
    gap_camera: NDArray[np.int64] = array("G", "i8", units="view")
    gap_frame: NDArray[np.int64] = array("G", "i8", units="stored frame")
    gap_missing: NDArray[np.int64] = array("G", "i8", units="frames")
    rotation: NDArray[np.float64] = array("V 3", "f8", units="rad", frame="camera")
    rotation_std: NDArray[np.float64] = array("V 3", "f8", units="rad", frame="camera")
    offset_before: NDArray[np.float64] = array("V", "f8", units="px", frame="image")
    offset_after: NDArray[np.float64] = array("V", "f8", units="px", frame="image")
    cameras: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    method: str = ""

    @staticmethod
    def of(alignment: Alignment) -> AlignmentRecord:
        """The record of an alignment."""
        times, correction, evidence = alignment.times, alignment.correction, alignment.evidence
        unknown = np.full(len(times.cameras), np.nan)
        curves = evidence.coarse.curves if evidence else (None,) * len(times.cameras)
        longest = max((len(c.cost) for c in curves if c is not None), default=0)
        curve_s, curve_cost = np.full((2, len(curves), longest), np.nan)
        for v, curve in enumerate(curves):
            if curve is not None:
                curve_s[v, : len(curve.cost)] = -curve.offsets_s[::-1]
                curve_cost[v, : len(curve.cost)] = curve.cost[::-1]
        return AlignmentRecord(
            offset_s=times.offset_s,
            offset_std_s=times.offset_std_s,
            drift=times.drift,
            drift_std=times.drift_std,
            rate=times.rate,
            measured_s=evidence.offset_s if evidence else unknown,
            measured_std_s=evidence.std_s if evidence else unknown,
            curve_s=curve_s,
            curve_cost=curve_cost,
            row_delay_s=times.row_delay_s,
            gap_camera=np.array([g.camera for g in times.gaps], np.int64),
            gap_frame=np.array([g.frame for g in times.gaps], np.int64),
            gap_missing=np.array([g.missing for g in times.gaps], np.int64),
            rotation=correction.rotation,
            rotation_std=correction.std,
            offset_before=correction.offset_before,
            offset_after=correction.offset_after,
            cameras=times.cameras,
            statements=evidence.statements if evidence else ("",) * len(times.cameras),
            method=times.method,
        )

    def to_time_model(self) -> TimeModel:
        """When each camera exposes."""
        gaps = zip(self.gap_camera.tolist(), self.gap_frame.tolist(), self.gap_missing.tolist(), strict=True)
        return TimeModel(
            self.cameras, self.offset_s, self.drift, self.offset_std_s, self.method, self.rate, self.drift_std,
            tuple(Gap(*g) for g in gaps), self.row_delay_s,
        )  # fmt: skip

    def to_correction(self) -> RigCorrection:
        """How each camera was nudged."""
        return RigCorrection(self.rotation, self.rotation_std, self.offset_before, self.offset_after)
