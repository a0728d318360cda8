"""Joint calibration against the Cramer-Rao bound, and its time.

python tests/benchmarks/calibration_bound.py [--draws 20] [--cameras 4 8] [--targets board wand] [--exact] [--speed]

A synthetic studio: cameras on a ring of 4 m, 1080p, corners with 0.3 px of noise. "3D error" is that of
points in the volume triangulated from exact pixels with the estimated cameras, after rigid alignment:
what calibration alone adds. The bound comes from the Jacobian at the truth, with all that the truth
has (K, five distortion coefficients, poses) unknown; the ratio to it carries the standard error that so few
draws leave (some 5 to 9 directions make up nearly all of the error of one draw). `--exact` adds the ratio to
the maximum-likelihood estimate found from the truth itself, which luck hardly touches. Coverage: how often the
true camera lies within the 95 % ellipsoid of its own covariance, and how often a test point does within that of
the points which the stated covariance of all cameras predicts.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from calibration.bundle_adjustment import Problem, adjust, free_parameters, linearise
from calibration.camera import CameraRig
from calibration.joint import CalibrationSettings, calibrate_cameras
from calibration.normal_equations import jacobian
from calibration.observations import TargetObservations
from calibration.projection import Lenses, project, project_with_jacobian
from calibration.rig_state import CAMERA_BLOCK, RigState
from calibration.settings import Distortion
from calibration.solution import CalibrationSolution
from calibration.transforms import RigidTransform
from calibration.view_table import ViewTable
from mocap.synthetic import ring_rig

SIGMA_PX = 0.3
SIZE = (1920, 1080)
WAND = np.array([[0.0, 0, 0], [0.2, 0, 0], [0.5, 0, 0]])


def board(columns: int = 7, rows: int = 5, square: float = 0.08) -> np.ndarray:
    """Inner corners [P, 3] of a board, m."""
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2) * square
    return np.c_[grid - grid.mean(0), np.zeros(len(grid))]


@dataclass(frozen=True, eq=False)
class Studio:
    """Truth and what the cameras saw: target poses ``x_rig = R x_target + t``."""

    rig: CameraRig
    target: RigidTransform
    observations: TargetObservations


def random_rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    q = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    return q * np.linalg.det(q)[:, None, None]


def studio(cameras: int, poses: int, points: np.ndarray, seed: int, sigma: float = SIGMA_PX) -> Studio:
    """A target moved through 2.4 x 2.4 x 1.6 m; a board is seen from its front only."""
    rng = np.random.default_rng(seed)
    rig = ring_rig(cameras, size=SIZE, focal=1400.0, seed=seed)
    target = RigidTransform(random_rotations(rng, poses), rng.uniform((-1.2, -1.2, 0.3), (1.2, 1.2, 1.9), (poses, 3)))
    X = target.t[:, None] + points @ target.R.transpose(0, 2, 1)
    pixel = project(Lenses.of(rig), X)
    seen = np.isfinite(pixel).all(-1) & (pixel >= 0).all(-1) & (pixel <= np.array(SIZE) - 1).all(-1)
    if np.ptp(points[:, 1]) > 0:
        sight = rig.centres[:, None] - target.t
        cosine = np.einsum("vbi,bi->vb", sight / np.linalg.norm(sight, axis=-1, keepdims=True), target.R[:, :, 2])
        seen &= (cosine > 0.3)[..., None]
        seen &= seen.sum(2, keepdims=True) >= 6
    camera, pose, point = np.nonzero(seen)
    noisy = pixel[seen] + rng.normal(0, sigma, (len(camera), 2))
    times = np.arange(poses) / 10.0
    observations = TargetObservations(rig.names, (SIZE,) * cameras, points, times, camera, pose, point, noisy)
    return Studio(rig, target, observations)


def true_state(scene: Studio, reference: int) -> RigState:
    """The truth in the frame of the reference camera."""
    rig, C = scene.rig, len(scene.rig)
    K = rig.K
    intrinsics = np.c_[K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2], rig.distortion]
    camera_from_world = RigidTransform(rig.R, rig.t)
    reference_from_world = RigidTransform(rig.R[reference], rig.t[reference])
    cameras, target = camera_from_world @ reference_from_world.inverse(), reference_from_world @ scene.target
    twist = np.zeros((len(target.t), 6))
    return RigState(intrinsics, cameras.R, cameras.t, np.zeros(C), target.R, target.t, twist, rig.fisheye)


def bound(scene: Studio, state: RigState, reference: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest covariance [D, D] of the camera parameters, and which of the C x 16 they are."""
    C = len(scene.rig)
    views = ViewTable.of(scene.observations)
    nothing = np.zeros((C, 9))
    problem = Problem(views, scene.observations.points, free_parameters(C, reference), nothing, nothing, 1.0)
    equations = linearise(problem, state, views.seen / SIGMA_PX**2)
    reduced = equations.reduced(0.0, problem.free)
    return reduced.covariance(), reduced.chosen


