"""The world that a calibrated rig stands in: z up, origin and heading from something that was seen.

Every function returns ``world_from_rig`` with a text that says where it comes from; `in_world` applies it.
The world is right-handed with z up (metres); scale is never changed, it comes from the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.camera import CAMERA_PARAMETERS, CameraRig
from calibration.errors import CalibrationError
from calibration.projection import Lenses, project_with_jacobian, undistort
from calibration.transforms import RigidTransform

Array = NDArray[np.float64]

# Measured scene points that fit worse than this are wrongly named or measured (m).
_WORST_FIT_M = 0.1
_REFINE_STEPS = 8


@dataclass(frozen=True, eq=False)
class WorldFrame:
    """Where the world is.

    Attributes
    ----------
    world_from_rig : RigidTransform
    source : str
        What decided it, in words.
    rms_m : float
        How well what was measured fits (m); NaN where nothing was measured twice.
    """

    world_from_rig: RigidTransform
    source: str
    rms_m: float = float("nan")


def in_world(rig: CameraRig, frame: WorldFrame) -> CameraRig:
    """The same cameras in the world: ``x_camera = R x_rig + t`` with x_rig = rig_from_world(x_world).

    The covariance is that of left-multiplied rotation increments and of t, neither of which depends on
    the choice of the axes, except that t takes on the rotation's uncertainty over the shift.
    """
    rig_from_world = frame.world_from_rig.inverse()
    moved = tuple(
        replace(c, R=c.R @ rig_from_world.R, t=c.R @ rig_from_world.t + c.t) for c in rig.cameras
    )  # fmt: skip
    covariance = rig.covariance
    if covariance is not None:
        J = np.tile(np.eye(CAMERA_PARAMETERS), (len(rig), 1, 1))
        # t' = exp(w) R s + t: d t' / d w = -[R s].
        for k, c in enumerate(rig.cameras):
            x, y, z = c.R @ rig_from_world.t
            J[k, 12:15, 9:12] = -np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        covariance = J @ covariance @ np.swapaxes(J, -1, -2)
    return CameraRig(moved, covariance, frame.source)


def from_board(rig_from_board: RigidTransform, rig: CameraRig, source: str) -> WorldFrame:
    """The world of a board that lies on the floor: its corner of origin is 0, its x the world's x, z up.

    Parameters
    ----------
    rig_from_board : RigidTransform
    rig : CameraRig
        Cameras look down on the printed side, which tells up from down.
    source : str
        E.g. "board on the floor in frame 12".

    Notes
    -----
    The board's own y points down the print, so with z towards the cameras y turns over: the world is
    right-handed either way.
    """
    board_from_rig = rig_from_board.inverse()
    height = np.median(board_from_rig.apply(rig.centres)[:, 2])
    flip = np.eye(3) if height > 0 else np.diag([1.0, -1.0, -1.0])
    return WorldFrame(RigidTransform(flip, np.zeros(3)) @ board_from_rig, source)


def mean_pose(rotation_vectors: Array, translations: Array) -> RigidTransform:
    """The middle of several poses [n, 3], [n, 3] of a board that lies still: median shift, chordal mean rotation."""
    return RigidTransform(Rotation.from_rotvec(rotation_vectors).mean().as_matrix(), np.median(translations, axis=0))


def from_points(rig: CameraRig, world: Mapping[str, Array], pixels: Mapping[str, Mapping[str, Array]]) -> WorldFrame:
    """The world of named scene points with measured coordinates.

    Parameters
    ----------
    rig : CameraRig
    world : mapping of point name to [3]
        Measured coordinates, m, z up.
    pixels : mapping of point name to mapping of camera name to [2]
        Where the cameras see it, px.

    Raises
    ------
    CalibrationError
        Fewer than three usable points, points on a line, or points that do not fit.
    """
    names = [n for n in world if len(pixels.get(n, {})) >= 2]
    if len(names) < 3:
        raise CalibrationError(
            "too few scene points for the world frame", expected="three points, each seen by two cameras",
            found=f"{len(names)}: {', '.join(names) or 'none'}", hint="name more points, or use the board on the floor",
        )  # fmt: skip
    observed = np.full((len(rig), len(names), 2), np.nan)
    for n, name in enumerate(names):
        for camera, pixel in pixels[name].items():
            if camera not in rig.names:
                raise CalibrationError(f"scene point {name!r} names an unknown camera", expected=", ".join(rig.names),
                                       found=camera)  # fmt: skip
            observed[rig.names.index(camera), n] = pixel
    X = triangulate(rig, observed)
    target = np.array([world[n] for n in names], dtype=np.float64)
    transform = fit_rigid(X, target, names)
    miss = np.linalg.norm(transform.apply(X) - target, axis=1)
    if miss.max() > _WORST_FIT_M:
        raise CalibrationError(
            "the scene points do not lie as measured", expected=f"a fit within {1000 * _WORST_FIT_M:.0f} mm",
            found=", ".join(f"{n}: {1000 * m:.0f} mm" for n, m in zip(names, miss, strict=True)),
            hint="check names, pixels and units (metres) of the worst point",
        )  # fmt: skip
    return WorldFrame(transform, f"scene points {', '.join(names)}", float(np.sqrt((miss**2).mean())))


def from_l_frame(origin: Array, along_x: Array, along_y: Array, source: str = "L-frame on the floor") -> WorldFrame:
    """The world of an L-frame: markers at the corner, on the x arm and on the y arm (rig frame, m).

    A wand on the floor gives two of them; take any third floor point for `along_y`.

    Raises
    ------
    CalibrationError
        The three points are on a line.
    """
    x, y = along_x - origin, along_y - origin
    z = np.cross(x, y)
    if np.linalg.norm(z) < 1e-3 * np.linalg.norm(x) * np.linalg.norm(y) or not np.isfinite(z).all():
        raise CalibrationError("the L-frame's markers are on a line", expected="corner, x arm and y arm",
                               found=f"{origin}, {along_x}, {along_y} m")  # fmt: skip
    x, z = x / np.linalg.norm(x), z / np.linalg.norm(z)
    R = np.stack([x, np.cross(z, x), z])
    return WorldFrame(RigidTransform(R, -R @ origin), source)


def from_feet(feet: Array, heads: Array, source: str = "the feet of the person (gravity and floor)") -> WorldFrame:
    """Gravity and floor from a person who walks: the plane that standing feet touch.

    Parameters
    ----------
    feet, heads : float64 [n, 3]
        Feet (ankles or toes) and heads of the same instants, rig frame, m; NaN where unknown. The person
        walks about; on the spot there is no plane.

    Raises
    ------
    CalibrationError
        Too few samples, or feet that do not span a floor.

    Notes
    -----
    The plane is the lowest that robustly fits: feet above it (swinging) have no say beyond 1.5 robust
    deviations (iterated, one-sided). Origin: below the middle of the walk; x along its longer side.
    """
    known = np.isfinite(feet).all(-1) & np.isfinite(heads).all(-1)
    X, up = feet[known], (heads - feet)[known]
    if len(X) < 30:
        raise CalibrationError("too few feet for a floor", expected="30 or more samples", found=f"{len(X)}")
    up = np.median(up, axis=0)
    up = up / np.linalg.norm(up)
    keep = np.ones(len(X), bool)
    middle, normal = X.mean(0), up
    for _ in range(20):
        middle = X[keep].mean(0)
        _, s, Vt = np.linalg.svd(X[keep] - middle, full_matrices=False)
        if s[1] / np.sqrt(keep.sum()) < 0.1:
            width = 2 * s[1] / np.sqrt(keep.sum())
            raise CalibrationError("the feet do not span a floor", expected="a walk about the volume",
                                   found=f"{width:.2f} m wide", hint="walk a circle")  # fmt: skip
        normal = Vt[2] if Vt[2] @ up > 0 else -Vt[2]
        height = (X - middle) @ normal
        scale = 1.4826 * np.median(np.abs(height[keep] - np.median(height[keep]))) + 1e-6
        again = height < np.median(height[keep]) + 1.5 * scale
        if (again == keep).all() or again.sum() < 30:
            break
        keep = again
    x = Vt[0] - (Vt[0] @ normal) * normal
    x = x / np.linalg.norm(x)
    R = np.stack([x, np.cross(normal, x), normal])
    rms = float(np.sqrt((((X[keep] - middle) @ normal) ** 2).mean()))
    return WorldFrame(RigidTransform(R, -R @ middle), source, rms)


def upright_guess(rig: CameraRig) -> WorldFrame:
    """Without anything that tells the floor: up is away from where the images' lower edges point.

    Origin: below the middle of the cameras at the place that they look at.
    """
    up = -rig.R[:, 1].sum(0)
    forward = rig.R[:, 2]
    # Level cameras have it in y; cameras that look down share it between -y and -z: take what is common.
    if len(rig) > 2:
        _, _, Vt = np.linalg.svd(rig.R[:, 0])
        up = Vt[2] if Vt[2] @ up > 0 else -Vt[2]
    up = up / np.linalg.norm(up)
    centre = _looked_at(rig.centres, forward)
    x = rig.R[0, 0] - (rig.R[0, 0] @ up) * up
    x = x / np.linalg.norm(x)
    R = np.stack([x, np.cross(up, x), up])
    return WorldFrame(RigidTransform(R, -R @ centre), "guessed: cameras held upright, origin where they look")


def _looked_at(centres: Array, forward: Array) -> Array:
    """The point nearest to all optical axes."""
    if len(centres) < 2:
        return np.asarray(centres[0] + forward[0])
    P = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    return np.linalg.lstsq(P.sum(0), (P @ centres[..., None]).sum(0)[:, 0], rcond=None)[0]


def triangulate(rig: CameraRig, observed: Array) -> Array:
    """Points [n, 3] from pixels [V, n, 2] (NaN where not seen): linear start, Gauss-Newton on the lens model."""
    lenses = Lenses.of(rig)
    xy = undistort(lenses, observed)
    seen = np.isfinite(xy).all(-1)
    P = np.concatenate([rig.R, rig.t[..., None]], -1)
    A = xy[..., None] * P[:, None, None, 2] - P[:, None, :2]
    A = np.where(seen[..., None, None], A, 0.0)  # V n 2 4
    A = np.moveaxis(A, 0, 1).reshape(A.shape[1], -1, 4)
    X = np.linalg.svd(A)[2][:, -1]
    X = X[:, :3] / X[:, 3:]
    for _ in range(_REFINE_STEPS):
        pixel, J = project_with_jacobian(lenses, X)
        r = np.where(seen[..., None], observed - pixel, 0.0)
        J = np.where(seen[..., None, None], J, 0.0)
        H = np.einsum("vnki,vnkj->nij", J, J) + 1e-9 * np.eye(3)
        X = X + np.linalg.solve(H, np.einsum("vnki,vnk->ni", J, r)[..., None])[..., 0]
    return np.asarray(np.where((seen.sum(0) >= 2)[:, None], X, np.nan))


def fit_rigid(source: Array, target: Array, names: Sequence[str] = ()) -> RigidTransform:
    """``target = R source + t`` with the least squares (Umeyama 1991, without scale).

    Raises
    ------
    CalibrationError
        Points on a line.
    """
    a, b = source - source.mean(0), target - target.mean(0)
    U, s, Vt = np.linalg.svd(b.T @ a)
    if s[1] < 1e-9 * max(s[0], 1e-12) or np.linalg.svd(b, compute_uv=False)[1] < 1e-2:
        raise CalibrationError("the scene points are on a line", expected="three points that span a plane",
                               found=", ".join(names))  # fmt: skip
    R = U @ np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    return RigidTransform(R, target.mean(0) - R @ source.mean(0))
