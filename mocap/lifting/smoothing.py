"""2D points of a window, freed of noise by the frames around them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating]
Counts = NDArray[np.int64]

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
    """Eigenvectors [W, W] of the roughness penalty; per stiffness: shrinkage [G, W], roughness [W, G], log det [G]."""

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
    return _Modes(*(np.ascontiguousarray(a, np.float32) for a in (vectors, shrink, rough.T, log_rough)))


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
    frames, joints = rays.shape[1:3]
    middle = frames // 2
    if frames <= 2 * _ORDER:
        seen = np.asarray(confidence[:, middle] > 0)
        here = rays[:, middle].astype(np.float64)
        return Smoothed(np.asarray(rays, np.float32), here, np.where(seen, _UNJUDGED, np.inf))
    modes = _modes(frames)
    whole, std = np.empty(rays.shape, np.float32), np.empty((len(rays), joints))
    _smooth(
        np.ascontiguousarray(rays, np.float32), np.ascontiguousarray(confidence, np.float32),
        modes.vectors, modes.shrink, modes.rough, modes.log_rough, whole, std,
    )  # fmt: skip
    return Smoothed(whole, whole[:, middle].astype(np.float64), std)


@njit(cache=True, error_model="numpy", nogil=True)
def _smooth(
    rays: Array, confidence: Array, U: Array, shrink: Array, rough: Array, log_rough: Array, whole: Array, std: Array
) -> None:
    """All windows, one after the other: `whole` and `std` are filled."""
    n, frames, joints = confidence.shape
    modes = np.ascontiguousarray(U.T)
    r, fit = np.empty((joints, 2, frames), np.float32), np.empty((joints, 2, frames), np.float32)
    y = np.empty((joints, 2, frames), np.float32)
    c, distance = np.empty((joints, frames), np.float32), np.empty((joints, frames), np.float32)
    w, h = np.zeros((joints, frames), np.float32), np.zeros((joints, frames), np.float32)
    noise, evidence, sigma = np.empty(joints), np.empty(joints), np.empty(joints)
    count, centre = np.empty(joints, np.int64), np.empty((joints, 2), np.float32)
    for i in range(n):
        for j in range(joints):
            c[j] = confidence[i, :, j]
            count[j] = _fill(rays[i, :, j], c[j], r[j])
            for a in range(2):
                centre[j, a] = r[j, a].mean()
                r[j, a] -= centre[j, a]
                _median_of_five(r[j, a], fit[j, a])
            _distances(r[j], fit[j], distance[j])
            noise[j] = _median(distance[j], c[j], count[j])
        sigma[:] = _START * np.sqrt(0.5 * (noise**2 + np.median(noise) ** 2)) + _SMALLEST
        for _ in range(_ROUNDS):
            for j in range(joints):
                evidence[j] = _draw_to_fit(r[j], fit[j], c[j], distance[j], sigma[j], w[j], y[j])
            z = np.dot(y.reshape(2 * joints, frames), U).reshape(joints, 2, frames)
            sigma[:], h[:] = _judge(z, evidence, count, shrink, rough, log_rough)
            for a in range(2):
                z[:, a] *= h
            fit = np.dot(z.reshape(2 * joints, frames), modes).reshape(joints, 2, frames)
            for j in range(joints):
                _distances(r[j], fit[j], distance[j])
        for j in range(joints):
            std[i, j] = _middle_std(h[j] * modes[:, frames // 2], w[j], sigma[j], U)
            for a in range(2):
                whole[i, :, j, a] = fit[j, a] + centre[j, a]


@njit(cache=True, error_model="numpy", nogil=True)
def _judge(
    z: Array, evidence: Array, count: Counts, shrink: Array, rough: Array, log_rough: Array
) -> tuple[Array, Array]:
    """Noise [J], and the factor of each mode [J, W], averaged over the stiffnesses by their evidence."""
    power = z[:, 0] * z[:, 0] + z[:, 1] * z[:, 1]
    joints, frames = power.shape
    noise, sigma = np.empty(joints), np.empty(joints)
    for j in range(joints):
        noise[j] = power[j, frames // 2 :].sum()
    shared = _SHARED * np.median(noise / evidence)
    for j in range(joints):
        s = np.sqrt((noise[j] + shared) / (evidence[j] + _SHARED)) + _SMALLEST
        sigma[j] = s if count[j] >= _ENOUGH else max(s, _UNJUDGED)
        power[j] *= np.float32(0.5 / (sigma[j] * sigma[j]))
    p = log_rough - np.dot(power, rough)
    for j in range(joints):
        p[j] = np.exp(p[j] - p[j].max())
        p[j] /= p[j].sum()
    return sigma, np.dot(p, shrink)


@njit(cache=True, error_model="numpy", nogil=True)
def _draw_to_fit(r: Array, fit: Array, c: Array, distance: Array, sigma: float, w: Array, y: Array) -> float:
    """Weights [W] and the points [2, W] drawn to the fit; how many values of noise the fast modes then hold."""
    frames, total = len(c), 0.0
    for t in range(frames):
        far = max(1.0, distance[t] / (_CUT * sigma)) ** 2
        w[t] = c[t] / (far * far)
        # Points drawn to the fit bring no noise of their own.
        total += w[t] * w[t]
        for a in range(2):
            y[a, t] = fit[a, t] + w[t] * (r[a, t] - fit[a, t])
    return 2.0 * (frames - frames // 2) * max(total / frames, 1e-2)


@njit(cache=True, error_model="numpy", nogil=True)
def _middle_std(here: Array, w: Array, sigma: float, U: Array) -> float:
    kernel = np.dot(U, here)
    support = (np.abs(kernel) * w).sum() / np.abs(kernel).sum()
    if support <= _LEAST_SUPPORT:
        return np.inf
    return _OPTIMISM * sigma * np.sqrt(kernel[len(w) // 2] / support)


@njit(cache=True, error_model="numpy", nogil=True)
def _distances(r: Array, fit: Array, distance: Array) -> None:
    for t in range(len(distance)):
        distance[t] = np.sqrt((r[0, t] - fit[0, t]) ** 2 + (r[1, t] - fit[1, t]) ** 2)


@njit(cache=True, error_model="numpy", nogil=True)
def _fill(rays: Array, c: Array, r: Array) -> int:
    """Rays [W, 2] to [2, W] with straight lines across frames that did not see the joint; how many did."""
    frames, last, count = len(c), -1, 0
    for t in range(frames):
        if c[t] <= 0:
            continue
        count += 1
        r[0, t], r[1, t] = rays[t, 0], rays[t, 1]
        start = t if last < 0 else last
        for gap in range(last + 1, t):
            share = 1.0 if last < 0 else (gap - last) / (t - last)
            for a in range(2):
                r[a, gap] = (1 - share) * rays[start, a] + share * rays[t, a]
        last = t
    for gap in range(last + 1, frames):
        for a in range(2):
            r[a, gap] = rays[last, a] if last >= 0 else 0.0
    return count


@njit(cache=True, error_model="numpy", nogil=True)
def _median_of_five(r: Array, out: Array) -> None:
    """Running median [W], mirrored at its ends."""
    last = len(r) - 1
    five = np.empty(5, np.float32)
    for t in range(last + 1):
        for k in range(5):
            s = abs(t + k - 2)
            five[k] = r[s if s <= last else 2 * last - s]
        a, b = min(five[0], five[1]), max(five[0], five[1])
        c, d = min(five[2], five[3]), max(five[2], five[3])
        low, high = max(a, c), min(b, d)
        low, high = min(low, high), max(low, high)
        out[t] = max(low, min(high, five[4]))


@njit(cache=True, error_model="numpy", nogil=True)
def _median(values: Array, c: Array, count: int) -> float:
    """Median of the values [W] that were seen; 0 where there is none."""
    return np.sort(values[c > 0])[count // 2] if count else 0.0
