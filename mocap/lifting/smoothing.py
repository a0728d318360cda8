"""2D points of a window, freed of noise by the frames around them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

_ORDER = 3  # the derivative that is small in smooth motion
_ROUNDS = 5
_SMALLEST = 2e-4  # of the focal length; no point is better than this
_UNJUDGED = 0.004  # of the focal length: noise assumed where too few frames show it
_ENOUGH = 4  # frames
_SHARED = 12.0  # observations of a joint's noise that the other joints of the window count for
_STIFFNESS = np.logspace(-2, 6, 13)
_CUT = 2.7  # standard deviations: points farther off lose their weight
_START = 1.5  # the median of five frames strays farther than the fit does
_OPTIMISM = 1.2  # stiffness and noise are themselves estimates
_LEAST_SUPPORT = 0.03  # share of the weights at the middle frame below which nothing is known there


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Windows without their noise.

    Attributes
    ----------
    rays : float32 [N, W, 17, 2]
        x/z, y/z; a guess where not seen.
    middle : float64 [N, 17, 2]
        The middle frame's.
    std : float64 [N, 17]
        Standard deviation of `middle` per axis; infinite where no frame near the middle saw the joint.
    """

    rays: NDArray[np.float32]
    middle: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Modes:
    """Eigenvectors [W, W] of the roughness penalty; per stiffness: shrinkage and roughness [G, W], log det [G]."""

    vectors: Array
    shrink: Array
    rough: Array
    log_rough: Array


@cache
def _modes(frames: int) -> _Modes:
    difference = np.diff(np.eye(frames), _ORDER, axis=0)
    values, vectors = np.linalg.eigh(difference.T @ difference)
    values[:_ORDER] = 0
    shrink = 1 / (1 + _STIFFNESS[:, None] * values)
    rough = np.where(values > 0, 1 - shrink, 0.0)
    log_rough = np.log(rough[:, _ORDER:]).sum(1)
    return _Modes(*(a.astype(np.float32) for a in (vectors, shrink, rough, log_rough)))


def smooth_window(rays: Array, confidence: Array) -> Smoothed:
    """Robust smoothing spline through each joint's rays.

    Parameters
    ----------
    rays : [N, W, 17, 2]
        x/z, y/z; any finite number where not seen.
    confidence : [N, W, 17]
        0 where not seen.

    Notes
    -----
    Whittaker's smoother of third differences (Eilers 2003) in the penalty's own axes, where it is a
    factor per mode. The noise comes from the fast half of the modes, of all joints together and of
    the joint itself; the stiffness is averaged by its evidence (MacKay 1992), for each joint. Points
    beyond a few standard deviations and missing ones are drawn to the fit by expectation
    maximisation (the M-estimate's pseudo-observations, Huber & Ronchetti 2009, 7.8).
    """
    n, frames, joints = rays.shape[:3]
    c = np.ascontiguousarray(np.moveaxis(confidence, 1, 2), np.float32).reshape(-1, frames)
    middle = frames // 2
    if frames <= 2 * _ORDER:
        seen = np.asarray(confidence[:, middle] > 0)
        here = rays[:, middle].astype(np.float64)
        return Smoothed(np.asarray(rays, np.float32), here, np.where(seen, _UNJUDGED, np.inf))
    r = _filled(np.moveaxis(rays, 1, 3).reshape(n * joints, 2, frames).astype(np.float32), c > 0)
    centre = r.mean(-1, keepdims=True)
    fit, std = _fit(r - centre, c, joints)
    whole = np.moveaxis((fit + centre).reshape(n, joints, 2, frames), 3, 1)
    return Smoothed(
        np.ascontiguousarray(whole), whole[:, middle].astype(np.float64), std.reshape(n, joints).astype(np.float64)
    )


