"""Projection, its Jacobian, undistortion and rays: batched over views, for NumPy and torch alike.

All functions take the per-view arrays of a rig stacked on the first axis (`Lenses`) and points
whose first axis is the view, so that one call serves every camera. The arithmetic uses only
operators both libraries share; torch inputs stay differentiable and on their device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.camera import CameraRig

# NumPy array or torch tensor: the code below is the same for both.
ArrayLike = Any

_UNDISTORT_STEPS = 12
# Residual in focal lengths (some 1e-11 px) at which NumPy stops early.
_UNDISTORT_DONE = 1e-14


@dataclass(frozen=True, eq=False)
class Lenses:
    """The cameras of a rig as stacked arrays.

    Attributes
    ----------
    K : [V, 3, 3] px
    distortion : [V, 5]
    R : [V, 3, 3], t : [V, 3] m
        World to camera.
    fisheye : bool [V]
    """

    K: ArrayLike
    distortion: ArrayLike
    R: ArrayLike
    t: ArrayLike
    fisheye: ArrayLike

    @staticmethod
    def of(rig: CameraRig) -> Lenses:
        """Float64 NumPy arrays of `rig`."""
        return Lenses(rig.K, rig.distortion, rig.R, rig.t, rig.fisheye)

    def to_torch(self, device: Any = "cpu", dtype: Any = None) -> Lenses:
        """The same arrays as torch tensors (float64 unless told)."""
        import torch

        def move(a: Any) -> Any:
            return torch.as_tensor(np.array(a), device=device, dtype=dtype or torch.float64)

        return Lenses(
            move(self.K), move(self.distortion), move(self.R), move(self.t),
            torch.as_tensor(np.array(self.fisheye), device=device),
        )  # fmt: skip


def _module(x: ArrayLike) -> Any:
    if isinstance(x, np.ndarray | np.generic):
        return np
    import torch

    return torch


def _per_view(a: ArrayLike, ndim: int) -> ArrayLike:
    """[V, ...k] -> [V, 1, ..., 1, ...k] so that it broadcasts over `ndim` batch axes behind V."""
    return a.reshape(a.shape[:1] + (1,) * ndim + tuple(a.shape[1:]))


def _coefficients(lenses: Lenses, ndim: int) -> list[ArrayLike]:
    d = _per_view(lenses.distortion, ndim)
    return [d[..., i] for i in range(5)]


def distort(lenses: Lenses, xy: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
    """Apply the lens to normalised image coordinates.

    Parameters
    ----------
    lenses : Lenses
    xy : [V, ..., 2]
        Ideal coordinates x/z, y/z.

    Returns
    -------
    distorted : [V, ..., 2]
    jacobian : [V, ..., 2, 2]
        d distorted / d xy.

    Notes
    -----
    Brown-Conrady as in Hartley & Zisserman 7.4 with OpenCV's coefficient order; Kannala-Brandt
    as in their eq. 6 with theta measured on the ideal ray.
    """
    xp = _module(xy)
    k1, k2, p1, p2, k3 = _coefficients(lenses, xy.ndim - 2)
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)  # d radial / d r2
    bx = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    by = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    bxx = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    bxy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    byy = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    if bool(lenses.fisheye.any()):
        # k4 of Kannala-Brandt sits where Brown-Conrady keeps p2.
        r = xp.sqrt(r2 + 1e-30)
        theta = xp.arctan(r)
        q = theta * theta
        theta_d = theta * (1 + q * (k1 + q * (k2 + q * (p1 + q * p2))))
        dtheta_d = 1 + q * (3 * k1 + q * (5 * k2 + q * (7 * p1 + q * 9 * p2)))
        scale = theta_d / r
        dscale = (dtheta_d / (1 + r2) - scale) / (r2 + 1e-30)  # d scale / d r, divided by r
        f = _per_view(lenses.fisheye, xy.ndim - 2)
        bx, by = xp.where(f, x * scale, bx), xp.where(f, y * scale, by)
        bxx = xp.where(f, scale + x * x * dscale, bxx)
        bxy = xp.where(f, x * y * dscale, bxy)
        byy = xp.where(f, scale + y * y * dscale, byy)
    distorted = xp.stack([bx, by], -1)
    rows = [xp.stack([bxx, bxy], -1), xp.stack([bxy, byy], -1)]
    return distorted, xp.stack(rows, -2)


def undistort(lenses: Lenses, pixels: ArrayLike) -> ArrayLike:
    """Normalised image coordinates of raw pixels, the inverse of the whole lens model.

    Parameters
    ----------
    lenses : Lenses
    pixels : [V, ..., 2]
        Raw (distorted) image coordinates, px; NaN stays NaN.

    Returns
    -------
    [V, ..., 2]
        Ideal x/z, y/z. NaN where the lens model has no inverse (beyond the radius at which the
        distortion polynomial folds over).

    Notes
    -----
    Newton's method with the analytic 2x2 Jacobian, started at the distorted point; the residual
    is checked, never trusted.
    """
    xp = _module(pixels)
    target = pixel_to_sensor(lenses, pixels)
    xy = target * 1.0
    for _ in range(_UNDISTORT_STEPS):
        value, J = distort(lenses, xy)
        e = value - target
        # NaN compares false, so points that are not seen do not keep the others waiting.
        if xp is np and not (np.abs(e) > _UNDISTORT_DONE).any():
            break
        det = J[..., 0, 0] * J[..., 1, 1] - J[..., 0, 1] * J[..., 1, 0]
        step_x = (J[..., 1, 1] * e[..., 0] - J[..., 0, 1] * e[..., 1]) / det
        step_y = (J[..., 0, 0] * e[..., 1] - J[..., 1, 0] * e[..., 0]) / det
        xy = xy - xp.stack([step_x, step_y], -1)
    value, J = distort(lenses, xy)
    det = J[..., 0, 0] * J[..., 1, 1] - J[..., 0, 1] * J[..., 1, 0]
    good = (abs(value - target).sum(-1) < 1e-9) & (det > 0)
    return xp.where(good[..., None], xy, xp.full_like(xy, float("nan")))


def pixel_to_sensor(lenses: Lenses, pixels: ArrayLike) -> ArrayLike:
    """K^-1 applied to pixels [V, ..., 2]: still distorted, but in units of the focal length."""
    xp = _module(pixels)
    K = _per_view(lenses.K, pixels.ndim - 2)
    y = (pixels[..., 1] - K[..., 1, 2]) / K[..., 1, 1]
    x = (pixels[..., 0] - K[..., 0, 2] - K[..., 0, 1] * y) / K[..., 0, 0]
    return xp.stack([x, y], -1)


def to_camera(lenses: Lenses, points: ArrayLike) -> ArrayLike:
    """World points [..., 3] (metres) in every camera's frame: [V, ..., 3]."""
    xp = _module(points)
    flat = points.reshape(-1, 3)
    turned = xp.einsum("vij,nj->vni", lenses.R, flat) + lenses.t[:, None]
    return turned.reshape((lenses.R.shape[0], *tuple(points.shape)))


