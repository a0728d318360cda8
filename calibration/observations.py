"""What calibration footage shows: known points of a target, seen in images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError


@dataclass(frozen=True, eq=False)
class TargetObservations:
    """Points of one rigid target (board or wand), seen by several cameras in many poses: a flat table.

    Attributes
    ----------
    cameras : tuple of str
    sizes : tuple of (int, int)
        Image (width, height) per camera in px.
    points : float64 [P, 3]
        The target's points in its own frame (metres); a board's lie in z = 0, a wand's on a line.
    times : float64 [B]
        When each target pose was seen (s, on the cameras' common clock); poses need not be in order
        and a pose seen by one camera only (an intrinsic recording) is welcome.
    camera, pose, point : int64 [N]
        Per observation: index into `cameras`, `times` and `points`.
    pixel : float64 [N, 2]
        Where it was seen, in the raw (distorted) image (px).

    Raises
    ------
    CalibrationError
        Shapes or indices that do not fit, or non-finite pixels.
    """

    cameras: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    points: NDArray[np.float64]
    times: NDArray[np.float64]
    camera: NDArray[np.int64]
    pose: NDArray[np.int64]
    point: NDArray[np.int64]
    pixel: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.pixel)
        indices = ((self.camera, len(self.cameras)), (self.pose, len(self.times)), (self.point, len(self.points)))
        fits = (
            self.pixel.shape == (count, 2)
            and self.points.shape == (len(self.points), 3)
            and len(self.sizes) == len(self.cameras)
            and all(i.shape == (count,) and (count == 0 or (i.min() >= 0 and i.max() < n)) for i, n in indices)
        )
        if not fits or not np.isfinite(self.pixel).all():
            raise CalibrationError(
                "the observations of the calibration target are not usable",
                expected="one camera, pose, point and finite pixel per observation",
                found=f"{count} observations" if not fits else "NaN or infinite pixels",
                hint="this is a fault of the caller; please report it",
            )

    def __len__(self) -> int:
        return len(self.pixel)

    def select(self, keep: NDArray[np.bool_]) -> TargetObservations:
        """The observations where `keep` [N] holds; cameras, poses and points stay numbered as they are."""
        return TargetObservations(
            self.cameras, self.sizes, self.points, self.times,
            self.camera[keep], self.pose[keep], self.point[keep], self.pixel[keep],
        )  # fmt: skip
