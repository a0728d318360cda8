"""The 3D error that an uncertain calibration puts on what it triangulates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig
from calibration.projection import Lenses, project, project_with_jacobian
from calibration.solution import CalibrationSolution

Array = NDArray[np.float64]

_POINTS = 60


def expected_error(solution: CalibrationSolution, sizes: tuple[tuple[int, int], ...]) -> float:
    """Standard deviation (m, all axes together) of a triangulated point in the volume the target was moved in.

    Parameters
    ----------
    solution : CalibrationSolution
    sizes : image (width, height) per camera, px

    Returns
    -------
    float
        Root mean square over the volume; NaN where fewer than three target places are known or no point
        is seen by two cameras.

    Notes
    -----
    Error propagation to first order: a triangulated point moves by ``-(J^T J)^-1 J^T G dtheta``, where J is
    the projection's Jacobian to the point and G that to the camera parameters. A motion of the whole
    volume as one rigid body is no error and is projected out.
    """
    place = solution.rig_from_target[1]
    place = place[np.isfinite(place).all(-1)]
    if len(place) < 3 or not len(solution.covariance):
        return float("nan")
    X = place[np.unique(np.linspace(0, len(place) - 1, _POINTS).round().astype(int))]
    lenses = Lenses.of(solution.rig)
    pixel, J = project_with_jacobian(lenses, X)
    size = np.array(sizes)[:, None]
    seen = np.isfinite(pixel).all(-1) & (pixel >= -0.5).all(-1) & (pixel <= size - 0.5).all(-1)
    usable = seen.sum(0) >= 2
    if usable.sum() < 3:
        return float("nan")
    X, J, seen, pixel = X[usable], J[:, usable], seen[:, usable], pixel[:, usable]
    J = np.where(seen[..., None, None], J, 0.0)
    H = np.linalg.inv(np.einsum("vnki,vnkj->nij", J, J))
    G = np.zeros((len(X), 3, len(solution.covariance)))
    for d, (c, k) in enumerate(zip(solution.parameter_camera, solution.parameter_index, strict=True)):
        change = np.where(seen[c][:, None], _derivative(solution.rig, int(c), int(k), X), 0.0)
        G[:, :, d] = -np.einsum("nij,nkj,nk->ni", H, J[c], change)
    flat = G.reshape(-1, len(solution.covariance))
    Q = _rigid_motions(X)
    flat = flat - Q @ (Q.T @ flat)
    return float(np.sqrt(max(((flat @ solution.covariance) * flat).sum(), 0.0) / len(X)))


def _rigid_motions(X: Array) -> Array:
    """Orthonormal basis [3n, 6] of small motions of all points together."""
    x, y, z = (X - X.mean(0)).T
    o, e = np.zeros_like(x), np.ones_like(x)
    columns = [(e, o, o), (o, e, o), (o, o, e), (o, -z, y), (z, o, -x), (-y, x, o)]
    basis = np.stack([np.stack(c, -1).ravel() for c in columns], -1)
    return np.asarray(np.linalg.qr(basis)[0])


def _derivative(rig: CameraRig, camera: int, parameter: int, X: Array) -> Array:
    """D pixel / d parameter [n, 2] of one camera, by central differences: a report needs no more."""
    step = 1e-3 if parameter < 4 else 1e-6
    up, down = (_projected(rig.cameras[camera], parameter, s, X) for s in (step, -step))
    return (up - down) / (2 * step)


def _projected(camera: Camera, parameter: int, step: float, X: Array) -> Array:
    return np.asarray(project(Lenses.of(CameraRig((_changed(camera, parameter, step),))), X)[0])


def _changed(camera: Camera, parameter: int, step: float) -> Camera:
    if parameter < 4:
        K = camera.K.copy()
        K[((0, 0), (1, 1), (0, 2), (1, 2))[parameter]] += step
        return replace(camera, K=K)
    if parameter < 9:
        distortion = camera.distortion.copy()
        distortion[parameter - 4] += step
        return replace(camera, distortion=distortion)
    if parameter < 12:
        turn = Rotation.from_rotvec(step * np.eye(3)[parameter - 9]).as_matrix()
        return replace(camera, R=turn @ camera.R)
    t = camera.t.copy()
    t[parameter - 12] += step
    return replace(camera, t=t)
