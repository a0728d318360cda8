"""Robust bundle adjustment of cameras and target poses: Levenberg-Marquardt with an estimated noise mixture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.normal_equations import NormalEquations, residuals
from calibration.rig_state import CAMERA_BLOCK, INTRINSICS, TIME_OFFSET, RigState
from calibration.robust import NoiseMixture
from calibration.view_table import ViewTable

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LARGEST_DAMPING = 1e8
_SMALLEST_DAMPING = 1e-12


@dataclass(frozen=True, eq=False)
class Problem:
    """What is adjusted, and what is known beforehand.

    Attributes
    ----------
    views : ViewTable
        Only views that count.
    points : float64 [P, 3]
        Of the target, m.
    free : bool [C, 16]
        Camera parameters that may move; the gauge is fixed by those that may not.
    prior_mean, prior_information : float64 [C, 9]
        Of the intrinsics: what they should be near, and 1 / standard deviation^2 (0: no opinion).
    area : float
        Of the images, px^2.
    time_std : float
        Of time offsets that nothing is known of (s), so that a target at rest does no harm.
    """

    views: ViewTable
    points: Array
    free: Bools
    prior_mean: Array
    prior_information: Array
    area: float
    time_std: float = np.inf

    def prior_cost(self, state: RigState) -> float:
        """Half the squared deviation from the prior."""
        lens = (self.prior_information * (state.intrinsics - self.prior_mean) ** 2).sum()
        return float(0.5 * lens + 0.5 * (state.offset**2).sum() / self.time_std**2)


@dataclass(frozen=True, eq=False)
class Adjusted:
    """Result of a bundle adjustment.

    Attributes
    ----------
    state : RigState
    noise : NoiseMixture
    residual : float64 [M, S, 2]
        Observed minus projected, px; NaN behind the camera, 0 in empty slots.
    inlier : float64 [M, S]
        Probability of being good; 0 in empty slots.
    iterations : int
    converged : bool
    """

    state: RigState
    noise: NoiseMixture
    residual: Array
    inlier: Array
    iterations: int
    converged: bool


# Behind the camera counts as a miss by this much, so that a step there is refused.
_BEHIND_PX2 = 1e8


def _squared(residual: Array) -> Array:
    return np.where(np.isfinite(residual).all(-1), (residual**2).sum(-1), _BEHIND_PX2)


def degrees_of_freedom_share(problem: Problem, inlier: Array) -> float:
    """Degrees of freedom per observed coordinate: fits make residuals smaller than the noise."""
    seen = float(inlier[problem.views.seen].sum())
    per_pose = POSE_FREEDOM if np.linalg.matrix_rank(problem.points - problem.points.mean(0), tol=1e-6) > 1 else 5
    parameters = problem.free.sum() + per_pose * len(np.unique(problem.views.pose))
    return float(np.clip(1 - parameters / max(2 * seen, 1.0), 0.05, 1.0))


POSE_FREEDOM = 6


def _with_priors(problem: Problem, equations: NormalEquations, state: RigState) -> NormalEquations:
    U, u = equations.U.copy(), equations.u.copy()
    i = np.arange(INTRINSICS)
    U[:, i, i] += problem.prior_information
    u[:, :INTRINSICS] += problem.prior_information * (problem.prior_mean - state.intrinsics)
    U[:, TIME_OFFSET, TIME_OFFSET] += 1 / problem.time_std**2
    u[:, TIME_OFFSET] -= state.offset / problem.time_std**2
    V = equations.V
    spread = problem.points - problem.points.mean(0)
    _, size, axes = np.linalg.svd(spread, full_matrices=False)
    if size[1] < 1e-6 * size[0]:
        # A wand's turn about itself shows in no image: hold it, which costs nothing.
        axis = state.target_rotation @ axes[0]
        strength = np.einsum("bii->b", V[:, :3, :3]) / 3
        V = V.copy()
        V[:, :3, :3] += strength[:, None, None] * axis[:, :, None] * axis[:, None, :]
    return replace(equations, U=U, u=u, V=V)


def linearise(problem: Problem, state: RigState, weights: Array) -> NormalEquations:
    """Normal equations with priors and gauge; `weights` [M, S] in 1/px^2."""
    return _with_priors(problem, NormalEquations.build(problem.views, state, problem.points, weights), state)


def adjust(problem: Problem, state: RigState, *, iterations: int = 50, tolerance: float = 1e-10) -> Adjusted:
    """Minimise the reprojection error from `state`, with outliers weighted away.

    Parameters
    ----------
    problem : Problem
    state : RigState
        Start values.
    iterations : int
        At most so many linearisations.
    tolerance : float
        Relative decrease of the cost at which to stop.

    Notes
    -----
    Iteratively reweighted least squares: each linearisation uses the probability of being good as
    weight, under the scale and the outlier share of the step before; so the kernel narrows as the fit
    improves.
    """
    seen = problem.views.seen
    residual = residuals(problem.views, state, problem.points)
    squared = _squared(residual)
    noise = NoiseMixture.start(squared, seen, problem.area)
    damping, done, converged = 1e-4, 0, False
    while done < iterations and not converged:
        done += 1
        inlier = noise.inlier_probability(squared, seen)
        weights = np.where(squared < _BEHIND_PX2, inlier, 0.0) / noise.spread**2
        equations = linearise(problem, state, weights)
        before = 0.5 * float((weights * squared).sum()) + problem.prior_cost(state)
        after = before
        while damping < _LARGEST_DAMPING:
            moved = _step(problem, equations, damping, state)
            if moved is not None:
                trial = residuals(problem.views, moved, problem.points)
                cost = 0.5 * float((inlier / noise.spread**2 * _squared(trial)).sum()) + problem.prior_cost(moved)
                if cost <= before:
                    state, residual, squared, after = moved, trial, _squared(trial), cost
                    break
            damping *= 10
        converged = damping >= _LARGEST_DAMPING
        damping = max(damping * 0.1, _SMALLEST_DAMPING)
        old, noise = noise, noise.updated(squared, seen)
        settled = abs(noise.spread / old.spread - 1) < 1e-4
        converged = converged or (settled and before - after < tolerance * max(abs(before), 1.0))
    return Adjusted(state, noise, residual, noise.inlier_probability(squared, seen), done, converged)


def _step(problem: Problem, equations: NormalEquations, damping: float, state: RigState) -> RigState | None:
    """The stepped state; None where the system cannot be solved or focal lengths turn negative."""
    try:
        reduced = equations.reduced(damping, problem.free)
        cameras = reduced.solve(len(state.t))
    except np.linalg.LinAlgError:
        return None
    poses = equations.pose_steps(reduced, cameras)
    if not (np.isfinite(cameras).all() and np.isfinite(poses).all()):
        return None
    moved = state.moved(cameras, poses)
    return moved if (moved.intrinsics[:, :2] > 0).all() else None


def free_parameters(n_cameras: int, reference: int | None) -> Bools:
    """Bool [C, 16]: all but the reference camera's pose and the time offsets."""
    free = np.ones((n_cameras, CAMERA_BLOCK), dtype=bool)
    free[:, CAMERA_BLOCK - 1] = False
    if reference is not None:
        free[reference, INTRINSICS : CAMERA_BLOCK - 1] = False
    return free