def _fit(r: Array, c: Array, joints: int) -> tuple[Array, Array]:
    """Fit [M, 2, W] and the middle's standard deviation [M] of M = N x `joints` tracks."""
    modes, frames = _modes(r.shape[-1]), r.shape[-1]
    U, fast = modes.vectors, slice(frames // 2, frames)
    count = (c > 0).sum(1)
    fit = _median_of_five(r)
    distance = _length(r - fit)
    spread = _median(distance, c > 0)
    sigma = _START * np.sqrt(0.5 * (spread**2 + _over_joints(spread, joints) ** 2)) + _SMALLEST
    for _ in range(_ROUNDS):
        w = c * _weight(distance, sigma)
        z = (fit + w[:, None] * (r - fit)) @ U
        power = z[:, 0] ** 2 + z[:, 1] ** 2
        # Points drawn to the fit bring no noise of their own.
        evidence = 2.0 * (frames - frames // 2) * np.maximum((w * w).mean(-1), 1e-2)
        noise = power[:, fast].sum(-1)
        sigma = np.sqrt((noise + _SHARED * _over_joints(noise / evidence, joints)) / (evidence + _SHARED)) + _SMALLEST
        sigma = np.where(count >= _ENOUGH, sigma, np.maximum(sigma, _UNJUDGED))
        log_evidence = modes.log_rough - 0.5 * (power @ modes.rough.T) / np.square(sigma)[:, None]
        p = np.exp(log_evidence - log_evidence.max(1, keepdims=True))
        shrink = (p / p.sum(1, keepdims=True)) @ modes.shrink
        fit = (z * shrink[:, None]) @ U.T
        distance = _length(r - fit)
    here = shrink * U[frames // 2]
    kernel = np.abs(here @ U.T)
    support = (kernel * w).sum(-1) / kernel.sum(-1)
    variance = (here * U[frames // 2]).sum(-1) / np.maximum(support, _LEAST_SUPPORT)
    return fit, np.where(support > _LEAST_SUPPORT, _OPTIMISM * sigma * np.sqrt(variance), np.inf)


def _length(v: Array) -> Array:
    """[M, W] of [M, 2, W]; faster than numpy's norm over a short axis."""
    return np.sqrt(v[:, 0] ** 2 + v[:, 1] ** 2)


def _weight(distance: Array, sigma: Array) -> Array:
    return 1 / np.maximum(1, distance / (_CUT * sigma[:, None])) ** 4


def _over_joints(values: Array, joints: int) -> Array:
    """Each window's median [M]."""
    return np.repeat(np.median(values.reshape(-1, joints), 1), joints)


def _filled(r: Array, seen: Mask) -> Array:
    """Straight lines across frames that did not see the joint."""
    if seen.all():
        return r
    frames = np.arange(r.shape[-1])
    before = np.maximum.accumulate(np.where(seen, frames, -1), 1)
    after = np.minimum.accumulate(np.where(seen, frames, len(frames))[:, ::-1], 1)[:, ::-1]
    low = np.where(before >= 0, before, np.minimum(after, len(frames) - 1))
    high = np.where(after < len(frames), after, low)
    share = ((frames - low) / np.maximum(high - low, 1)).astype(np.float32)[:, None]
    ends = (np.take_along_axis(r, i[:, None], 2) for i in (low, high))
    return next(ends) * (1 - share) + next(ends) * share


def _median_of_five(r: Array) -> Array:
    """Running median over the last axis, mirrored at its ends."""
    padded = np.concatenate([r[..., 2:0:-1], r, r[..., -2:-4:-1]], -1)
    a, b, c, d, e = (padded[..., i : i + r.shape[-1]] for i in range(5))
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    low, high = np.minimum(low, high), np.maximum(low, high)
    return np.maximum(low, np.minimum(high, e))


def _median(values: Array, valid: Mask) -> Array:
    """Median of the valid values of each row [M, W]; 0 where there is none."""
    flat = np.sort(np.where(valid, values, np.inf), axis=1)
    count = valid.sum(1)
    middle = flat[np.arange(len(flat)), np.minimum(count // 2, flat.shape[1] - 1)]
    return np.where(np.isfinite(middle), middle, 0.0)
