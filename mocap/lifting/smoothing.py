"""The middle frame's 2D points, freed of noise by the frames around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_HALF = 4  # frames on either side
_STEPS = 4
_SMALLEST = 2e-4  # of the focal length; no point is better than this
_RAYLEIGH = 1.177  # median over standard deviation of a 2D Gaussian's length
_FITTED = 1.6  # residuals of a fit are smaller than the noise, and neighbouring frames err alike
_UNJUDGED = 0.004  # of the focal length: noise assumed where too few frames show it
_ENOUGH = 4  # frames


def smooth_middle(rays: Array, confidence: Array) -> tuple[Array, Array]:
    """Robust local quadratic through each joint's rays, read at the middle frame.

    Parameters
    ----------
    rays : [N, W, 17, 2]
        x/z, y/z; any finite number where not seen.
    confidence : [N, W, 17]
        0 where not seen.

    Returns
    -------
    rays : float64 [N, 17, 2]
    std : float64 [N, 17]
        Their standard deviation per axis, from the window's own residuals; infinite where no frame
        near the middle saw the joint.

    Notes
    -----
    Local regression with tricube weights and a redescending robust weight (Cleveland 1979). What
    the quadratic cannot follow counts as noise, so that fast motion is trusted less.
    """
    middle, half = rays.shape[1] // 2, min(_HALF, rays.shape[1] // 2)
    rows = slice(middle - half, middle + half + 1)
    r, c = rays[:, rows], confidence[:, rows]
    t = np.arange(-half, half + 1) / _HALF
    basis = np.stack([np.ones_like(t), t, t * t], 1)
    tricube = (1 - np.abs(0.9 * t) ** 3) ** 3
    weight = c * tricube[:, None]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(t), 9)
    # With few points the fit falls back to a line, then to a constant.
    floor = np.diag([1e-9, 1e-4, 1e-3])
    robust = np.ones_like(weight)
    for _ in range(_STEPS):
        w = weight * robust
        A = np.einsum("ntj,tk->njk", w, products).reshape(*w.shape[::2], 3, 3) + floor
        b = np.einsum("ntj,ta,ntjc->njac", w, basis, r)
        coefficients = np.linalg.solve(A, b)
        residual = np.linalg.norm(r - np.einsum("ta,njac->ntjc", basis, coefficients), axis=-1)
        sigma = _median(residual, c > 0) / _RAYLEIGH * _FITTED + _SMALLEST
        robust = 1 / np.square(1 + np.square(residual / (2 * sigma[:, None, None])))
    inverse = np.linalg.inv(A)[:, :, 0]
    spread = np.einsum("nja,njab,njb->nj", inverse, np.einsum("ntj,tk->njk", w * w, products).reshape(A.shape), inverse)
    found = weight.sum(1) > 0.1
    noise = np.where((c > 0).sum(1) >= _ENOUGH, sigma[:, None], np.maximum(sigma, _UNJUDGED)[:, None])
    std = np.where(found, noise * np.sqrt(np.clip(spread, 0.05, 4)), np.inf)
    return coefficients[:, :, 0], std


def _median(values: Array, valid: NDArray[np.bool_]) -> Array:
    """Median of the valid values of each [N, ...]; 0 where there is none."""
    flat = np.sort(np.where(valid, values, np.inf).reshape(len(values), -1), axis=1)
    count = valid.reshape(len(values), -1).sum(1)
    middle = flat[np.arange(len(flat)), np.maximum(count // 2, 0).clip(0, flat.shape[1] - 1)]
    return np.where(count > 0, np.where(np.isfinite(middle), middle, 0.0), 0.0)
