"""Camera rigs as records, so that they are stored like everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CAMERA_PARAMETERS, Camera, CameraRig, Lens
from mocap.arrays import Record, array


@dataclass(frozen=True, eq=False)
class RigRecord(Record):
    """A `CameraRig` as arrays; `covariance` is NaN where unknown.

    `quality` is the report (JSON) of a calibration from footage, empty for one that was read from a file.
    """

    LABELS: ClassVar[dict[str, str]] = {"cameras": "V"}

    K: NDArray[np.float64] = array("V 3 3", "f8", units="px")
    distortion: NDArray[np.float64] = array("V 5", "f8")
    R: NDArray[np.float64] = array("V 3 3", "f8", frame="camera from world")
    t: NDArray[np.float64] = array("V 3", "f8", units="m", frame="camera from world")
    size: NDArray[np.int64] = array("V 2", "i8", units="px")
    fisheye: NDArray[np.bool_] = array("V", "?")
    covariance: NDArray[np.float64] = array(f"V {CAMERA_PARAMETERS} {CAMERA_PARAMETERS}", "f8")
    cameras: tuple[str, ...] = ()
    world_source: str = ""
    quality: str = ""

    @staticmethod
    def of(rig: CameraRig, quality: str = "") -> RigRecord:
        """The record of a rig."""
        unknown = np.full((len(rig), CAMERA_PARAMETERS, CAMERA_PARAMETERS), np.nan)
        return RigRecord(
            K=rig.K,
            distortion=rig.distortion,
            R=rig.R,
            t=rig.t,
            size=np.array([c.size for c in rig.cameras]),
            fisheye=rig.fisheye,
            covariance=unknown if rig.covariance is None else rig.covariance,
            cameras=rig.names,
            world_source=rig.world_source,
            quality=quality,
        )

    def to_rig(self) -> CameraRig:
        """The rig of the record."""
        cameras = tuple(
            Camera(
                name,
                (int(self.size[i, 0]), int(self.size[i, 1])),
                self.K[i],
                self.distortion[i],
                self.R[i],
                self.t[i],
                Lens.FISHEYE if self.fisheye[i] else Lens.BROWN_CONRADY,
            )
            for i, name in enumerate(self.cameras)
        )
        known = bool(np.isfinite(self.covariance).all())
        return CameraRig(cameras, self.covariance if known else None, self.world_source)
