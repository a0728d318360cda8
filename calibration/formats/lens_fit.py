"""A Brown-Conrady lens fitted to another lens model over the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

Array = NDArray[np.float64]

_STEPS = 30
_CONVERGED = 1e-12
_GRID = 41


@dataclass(frozen=True, eq=False)
class LensFit:
    """Result of `fit_brown_conrady`.

    Attributes
    ----------
    K : float64 [3, 3], px
    distortion : float64 [5]
        k1 k2 p1 p2 k3.
    rms_px, max_px : float
        Distance between the two models over the image.
    """

    K: Array
    distortion: Array
    rms_px: float
    max_px: float

    def in_words(self, camera: str) -> str:
        """For the notes of an import."""
        return (
            f"camera {camera}: lens fitted to Brown-Conrady over the image, "
            f"{self.rms_px:.2g} px RMS, {self.max_px:.2g} px at most"
        )


def image_grid(size: tuple[int, int]) -> Array:
    """Pixels float64 [N, 2] evenly over the image, borders included."""
    u, v = np.meshgrid(np.linspace(0, size[0] - 1, _GRID), np.linspace(0, size[1] - 1, _GRID))
    return np.stack([u.ravel(), v.ravel()], -1)


def fit_brown_conrady(ideal: Array, pixels: Array, K: Array) -> LensFit:
    """K and distortion that send ideal image coordinates to given pixels best.

    Parameters
    ----------
    ideal : float64 [N, 2]
        x/z, y/z of viewing rays.
    pixels : float64 [N, 2]
        Where the camera sees them, px.
    K : float64 [3, 3]
        Start; focal lengths and principal point are fitted too, skew is kept at zero.

    Returns
    -------
    LensFit

    Raises
    ------
    CalibrationError
        The model cannot follow (rays that fold over, no convergence).

    Notes
    -----
    Least squares by Gauss-Newton. The model is linear in the distortion for given K and in K for given
    distortion, so the Jacobian is a handful of monomials of x, y (Brown 1971).
    """
    x, y = ideal.T
    r2 = x * x + y * y
    bx = np.stack([x * r2, x * r2**2, 2 * x * y, r2 + 2 * x * x, x * r2**3], -1)
    by = np.stack([y * r2, y * r2**2, r2 + 2 * y * y, 2 * x * y, y * r2**3], -1)
    one, none = np.ones_like(x), np.zeros_like(x)
    theta = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], 0, 0, 0, 0, 0])

    def model(theta: Array) -> tuple[Array, Array]:
        dx, dy = x + bx @ theta[4:], y + by @ theta[4:]
        return dx, dy

    for _ in range(_STEPS):
        dx, dy = model(theta)
        residual = np.concatenate([theta[0] * dx + theta[2] - pixels[:, 0], theta[1] * dy + theta[3] - pixels[:, 1]])
        J = np.concatenate([
            np.column_stack([dx, none, one, none, theta[0] * bx]),
            np.column_stack([none, dy, none, one, theta[1] * by]),
        ])  # fmt: skip
        scale = np.linalg.norm(J, axis=0)
        step = np.linalg.lstsq(J / scale, residual, rcond=None)[0] / scale
        theta = theta - step
        if np.abs(step * scale).max() < _CONVERGED * np.abs(pixels).max() * len(x):
            break
    dx, dy = model(theta)
    error = np.hypot(theta[0] * dx + theta[2] - pixels[:, 0], theta[1] * dy + theta[3] - pixels[:, 1])
    if not np.isfinite(error).all() or theta[0] <= 0 or theta[1] <= 0:
        raise CalibrationError("the lens cannot be fitted with Brown-Conrady", hint="check its coefficients")
    fitted = np.array([[theta[0], 0, theta[2]], [0, theta[1], theta[3]], [0, 0, 1]])
    return LensFit(fitted, theta[4:], float(np.sqrt((error**2).mean())), float(error.max()))
