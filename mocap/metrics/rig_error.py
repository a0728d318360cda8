"""Errors of a calibration against a known one, whatever world each is in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera, CameraRig
from mocap.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RigError:
    """Errors per camera, after the two worlds have been laid upon each other.

    Attributes
    ----------
    cameras : tuple of str
        In the order of the truth.
    rotation : float64 [V], radians
    centre : float64 [V], metres
        Distance of the camera centres.
    focal : float64 [V]
        Relative error of the mean focal length.
    scale : float
        Estimated lengths / true lengths; 1 where the scale was not fitted.
    """

    cameras: tuple[str, ...]
    rotation: Array
    centre: Array
    focal: Array
    scale: float


def rig_error(estimate: CameraRig, truth: CameraRig, *, fit_scale: bool = False) -> RigError:
    """Rotation, place and focal length of each camera against the truth's.

    A calibration is known up to the choice of its world: the gauge is taken off by the rotation
    nearest to all cameras' own (chordal mean; Hartley et al., Rotation averaging, IJCV 103, 2013) and
    the shift, and if asked the scale, that fit the centres with the least squares.

    Parameters
    ----------
    estimate, truth : CameraRig
        Cameras are paired by name; those of the truth count.
    fit_scale : bool
        For calibrations without a known length. Needs two cameras apart.

    Raises
    ------
    DataError
        A camera of the truth that the estimate lacks.
    """
    rows = _rows(estimate, truth)
    R, R_true = (np.stack([c.R for c in cameras]) for cameras in (rows, truth.cameras))
    C, C_true = (np.stack([-c.R.T @ c.t for c in cameras]) for cameras in (rows, truth.cameras))
    U, _, Vt = np.linalg.svd(np.einsum("vji,vjk->ik", R, R_true))
    G = U @ np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))]) @ Vt  # estimated world from true world
    x, y = (C_true - C_true.mean(0)) @ G.T, C - C.mean(0)
    size = float((x**2).sum())
    scale = float((x * y).sum()) / size if fit_scale and size > 1e-18 else 1.0
    if not scale > 0:
        raise DataError("the cameras' places do not fit those of the truth", expected="a positive scale",
                        found=f"{scale:g}", where="rig_error")  # fmt: skip
    difference = R @ G @ np.swapaxes(R_true, -1, -2)
    # |skew| keeps its precision at small angles, where the trace loses it.
    skew = difference - np.swapaxes(difference, -1, -2)
    sine = np.linalg.norm(skew, axis=(-1, -2)) / np.sqrt(8)
    cosine = (np.trace(difference, axis1=-2, axis2=-1) - 1) / 2
    focal, focal_true = (np.array([c.K[[0, 1], [0, 1]].mean() for c in cs]) for cs in (rows, truth.cameras))
    return RigError(
        cameras=truth.names,
        rotation=np.arctan2(sine, cosine),
        centre=np.linalg.norm(y / scale - x, axis=-1),
        focal=np.abs(focal / focal_true - 1),
        scale=scale,
    )


def _rows(estimate: CameraRig, truth: CameraRig) -> list[Camera]:
    by_name = {c.name: c for c in estimate.cameras}
    lost = [name for name in truth.names if name not in by_name]
    if lost:
        raise DataError("cameras are missing", expected=", ".join(truth.names), found=f"no {', '.join(lost)}",
                        where="rig_error")  # fmt: skip
    return [by_name[name] for name in truth.names]