def volume() -> np.ndarray:
    """Test points [N, 3] in the world."""
    axis = np.linspace(-1, 1, 5)
    return np.stack(np.meshgrid(axis, axis, [0.2, 1.0, 1.8]), -1).reshape(-1, 3)


def sensitivity(state: RigState, points: np.ndarray) -> np.ndarray:
    """d triangulated point / d camera parameters [N x 3, C x 16], rigid motions of all points taken out."""
    C, N = len(state.t), len(points)
    alone = RigState(
        state.intrinsics, state.R, state.t, state.offset, np.tile(np.eye(3), (N, 1, 1)), points, np.zeros((N, 6)),
        state.fisheye,
    )  # fmt: skip
    camera, pose = np.tile(np.arange(C), N), np.repeat(np.arange(N), C)
    pixel, seen = np.zeros((N * C, 1, 2)), np.ones((N * C, 1), bool)
    views = ViewTable(camera, pose, np.zeros((N * C, 1), np.int64), pixel, seen, np.zeros((N * C, 1), np.int64))
    _, J = jacobian(views, alone, np.zeros((1, 3)))
    J = J[:, 0].reshape(N, C, 2, -1)
    Jx, Jc = J[..., -3:], J[..., :CAMERA_BLOCK]
    H = np.einsum("ncki,nckj->nij", Jx, Jx)
    D = -np.linalg.solve(H, np.einsum("ncki,nckj->nicj", Jx, Jc).reshape(N, 3, -1)).reshape(3 * N, -1)
    return remove_rigid(D, points)


