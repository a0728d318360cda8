"""How far off a lifted joint is, across and along the view, from what is known without truth.

The network's own standard deviation, that of the fit to rays and bones, how much the prediction
changes when the input is mirrored, how far the fit moved it, and the noise of the 2D points each say
something. The logarithm of the standard deviation is the network's own plus a weighted sum of the
others relative to it, so that a person twice as large has twice the errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import erf

Array = NDArray[np.float64]

FEATURES = ("one", "fit", "mirror", "shift", "noise")
_LEAST = 0.02  # of the network's own standard deviation; smaller changes say no more
_LEAST_NOISE, _MOST_NOISE = 2e-4, 1e-2  # of the focal length
_TAIL = 4.0  # degrees of freedom of Student's distribution that the weights are fitted with
_RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of N poses' errors, per joint across and along the view, metres.

    Attributes
    ----------
    network, fit : float64 [N, 17, 2]
        Standard deviations: the network's own, and after the fit to rays and bones.
    mirror, shift : float64 [N, 17, 2]
        Change when the input is mirrored, and by the fit.
    noise : float64 [N, 17]
        Standard deviation of the rays; infinite where a joint was not seen.
    """

    network: Array
    fit: Array
    mirror: Array
    shift: Array
    noise: Array

    def features(self) -> Array:
        """[N, 17, 2, 5]: logarithms relative to the network's own, in the order of `FEATURES`."""
        ratios = (np.log(np.maximum(a / self.network, _LEAST)) for a in (self.fit, self.mirror, self.shift))
        noise = np.log(np.clip(self.noise, _LEAST_NOISE, _MOST_NOISE))[..., None] + np.zeros(2)
        return np.stack([np.ones_like(noise), *ratios, noise], -1)

    def std(self, weights: Array) -> Array:
        """Standard deviations [N, 17, 2] m, with weights [N, 2, 5] across and along the view."""
        std = np.empty_like(self.network)
        _weigh(self.network, self.fit, self.mirror, self.shift, self.noise, weights, std)
        return std


@njit(cache=True, error_model="numpy", nogil=True)
def _weigh(network: Array, fit: Array, mirror: Array, shift: Array, noise: Array, weights: Array, std: Array) -> None:
    """Fill `std`: `features` times the weights, without the features."""
    for n in range(network.shape[0]):
        for j in range(network.shape[1]):
            loud = np.log(min(max(noise[n, j], _LEAST_NOISE), _MOST_NOISE))
            for a in range(2):
                w, own = weights[n, a], network[n, j, a]
                total = w[0] + w[4] * loud
                total += w[1] * np.log(max(fit[n, j, a] / own, _LEAST))
                total += w[2] * np.log(max(mirror[n, j, a] / own, _LEAST))
                total += w[3] * np.log(max(shift[n, j, a] / own, _LEAST))
                std[n, j, a] = own * np.exp(total)


def pooled_intervals(std: Array) -> tuple[Array, Array]:
    """Half-widths that hold 68.3 % and 95 % of the coordinates of Gaussian errors, all three axes together.

    `std` [..., 2] is across (two axes) and along the view. No multiple of one number can do both
    where these differ. NaN where either is.
    """
    inner, outer = np.empty(std.shape[:-1]), np.empty(std.shape[:-1])
    _half_widths(std.reshape(-1, 2), _LOG_RATIO, *_TABLES, inner.reshape(-1), outer.reshape(-1))
    return inner, outer


@njit(cache=True, error_model="numpy", nogil=True)
def _half_widths(std: Array, ratios: Array, inner_table: Array, outer_table: Array, inner: Array, outer: Array) -> None:
    step = ratios[1] - ratios[0]
    for n in range(len(std)):
        at = (np.log(std[n, 1] / std[n, 0]) - ratios[0]) / step
        if np.isnan(at):  # no place in the table
            inner[n] = outer[n] = np.nan
            continue
        at = min(max(at, 0.0), len(ratios) - 1.001)
        k = int(at)
        part = at - k
        inner[n] = std[n, 0] * np.exp((1 - part) * inner_table[k] + part * inner_table[k + 1])
        outer[n] = std[n, 0] * np.exp((1 - part) * outer_table[k] + part * outer_table[k + 1])


def _table(share: float) -> Array:
    """Logarithms of the half-widths over the standard deviation across, at the ratios of `_LOG_RATIO`, by bisection."""
    low, high = np.full(len(_LOG_RATIO), -6.0), np.full(len(_LOG_RATIO), 6.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        half = np.exp(middle)
        held = (2 * erf(half / np.sqrt(2)) + erf(half / np.exp(_LOG_RATIO) / np.sqrt(2))) / 3
        low, high = np.where(held < share, middle, low), np.where(held < share, high, middle)
    return np.asarray(0.5 * (low + high), np.float64)


_LOG_RATIO = np.linspace(-4.0, 4.0, 161)
_TABLES = _table(0.683), _table(0.95)


def fit_weights(features: Array, errors: Array) -> Array:
    """Weights [5] under which errors [M] with features [M, 5] are most likely, Student's t.

    Errors are in units of the network's own standard deviation.
    The mean of the features is taken off first, so that the weights hardly depend on each other.
    """
    size = np.abs(errors)
    middle = features.mean(0)
    middle[0] = 0

    def loss(w: Array) -> tuple[float, Array]:
        log_std = (features - middle) @ w
        square = np.square(size * np.exp(-log_std))
        value = log_std + 0.5 * (_TAIL + 1) * np.log1p(square / _TAIL)
        slope = 1 - (_TAIL + 1) * square / (_TAIL + square)
        gradient = (features - middle).T @ slope / len(size) + 2 * _RIDGE * w * (np.arange(len(w)) > 0)
        return float(value.mean() + _RIDGE * np.square(w[1:]).sum()), gradient

    start = np.zeros(len(FEATURES))
    start[0] = np.log(np.median(size) + 1e-6)
    w = np.asarray(minimize(loss, start, jac=True, method="BFGS").x, np.float64)
    w[0] -= middle @ w
    return w
