"""Errors of velocity and acceleration, and feet that slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError

Array = NDArray[np.float64]
Frames = NDArray[np.int64]
Mask = NDArray[np.bool_]

FLOOR_M = 0.05
"""A foot joint that moves within this height of its own lowest place is taken to stand."""


def velocity_errors(prediction: Array, truth: Array, frames: Frames) -> Array:
    """Norm of the difference of first differences in time: [T-1, ...], metres per frame.

    Pavllo et al., VideoPose3D (CVPR 2019): MPJVE, "the MPJPE of the first derivative"; in
    units per frame, as their code counts it.

    Parameters
    ----------
    prediction, truth : [T, ..., 3], metres
    frames : int [T]
        Frame numbers; rows that do not follow each other by the usual step give NaN.
    """
    return _differences(prediction, truth, frames, 1)


def acceleration_errors(prediction: Array, truth: Array, frames: Frames) -> Array:
    """Norm of the difference of second differences in time: [T-2, ...], metres per frame squared.

    Kanazawa et al., Learning 3D human dynamics from video (CVPR 2019): the acceleration error,
    there in mm/s2; here per frame squared (times fps squared for seconds). Parameters as in
    `velocity_errors`.
    """
    return _differences(prediction, truth, frames, 2)


def mpjve(prediction: Array, truth: Array, frames: Frames) -> float:
    """Mean of `velocity_errors` over all that is known, metres per frame; NaN if nothing is."""
    return _mean(velocity_errors(prediction, truth, frames))


def acceleration_error(prediction: Array, truth: Array, frames: Frames) -> float:
    """Mean of `acceleration_errors` over all that is known, metres per frame squared; NaN if nothing is."""
    return _mean(acceleration_errors(prediction, truth, frames))


def _differences(prediction: Array, truth: Array, frames: Frames, order: int) -> Array:
    difference = np.asarray(prediction, np.float64) - np.asarray(truth, np.float64)
    if len(frames) != len(difference):
        raise DataError("frames do not fit the poses", expected=f"{len(difference)}", found=f"{len(frames)}")
    if len(frames) <= order:
        return np.full((0, *difference.shape[1:-1]), np.nan)
    steps = np.diff(np.asarray(frames, np.int64))
    usual = np.min(steps) if len(steps) else 1
    even = np.ones(len(frames) - order, bool)
    for k in range(order):
        even &= steps[k : len(steps) - order + 1 + k] == usual
    changes = np.diff(difference, order, axis=0)
    changes[~even] = np.nan
    return np.sqrt(np.einsum("...i,...i->...", changes, changes))


def foot_slide(positions: Array, frames: Frames, contact: Mask | None = None, floor: float = FLOOR_M) -> float:
    """Mean horizontal way of standing feet from frame to frame, metres per frame; NaN if none stands.

    As Zhang et al., Mode-adaptive neural networks (TOG 37, 2018), count skating:
    v (2 - 2^(h/H)), v the horizontal step, h the height above the floor clipped to 0..H; z is up.

    Parameters
    ----------
    positions : [T, F, 3], metres
        Feet (ankles, heels or toes) in the world.
    frames : int [T]
    contact : bool [T, F], optional
        Where a foot is known to stand: there every step counts in full. Unless given, height decides,
        above each foot joint's own low level (the 5th percentile of z: ankles never touch the floor).
    floor : float, metres
        H.
    """
    feet = np.asarray(positions, np.float64)
    if len(feet) < 2 or not np.isfinite(feet).all(-1).any():
        return float("nan")
    steps = np.linalg.norm(np.diff(feet[..., :2], axis=0), axis=-1)
    usual = np.diff(frames) == np.min(np.diff(frames))
    if contact is None:
        low = np.array(
            [np.percentile(z[np.isfinite(z)], 5) if np.isfinite(z).any() else np.nan for z in feet[..., 2].T]
        )
        height = np.clip(np.maximum(feet[1:, :, 2], feet[:-1, :, 2]) - low, 0, None)
        weight = np.where(height < floor, 2 - 2 ** (np.minimum(height, floor) / floor), 0.0)
    else:
        weight = (contact[1:] & contact[:-1]).astype(float)
    counted = usual[:, None] & np.isfinite(steps) & (weight > 0)
    return float((steps * weight)[counted].mean()) if counted.any() else float("nan")


def _mean(errors: Array) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if known.size else float("nan")
