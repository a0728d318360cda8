"""Zero-phase Butterworth low-pass over unbroken runs, with the covariance of its output."""

from __future__ import annotations

import logging
from functools import lru_cache

import numpy as np
from scipy import signal
from scipy.ndimage import convolve1d

from mocap.filtering.gaps import Array, Mask, runs

_log = logging.getLogger(__name__)

_SHORTEST = 4


def low_pass(
    positions: Array, covariance: Array, present: Mask, rate: float, cutoff_hz: float, order: int
) -> tuple[Array, Array]:
    """Filter every unbroken run of every series.

    Parameters
    ----------
    positions : float64 [N, S, 3] m
    covariance : float64 [N, S, 3, 3] m2
    present : bool [N, S]
        Runs of True are filtered on their own; runs of one to three samples stay as they are.
    rate : float
        Samples per second.
    cutoff_hz : float
        -3 dB frequency of both passes together.
    order : int
        Order of both passes together.

    Returns
    -------
    positions, covariance
        As given, filtered. The covariance is that of the weighted mean the filter forms
        (sum of h^2 Sigma), which holds for errors that are independent from sample to sample.

    Notes
    -----
    Each pass has half the order; its cutoff is raised so that both together meet `cutoff_hz`
    (Winter 2009, 3.4.4.2; Robertson & Dowling, J. Electromyogr. Kinesiol. 13, 2003). Ends are
    extended by odd reflection about a line fitted to the last samples, so that one noisy end
    sample does not tilt the extension.
    """
    if cutoff_hz >= 0.45 * rate:
        _log.warning("cutoff %.3g Hz is too near half the frame rate %.3g Hz: not filtered", cutoff_hz, rate)
        return positions, covariance
    sos = _design(rate, cutoff_hz, order)
    kernel = _squared_response(rate, cutoff_hz, order)
    pad = max(3, int(np.ceil(rate / cutoff_hz)))
    out, out_covariance = positions.copy(), covariance.copy()
    for start, stop, series in runs(present):
        if stop - start < _SHORTEST:
            continue
        part = np.ix_(np.arange(start, stop), series)
        out[part] = _filter_run(sos, positions[part], pad)
        out_covariance[part] = _run_covariance(kernel, covariance[part])
    return out, out_covariance


def _filter_run(sos: Array, x: Array, pad: int) -> Array:
    pad = min(pad, len(x) - 1)
    extended = np.concatenate([_extension(x, pad)[::-1], x, _extension(x[::-1], pad)])
    return signal.sosfiltfilt(sos, extended, axis=0, padtype="constant", padlen=0)[pad : pad + len(x)]


def _extension(x: Array, pad: int) -> Array:
    """Odd reflection of the first `pad` samples about the fitted value at the first: [pad, ...]."""
    k = min(len(x), max(4, pad // 2))
    t = np.arange(k) - (k - 1) / 2
    mean = x[:k].mean(0)
    slope = np.tensordot(t, x[:k], axes=(0, 0)) / (t @ t)
    pivot = mean + slope * t[0]
    return 2 * pivot - x[1 : pad + 1]


@lru_cache(maxsize=32)
def _design(rate: float, cutoff_hz: float, order: int) -> Array:
    each = order // 2
    correction = (np.sqrt(2.0) - 1.0) ** (-0.5 / each)
    # The correction belongs in the analog domain: the bilinear transform bends frequencies.
    bent = np.tan(np.pi * cutoff_hz / rate) * correction
    return np.asarray(signal.butter(each, np.arctan(bent) * 2 / np.pi, output="sos"))


@lru_cache(maxsize=32)
def _squared_response(rate: float, cutoff_hz: float, order: int) -> Array:
    half = int(np.ceil(2 * rate / cutoff_hz)) + 2
    impulse = np.zeros(4 * half + 1)
    impulse[2 * half] = 1
    response = signal.sosfiltfilt(_design(rate, cutoff_hz, order), impulse, padlen=0)
    return np.asarray(response[half : 3 * half + 1]) ** 2


def _run_covariance(kernel: Array, covariance: Array) -> Array:
    flat = covariance.reshape(*covariance.shape[:2], 9)
    summed = convolve1d(flat, kernel, axis=0, mode="constant")
    # Near the ends the filter leans on the extension, which is made of the same samples: the part
    # of the kernel that falls outside is charged at the end sample's own covariance.
    inside = convolve1d(np.ones(len(flat)), kernel, mode="constant") / kernel.sum()
    summed += (1 - inside)[:, None, None] * flat
    return summed.reshape(covariance.shape)