def project(lenses: Lenses, points: ArrayLike) -> ArrayLike:
    """Raw pixels of world points in every view.

    Parameters
    ----------
    lenses : Lenses
    points : [..., 3]
        World, metres.

    Returns
    -------
    [V, ..., 2]
        Raw image coordinates, px; NaN where the point is not in front of the camera.
    """
    return project_camera(lenses, to_camera(lenses, points))[0]


def project_camera(lenses: Lenses, camera_points: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
    """Raw pixels [V, ..., 2] of points given in camera axes [V, ..., 3], and their Jacobian.

    Returns
    -------
    pixels : [V, ..., 2], px
    jacobian : [V, ..., 2, 3]
        d pixels / d camera point, px/m. Both NaN where z <= 0.
    """
    xp = _module(camera_points)
    z = camera_points[..., 2]
    z = xp.where(z > 1e-9, z, xp.full_like(z, float("nan")))
    ideal = camera_points[..., :2] / z[..., None]
    sensor, D = distort(lenses, ideal)
    K = _per_view(lenses.K, camera_points.ndim - 2)
    u = K[..., 0, 0] * sensor[..., 0] + K[..., 0, 1] * sensor[..., 1] + K[..., 0, 2]
    v = K[..., 1, 1] * sensor[..., 1] + K[..., 1, 2]
    KD = xp.einsum("...ij,...jk->...ik", K[..., :2, :2] + xp.zeros_like(D), D)
    # d ideal / d point = [I, -ideal] / z
    last = -(KD * ideal[..., None, :]).sum(-1)
    J = xp.concatenate([KD, last[..., None]], -1) / z[..., None, None]
    return xp.stack([u, v], -1), J


def intrinsics_jacobian(lenses: Lenses, camera_points: ArrayLike) -> ArrayLike:
    """D pixels / d (fx fy cx cy | five distortion coefficients) of points in camera axes.

    Parameters
    ----------
    lenses : Lenses
    camera_points : [V, ..., 3], m
        In front of the camera.

    Returns
    -------
    [V, ..., 2, 9]
        px per px, and px per unit of a coefficient.
    """
    xp = _module(camera_points)
    x, y = camera_points[..., 0] / camera_points[..., 2], camera_points[..., 1] / camera_points[..., 2]
    sensor, _ = distort(lenses, xp.stack([x, y], -1))
    r2 = x * x + y * y
    o, one = xp.zeros_like(x), xp.ones_like(x)
    r4, r6 = r2 * r2, r2 * r2 * r2
    dx = [x * r2, x * r4, 2 * x * y, r2 + 2 * x * x, x * r6]
    dy = [y * r2, y * r4, r2 + 2 * y * y, 2 * x * y, y * r6]
    if bool(lenses.fisheye.any()):
        f = _per_view(lenses.fisheye, x.ndim - 1)
        r = xp.sqrt(r2 + 1e-30)
        theta = xp.arctan(r)
        q = theta * theta
        power = theta / r
        for i in range(5):
            power = power * q
            last = i == 4  # four coefficients only
            dx[i] = xp.where(f, o if last else x * power, dx[i])
            dy[i] = xp.where(f, o if last else y * power, dy[i])
    K = _per_view(lenses.K, x.ndim - 1)
    fx, fy, skew = K[..., 0, 0], K[..., 1, 1], K[..., 0, 1]
    row_u = [sensor[..., 0], o, one, o, *[fx * a + skew * b for a, b in zip(dx, dy, strict=True)]]
    row_v = [o, sensor[..., 1], o, one, *[fy * b for b in dy]]
    return xp.stack([xp.stack(row_u, -1), xp.stack(row_v, -1)], -2)


def project_with_jacobian(lenses: Lenses, points: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
    """Like `project`, with d pixels / d world point [V, ..., 2, 3] in px/m."""
    xp = _module(points)
    pixels, J = project_camera(lenses, to_camera(lenses, points))
    flat = J.reshape((J.shape[0], -1, 2, 3))
    turned = xp.einsum("vnij,vjk->vnik", flat, lenses.R)
    return pixels, turned.reshape(J.shape)


def rays(lenses: Lenses, pixels: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
    """Viewing rays in the world.

    Parameters
    ----------
    lenses : Lenses
    pixels : [V, ..., 2]
        Raw image coordinates, px.

    Returns
    -------
    origin : [V, 3]
        Camera centres, metres.
    direction : [V, ..., 3]
        Unit vectors into the scene; NaN where the pixel is.
    """
    xp = _module(pixels)
    xy = undistort(lenses, pixels)
    d = xp.concatenate([xy, xp.ones_like(xy[..., :1])], -1)
    flat = d.reshape((d.shape[0], -1, 3))
    world = xp.einsum("vji,vnj->vni", lenses.R, flat).reshape(d.shape)
    norm = xp.sqrt((world * world).sum(-1))
    origin = -xp.einsum("vji,vj->vi", lenses.R, lenses.t)
    return origin, world / norm[..., None]
