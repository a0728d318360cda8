"""Pose of a flat target from one view: homography, both planar solutions, refinement; batched over views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.projection import undistort
from calibration.rig_state import RigState, rotation_matrix
from calibration.view_table import ViewTable

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MIN_POINTS = 4
# A corner is with the others if the homography puts it within this share of the corners' spacing in the image.
_NEAR = 0.2
_SAMPLES = 60
# Smallest ratio of the two spreads of a point set that is not on a line.
_FLATTEST = 0.05


@dataclass(frozen=True, eq=False)
class PlaneFits:
    """Homographies from the target's plane to the image.

    Attributes
    ----------
    H : float64 [M, 3, 3]
        Pixel ~ H [X, Y, 1]; NaN where there is none.
    near : bool [M, S]
        Points that agree with it.
    """

    H: Array
    near: Bools

    @property
    def usable(self) -> Bools:
        """Bool [M]: at least four points and most of those seen agree."""
        return np.asarray(np.isfinite(self.H).all((1, 2)))


def fit_planes(views: ViewTable, points: Array) -> PlaneFits:
    """Homography of every view, by RANSAC where the plain fit does not explain the view.

    Parameters
    ----------
    views : ViewTable
    points : float64 [P, 3]
        In the plane z = 0, m.

    Notes
    -----
    Views with fewer than four points, with points on a line, or with less than half of them
    consistent (wrong ids) get none. Lens distortion is far below the tolerance of a fifth of the
    corners' spacing, errors of 20 px and more are not.
    """
    xy = points[views.point][..., :2]
    spread_ok = (views.seen.sum(1) >= _MIN_POINTS) & (_flatness(xy, views.seen) > _FLATTEST)
    H = np.full((len(views), 3, 3), np.nan)
    near = views.seen & spread_ok[:, None]
    work = np.flatnonzero(spread_ok)
    H[work] = _homography(xy[work], views.pixel[work], views.seen[work].astype(float))
    tolerance = np.full(len(views), np.inf)
    tolerance[work] = _NEAR * _spacing(H[work], xy[work], views.seen[work], points)
    error = _transfer_error(H, xy, views.pixel)
    near &= error < tolerance[:, None]
    rng = np.random.default_rng(0)
    for m in np.flatnonzero(spread_ok & (near.sum(1) < views.seen.sum(1))):
        H[m], near[m] = _ransac(xy[m], views.pixel[m], views.seen[m], points, rng)
    poor = near.sum(1) < np.maximum(_MIN_POINTS, 0.5 * views.seen.sum(1))
    poor |= ~(_flatness(xy, near) > _FLATTEST)
    H[poor], near[poor] = np.nan, False
    work = np.flatnonzero(~poor)
    H[work] = _homography(xy[work], views.pixel[work], near[work].astype(float))
    return PlaneFits(H, near & np.isfinite(H).all((1, 2))[:, None])


def _flatness(xy: Array, seen: Bools) -> Array:
    """Ratio [M] of the smaller to the larger spread of the points."""
    w = seen[..., None].astype(float)
    count = np.maximum(w.sum(1), 1)
    centred = (xy - (w * xy).sum(1)[:, None] / count[:, None]) * w
    scatter = np.linalg.eigvalsh(centred.transpose(0, 2, 1) @ centred)
    return np.sqrt(np.maximum(scatter[:, 0], 0) / np.maximum(scatter[:, 1], 1e-30))


def _normalisation(xy: Array, w: Array) -> Array:
    """Similarity [M, 3, 3] that centres weighted points and scales them to unit spread (Hartley 1997)."""
    total = np.maximum(w.sum(1), 1e-12)
    mean = (w[..., None] * xy).sum(1) / total[:, None]
    spread = np.sqrt((w * ((xy - mean[:, None]) ** 2).sum(-1)).sum(1) / total / 2) + 1e-12
    T = np.zeros((len(xy), 3, 3))
    T[:, 0, 0] = T[:, 1, 1] = 1 / spread
    T[:, :2, 2] = -mean / spread[:, None]
    T[:, 2, 2] = 1
    return T


def _homography(xy: Array, pixel: Array, w: Array) -> Array:
    """Weighted least squares [M, 3, 3] by the direct linear transform (Hartley & Zisserman 4.1)."""
    A_from, B_from = _normalisation(xy, w), _normalisation(pixel, w)
    a = xy * A_from[:, 0, 0, None, None] + A_from[:, None, :2, 2]
    b = pixel * B_from[:, 0, 0, None, None] + B_from[:, None, :2, 2]
    o, one = np.zeros_like(a[..., 0]), np.ones_like(a[..., 0])
    x, y, u, v = a[..., 0], a[..., 1], b[..., 0], b[..., 1]
    rows = np.stack(
        [np.stack([x, y, one, o, o, o, -u * x, -u * y], -1), np.stack([o, o, o, x, y, one, -v * x, -v * y], -1)], 2
    )
    rows = (rows * w[..., None, None]).reshape(len(xy), -1, 8)
    right = (b * w[..., None]).reshape(len(xy), -1, 1)
    T = rows.transpose(0, 2, 1)
    h = np.linalg.solve(T @ rows + 1e-12 * np.eye(8), T @ right)[..., 0]
    H = np.concatenate([h, np.ones((len(h), 1))], 1).reshape(-1, 3, 3)
    H = np.linalg.solve(B_from, H @ A_from)
    return H / np.linalg.norm(H, axis=(1, 2), keepdims=True)


def _apply(H: Array, xy: Array) -> Array:
    p = np.einsum("mij,msj->msi", H[..., :2], xy) + H[:, None, :, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return p[..., :2] / p[..., 2:]


def _transfer_error(H: Array, xy: Array, pixel: Array) -> Array:
    return np.nan_to_num(np.linalg.norm(_apply(H, xy) - pixel, axis=-1), nan=np.inf)


def _spacing(H: Array, xy: Array, seen: Bools, points: Array) -> Array:
    """What one step between neighbouring target points measures in the image [M], px."""
    distance = np.linalg.norm(points[:, None, :2] - points[None, :, :2], axis=-1)
    step = np.median((distance + np.where(np.eye(len(points)) > 0, np.inf, 0.0)).min(1))
    shifts = np.array([[step, 0.0], [0.0, step]])
    here = _apply(H, xy)
    size = np.stack([np.linalg.norm(_apply(H, xy + s) - here, axis=-1) for s in shifts]).mean(0)
    return np.nanmedian(np.where(seen, size, np.nan), axis=1)


def _ransac(xy: Array, pixel: Array, seen: Bools, points: Array, rng: np.random.Generator) -> tuple[Array, Bools]:
    """One view: the homography of four points that most others agree with."""
    members = np.flatnonzero(seen)
    picks = np.argsort(rng.random((_SAMPLES, len(members))), axis=1)[:, :_MIN_POINTS]
    chosen = members[picks]
    w = np.ones((_SAMPLES, _MIN_POINTS))
    good = _flatness(xy[chosen], w > 0) > _FLATTEST
    H = _homography(xy[chosen], pixel[chosen], w)
    all_xy, all_pixel = np.broadcast_to(xy, (_SAMPLES, *xy.shape)), np.broadcast_to(pixel, (_SAMPLES, *pixel.shape))
    everyone = np.broadcast_to(seen, (_SAMPLES, len(seen)))
    # The image's own spacing, so that a homography that shrinks the board gains no tolerance.
    tolerance = _NEAR * np.minimum(_spacing(H, all_xy, everyone, points), _image_spacing(pixel[members]))
    near = everyone & (_transfer_error(H, all_xy, all_pixel) < tolerance[:, None]) & good[:, None]
    best = int(near.sum(1).argmax())
    if near[best].sum() < _MIN_POINTS:
        return H[best], near[best]
    for _ in range(2):
        H_best = _homography(xy[None], pixel[None], near[best][None].astype(float))
        kept = seen & (_transfer_error(H_best, xy[None], pixel[None])[0] < tolerance[best])
        if kept.sum() < near[best].sum():
            break
        near[best] = kept
    return H_best[0], near[best]


def _image_spacing(pixel: Array) -> float:
    """Median distance to the nearest neighbour times two: no corner grid is spaced wider in its own image."""
    d = np.linalg.norm(pixel[:, None] - pixel[None], axis=-1) + np.where(np.eye(len(pixel)) > 0, np.inf, 0.0)
    return 2 * float(np.median(d.min(1)))


@dataclass(frozen=True, eq=False)
class ViewPoses:
    """Poses of the target in the camera, two candidates per view.

    Attributes
    ----------
    R : float64 [M, 2, 3, 3], t : float64 [M, 2, 3]
        ``x_camera = R x_target + t``, the better one first; NaN where there is none.
    error : float64 [M, 2]
        RMS distance of the good points in units of the focal length.
    """

    R: Array
    t: Array
    error: Array

    @property
    def usable(self) -> Bools:
        """Bool [M]."""
        return np.isfinite(self.error[:, 0])


def view_poses(views: ViewTable, state: RigState, points: Array, fits: PlaneFits) -> ViewPoses:
    """Both planar pose solutions of every view, refined on undistorted points.

    Notes
    -----
    First pose from the homography (Zhang 2000, section 3.1); the second has the board's normal
    mirrored about the line of sight (Schweighofer & Pinz 2006).
    """
    M = len(views)
    R, t = np.full((M, 2, 3, 3), np.nan), np.full((M, 2, 3), np.nan)
    error = np.full((M, 2), np.nan)
    ideal = undistort(state.lenses(views.camera), views.pixel)
    good = fits.near & np.isfinite(ideal).all(-1)
    X = points[views.point]
    work = np.flatnonzero(fits.usable & (good.sum(1) >= _MIN_POINTS) & (_flatness(X[..., :2], good) > _FLATTEST))
    if not len(work):
        return ViewPoses(R, t, error)
    ideal, good, X = np.nan_to_num(ideal[work]), good[work].astype(float), X[work]
    R1, t1 = _pose_of_homography(_homography(X[..., :2], ideal, good))
    middle = (good[..., None] * X).sum(1) / good.sum(1)[:, None]
    seen_at = np.einsum("mij,mj->mi", R1, middle) + t1
    sight = seen_at / np.linalg.norm(seen_at, axis=1, keepdims=True)
    mirror = np.eye(3) - 2 * sight[:, :, None] * sight[:, None, :]
    R2 = mirror @ R1 @ np.diag([1.0, 1.0, -1.0])
    t2 = seen_at - np.einsum("mij,mj->mi", R2, middle)
    for k, (Rk, tk) in enumerate(((R1, t1), (R2, t2))):
        R[work, k], t[work, k], error[work, k] = refine_view_poses(Rk, tk, X, ideal, good)
    swap = np.flatnonzero(error[:, 1] < error[:, 0])
    for a in (R, t, error):
        a[swap] = a[swap, ::-1]
    return ViewPoses(R, t, error)


def _pose_of_homography(H: Array) -> tuple[Array, Array]:
    scale = np.sqrt(np.linalg.norm(H[:, :, 0], axis=1) * np.linalg.norm(H[:, :, 1], axis=1))
    H = H / scale[:, None, None] * np.sign(H[:, 2, 2])[:, None, None]
    columns = np.stack([H[:, :, 0], H[:, :, 1], np.cross(H[:, :, 0], H[:, :, 1])], -1)
    u, _, vt = np.linalg.svd(columns)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    return u @ vt, H[:, :, 2]


def refine_view_poses(
    R: Array, t: Array, X: Array, ideal: Array, weight: Array, iterations: int = 12
) -> tuple[Array, Array, Array]:
    """Levenberg-Marquardt on poses [m] for points X [m, S, 3] seen at x/z, y/z `ideal` [m, S, 2].

    Returns
    -------
    R : [m, 3, 3], t : [m, 3]
    error : [m]
        Weighted RMS distance, in focal lengths; infinite where points lie behind the camera.
    """

    def miss(R: Array, t: Array) -> tuple[Array, Array, Array]:
        Y = X @ R.transpose(0, 2, 1)
        x = Y + t[:, None]
        z = np.where(x[..., 2] > 1e-6, x[..., 2], np.nan)
        e = (x[..., :2] / z[..., None] - ideal) * np.sqrt(weight)[..., None]
        cost = np.where(weight > 0, (e**2).sum(-1), 0.0).sum(1)
        return np.where((weight > 0)[..., None], e, 0.0), np.nan_to_num(cost, nan=np.inf), np.concatenate([Y, x], -1)

    e, cost, places = miss(R, t)
    damping = np.full(len(R), 1e-3)
    for _ in range(iterations):
        Y, x = places[..., :3], places[..., 3:]
        z = np.maximum(x[..., 2], 1e-6)
        G = np.zeros((*e.shape, 3))
        G[..., 0, 0] = G[..., 1, 1] = 1 / z
        G[..., :, 2] = -x[..., :2] / z[..., None] ** 2
        G *= np.sqrt(weight)[..., None, None]
        J = np.concatenate([np.cross(Y[:, :, None], G), G], -1).reshape(len(R), -1, 6)
        JT = J.transpose(0, 2, 1)
        A = JT @ J
        A[:, np.arange(6), np.arange(6)] *= 1 + damping[:, None]
        step = -np.linalg.solve(A + 1e-12 * np.eye(6), JT @ e.reshape(len(R), -1, 1))[..., 0]
        R_new, t_new = rotation_matrix(np.clip(step[:, :3], -0.5, 0.5)) @ R, t + step[:, 3:]
        e_new, cost_new, places_new = miss(R_new, t_new)
        better = cost_new <= cost
        damping = np.where(better, damping * 0.2, damping * 10)
        b3 = better[:, None, None]
        R, t = np.where(b3, R_new, R), np.where(better[:, None], t_new, t)
        e, places, cost = np.where(b3, e_new, e), np.where(b3, places_new, places), np.minimum(cost_new, cost)
    return R, t, np.sqrt(cost / np.maximum(weight.sum(1), 1))
