"""How well each view of the target fits by itself: the floor under every joint result."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.observations import TargetObservations
from calibration.projection import Lenses, undistort

Array = NDArray[np.float64]


def single_view_rms(observations: TargetObservations, rig: CameraRig) -> Array:
    """RMS residual [C] (px) with a target pose of its own for every view, lenses as calibrated.

    Cameras that disagree in time, or stand elsewhere than the result says, leave this small while the joint
    residual is large. NaN where no view has six points in a plane or more.

    Notes
    -----
    Corners are undistorted and the pose minimises the error on the normalised image plane; residuals are
    given in pixels by the focal length, which at the image's edge differs by the lens's local scale.
    """
    o = observations
    result = np.full(len(rig), np.nan)
    if np.linalg.matrix_rank(o.points - o.points.mean(0), tol=1e-9) < 2:
        return result  # of a wand, one view fixes no pose
    for c, camera in enumerate(rig.cameras):
        rows = np.flatnonzero(o.camera == c)
        rows = rows[np.argsort(o.pose[rows], kind="stable")]
        ideal = undistort(Lenses.of(CameraRig((camera,))), o.pixel[rows][None])[0]
        total, count = 0.0, 0
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(o.pose[rows])) + 1):
            xy, points = ideal[part], o.points[o.point[rows[part]]]
            good = np.isfinite(xy).all(-1)
            if good.sum() < 6:
                continue
            # A view that fits its own pose nowhere is wrong, not imprecise.
            total += float(np.median(_squares(points[good], xy[good]))) / np.log(2) * int(good.sum())
            count += int(good.sum())
        if count:
            result[c] = np.sqrt(total / count) * camera.K[[0, 1], [0, 1]].mean()
    return result


def _squares(points: Array, xy: Array) -> Array:
    """Squared residuals [n] on the normalised plane with the better of the two poses that a plane may have."""
    _, turns, shifts, _ = cv2.solvePnPGeneric(points, xy, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    best = np.full(len(points), np.inf)
    for start in zip(turns, shifts, strict=True):
        turn, shift = cv2.solvePnPRefineLM(points, xy, np.eye(3), None, *start)
        again, _ = cv2.projectPoints(points, turn, shift, np.eye(3), None)
        square = ((again.reshape(-1, 2) - xy) ** 2).sum(-1)
        best = square if square.sum() < best.sum() else best
    return np.asarray(best)
