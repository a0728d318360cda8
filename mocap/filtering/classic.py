"""Classic filters of one unbroken run at a time: Savitzky-Golay, One-Euro, Kalman with RTS smoother.

All take and return float64 positions [N, S, 3] m and covariance [N, S, 3, 3] m2, work on the runs of
`present` [N, S] one by one, and give the covariance of their output for errors that are independent
from sample to sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from mocap.filtering.gaps import Array, Mask, runs


def savitzky_golay(
    positions: Array, covariance: Array, present: Mask, rate: float, window_s: float, degree: int
) -> tuple[Array, Array]:
    """Least-squares polynomial of a degree over a sliding window (Savitzky & Golay, Anal. Chem. 36, 1964).

    Runs shorter than the window are fitted with the longest odd window that fits; shorter than the
    degree asks for, they stay as they are.
    """
    out, spread = positions.copy(), covariance.copy()
    for start, stop, series in runs(present):
        width = min(max(degree + 2, round(window_s * rate)) | 1, (stop - start - 1) | 1)
        if width <= degree or width > stop - start:
            continue
        part = np.ix_(np.arange(start, stop), series)
        out[part] = signal.savgol_filter(positions[part], width, degree, axis=0, mode="interp")
        spread[part] = _weighted(covariance[part], _savgol_weights(stop - start, width, degree))
    return out, spread


def _savgol_weights(n: int, width: int, degree: int) -> tuple[NDArray[np.int64], Array]:
    """First row [n] of the window that each output rests on, and squared weights [n, width] of its samples."""
    half = width // 2
    at = np.clip(np.arange(n), half, n - 1 - half)
    offset = np.arange(n) - at
    table = np.stack([signal.savgol_coeffs(width, degree, pos=half + o, use="dot") for o in range(-half, half + 1)])
    return at - half, np.asarray(table[offset + half] ** 2)


def _weighted(covariance: Array, weights: tuple[NDArray[np.int64], Array]) -> Array:
    first, squared = weights
    out = np.zeros_like(covariance)
    for k in range(squared.shape[1]):
        out += squared[:, k, None, None, None] * covariance[first + k]
    return out


def one_euro(
    positions: Array, covariance: Array, present: Mask, rate: float, cutoff_hz: float, beta: float
) -> tuple[Array, Array]:
    """Causal low-pass whose cutoff rises with speed (Casiez, Roussel & Vogel, CHI 2012).

    cutoff = `cutoff_hz` + `beta` |velocity| (m/s); the velocity is low-passed at 1 Hz. It lags behind
    the motion: for live views, where nothing else can be had.
    """
    out, spread = positions.copy(), covariance.copy()
    slow = 1.0 / (1.0 + rate / (2.0 * np.pi))
    for start, stop, series in runs(present):
        x, cov = positions[start:stop, series], covariance[start:stop, series]
        y, y_cov, velocity = x[0], cov[0], np.zeros_like(x[0])
        for t in range(1, len(x)):
            velocity = velocity + slow * ((x[t] - x[t - 1]) * rate - velocity)
            cutoff = cutoff_hz + beta * np.linalg.norm(velocity, axis=-1, keepdims=True)
            a = 1.0 / (1.0 + rate / (2.0 * np.pi * cutoff))
            y = y + a * (x[t] - y)
            y_cov = (1 - a[..., None]) ** 2 * y_cov + a[..., None] ** 2 * cov[t]
            out[start + t, series], spread[start + t, series] = y, y_cov
    return out, spread


def kalman_rts(
    positions: Array, covariance: Array, valid: Mask, present: Mask, rate: float, acceleration: float
) -> tuple[Array, Array]:
    """Kalman filter with nearly constant velocity, and the Rauch-Tung-Striebel smoother back.

    Parameters
    ----------
    positions, covariance, present : as above
    valid : bool [N, S]
        Samples that were measured; the others are predicted.
    rate : float
        Samples per second.
    acceleration : float
        Standard deviation of the acceleration, constant over a sample, m/s2.

    Notes
    -----
    Bar-Shalom, Li & Kirubarajan, Estimation with Applications to Tracking and Navigation (2001),
    6.3.2 (discrete white noise acceleration) and 8.6 (fixed-interval smoothing).
    """
    out, spread = positions.copy(), covariance.copy()
    for start, stop, series in runs(present):
        if stop - start < 3:
            continue
        part = np.ix_(np.arange(start, stop), series)
        out[part], spread[part] = _kalman(positions[part], covariance[part], valid[part], 1 / rate, acceleration)
    return out, spread


def _kalman(y: Array, noise: Array, valid: Mask, dt: float, acceleration: float) -> tuple[Array, Array]:
    """One run [n, S, 3]: forward over the time, all series at once, and back."""
    n, S = valid.shape
    F = np.kron([[1, dt], [0, 1]], np.eye(3))
    Q = acceleration**2 * np.kron([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]], np.eye(3))
    mean, P, guess, P_guess = np.empty((n, S, 6)), np.empty((n, S, 6, 6)), np.empty((n, S, 6)), np.empty((n, S, 6, 6))
    m = np.concatenate([y[0], np.zeros((S, 3))], -1)
    C = np.broadcast_to(1e2 * np.eye(6), (S, 6, 6))  # nothing is known before the first sample
    for t in range(n):
        if t > 0:
            m, C = m @ F.T, F @ C @ F.T + Q
        guess[t], P_guess[t] = m, C
        gain = np.swapaxes(np.linalg.solve(C[:, :3, :3] + noise[t], C[:, :3, :]), -1, -2)
        gain = gain * valid[t][:, None, None]
        m = m + np.einsum("sij,sj->si", gain, y[t] - m[:, :3])
        # Joseph's form keeps C positive.
        left = np.eye(6) - np.concatenate([gain, np.zeros((S, 6, 3))], -1)
        C = left @ C @ np.swapaxes(left, -1, -2) + gain @ noise[t] @ np.swapaxes(gain, -1, -2)
        mean[t], P[t] = m, C
    for t in range(n - 2, -1, -1):
        G = np.swapaxes(np.linalg.solve(P_guess[t + 1], F @ P[t]), -1, -2)
        mean[t] += np.einsum("sij,sj->si", G, mean[t + 1] - guess[t + 1])
        P[t] += G @ (P[t + 1] - P_guess[t + 1]) @ np.swapaxes(G, -1, -2)
    return mean[..., :3], P[..., :3, :3]