def remove_rigid(errors: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Errors [3 N, ...] without their best rigid motion."""
    x = points - points.mean(0)
    turns = [np.cross(e, x).ravel() for e in np.eye(3)]
    shifts = [np.tile(e, len(x)) for e in np.eye(3)]
    q, _ = np.linalg.qr(np.stack(turns + shifts, 1))
    return errors - q @ (q.T @ errors)


def triangulation_errors(truth: RigState, rig: CameraRig, points: np.ndarray) -> np.ndarray:
    """Error [N, 3] (m) of points triangulated from exact pixels, after rigid alignment."""
    lenses = Lenses(truth.K, truth.intrinsics[:, 4:], truth.R, truth.t, truth.fisheye)
    pixels = project(lenses, points)
    found = Lenses.of(rig)
    X = points.copy()
    for _ in range(6):
        p, J = project_with_jacobian(found, X)
        H, g = np.einsum("vnki,vnkj->nij", J, J), np.einsum("vnki,vnk->ni", J, pixels - p)
        X = X + np.linalg.solve(H, g[..., None])[..., 0]
    return remove_rigid((X - points).ravel(), points).reshape(-1, 3)


def triangulation_error(truth: RigState, solution: CalibrationSolution, points: np.ndarray) -> float:
    """Mean squared 3D error (m^2) of a calibration."""
    return float((triangulation_errors(truth, solution.rig, points) ** 2).sum() / len(points))


def exact_estimate(scene: Studio, truth: RigState, reference: int, rig: CameraRig) -> CameraRig:
    """The maximum of the likelihood next to the truth: no priors, no outliers, every parameter free."""
    C = len(rig)
    views, nothing = ViewTable.of(scene.observations), np.zeros((C, 9))
    free = free_parameters(C, reference)
    problem = Problem(views, scene.observations.points, free, nothing, nothing, 1e12)
    s = adjust(problem, truth, iterations=15, tolerance=1e-9).state
    cameras = zip(rig.cameras, s.K, s.intrinsics[:, 4:], s.R, s.t, strict=True)
    return CameraRig(tuple(replace(c, K=K, distortion=d, R=R, t=t) for c, K, d, R, t in cameras))


def points_inside(D: np.ndarray, solution: CalibrationSolution, error: np.ndarray) -> int:
    """Test points whose error lies in the 95 % ellipsoid that the stated covariance predicts."""
    of = D[:, solution.parameter_camera * CAMERA_BLOCK + solution.parameter_index].reshape(len(error), 3, -1)
    covariance = of @ solution.covariance @ of.transpose(0, 2, 1)
    distance = np.einsum("ni,ni->n", error, np.linalg.solve(covariance, error[..., None])[..., 0])
    return int((distance < chi2.ppf(0.95, 3)).sum())


def inside_share(truth: RigState, solution: CalibrationSolution) -> tuple[int, int]:
    """Cameras whose truth lies in the 95 % ellipsoid of their own block, and how many there are."""
    inside = total = 0
    for c in range(len(solution.rig)):
        mine = np.flatnonzero(solution.parameter_camera == c)
        index = solution.parameter_index[mine]
        camera = solution.rig.cameras[c]
        turn = RigidTransform(truth.R[c] @ camera.R.T, np.zeros(3)).rotation_vector
        found = np.r_[camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2], camera.distortion]
        error = np.r_[truth.intrinsics[c] - found, turn, truth.t[c] - camera.t][index]
        block = solution.covariance[np.ix_(mine, mine)]
        scale = np.sqrt(np.diag(block))
        distance = (error / scale) @ np.linalg.solve(block / scale / scale[:, None], error / scale)
        inside += bool(distance < chi2.ppf(0.95, len(mine)))
        total += 1
    return inside, total


def reference_of(solution: CalibrationSolution) -> int:
    """The camera whose frame is the rig's."""
    return int(np.argmin([np.linalg.norm(c.t) for c in solution.rig.cameras]))


@dataclass(frozen=True)
class Row:
    """What several studios of one kind gave."""

    error_mm: float
    bound_mm: float
    ratio_std: float
    to_exact: float
    cameras_inside: float
    points_inside: float
    seconds: float

    @property
    def ratio(self) -> float:
        return self.error_mm / self.bound_mm


def many_draws(
    cameras: int, points: np.ndarray, poses: int, draws: int, settings: CalibrationSettings, *, exact: bool = False
) -> Row:
    """Errors, bounds and coverage over several studios."""
    square, least, best = np.zeros(draws), np.zeros(draws), np.full(draws, np.nan)
    inside = np.zeros((draws, 4))
    seconds = 0.0
    for k in range(draws):
        scene = studio(cameras, poses, points, 1000 + k)
        start = time.process_time()
        solution = calibrate_cameras(scene.observations, settings)
        seconds += time.process_time() - start
        reference = reference_of(solution)
        truth = true_state(scene, reference)
        test = RigidTransform(scene.rig.R[reference], scene.rig.t[reference]).apply(volume())
        covariance, chosen = bound(scene, truth, reference)
        D = sensitivity(truth, test)
        least[k] = np.einsum("ij,jk,ik->", D[:, chosen], covariance, D[:, chosen]) / len(test)
        error = triangulation_errors(truth, solution.rig, test)
        square[k] = (error**2).sum() / len(test)
        if exact:
            rig = exact_estimate(scene, truth, reference, solution.rig)
            best[k] = (triangulation_errors(truth, rig, test) ** 2).sum() / len(test)
        inside[k] = *inside_share(truth, solution), points_inside(D, solution, error), len(test)
    mean, limit = square.mean(), least.mean()
    ratio_std = float(np.std(square / limit) / np.sqrt(draws) / (2 * np.sqrt(mean / limit)))
    total = inside.sum(0)
    return Row(
        1000 * float(np.sqrt(mean)), 1000 * float(np.sqrt(limit)), ratio_std, float(np.sqrt(mean / best.mean())),
        float(total[0] / total[1]), float(total[2] / total[3]), seconds / draws,
    )  # fmt: skip


def compare(
    cameras: int, points: np.ndarray, poses: int, draws: int, settings: CalibrationSettings
) -> tuple[float, ...]:
    """Error (mm), bound (mm), their ratio, coverage of the cameras, seconds per draw."""
    row = many_draws(cameras, points, poses, draws, settings)
    return row.error_mm, row.bound_mm, row.ratio, row.cameras_inside, row.seconds


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cameras", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--targets", nargs="+", default=["board", "wand"])
    parser.add_argument("--distortion", default="auto")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--speed", action="store_true")
    a = parser.parse_args()
    settings = CalibrationSettings(distortion=Distortion(a.distortion))
    for target in a.targets:
        points, poses = {"board": (board(), 200), "wand": (WAND, 1000)}[target]
        for cameras in a.cameras if a.draws else ():
            row = many_draws(cameras, points, poses, a.draws, settings, exact=a.exact)
            exactly = f" (to the exact estimate {row.to_exact:.3f})" if a.exact else ""
            say(
                f"{target:5s} {poses:4d} frames {cameras:2d} cameras {a.draws:3d} draws  "
                f"3D error {row.error_mm:.3f} mm  bound {row.bound_mm:.3f} mm  "
                f"ratio {row.ratio:.3f} +- {row.ratio_std:.3f}{exactly}  95 % ellipsoids hold "
                f"{100 * row.cameras_inside:.1f} % of cameras, {100 * row.points_inside:.1f} % of points  "
                f"{row.seconds:.2f} s"
            )
    if a.speed:
        for poses in (200, 2000):
            for cameras in (4, 8, 16, 32):
                scene = studio(cameras, poses, board(), 7)
                start = time.process_time()
                calibrate_cameras(scene.observations, settings)
                seconds = time.process_time() - start
                n = len(scene.observations)
                each = 1e6 * seconds / n
                say(f"{poses:5d} frames {cameras:2d} cameras {n:8d} corners {seconds:7.2f} s  {each:.1f} us/corner")


if __name__ == "__main__":
    main()
