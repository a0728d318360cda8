"""Time offsets and drifts of cameras to a fraction of a frame, from points that move.

Continuous-time bundle adjustment (Furgale et al. 2012, "Continuous-time batch estimation using
temporal basis functions"): each tracked point moves on a cubic spline, each camera sees it at the
times of its own clock, and splines, offsets and drifts are estimated together, so that the noise of
a track does not bias its time. The splines are eliminated (they couple only neighbours in time, a
banded system), which leaves as many unknowns as the clocks have, with their covariance. How smooth
each track is, it tells itself (expectation maximisation over its accelerations).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.time_splines import KNOT_S, Basis, Normal, Smoothness, Splines

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_ITERATIONS = 15
_TOLERANCE_S = 1e-5
_LOOSE_ACCELERATION = 60.0  # m/s2, before the take has told its own
_LEAST_ACCELERATION = 0.5
_CUT = 3.0  # standard deviations from which a sample loses weight
# Errors of a track are taken for alike within this long, those of a whole view within the shorter one.
_TRACK_BLOCK_S, _VIEW_BLOCK_S = 1.0, 0.5
# White noise, counted in blocks of all tracks together, exceeds its formal size by chance up to about this.
_CHANCE = 1.5


@dataclass(frozen=True, eq=False)
class PointTracks:
    """Samples of points that move, a flat table of N.

    Attributes
    ----------
    view, track : int64 [N]
        Camera, and point in one continuous stretch of time (its own spline).
    time : float64 [N]
        On the camera's own clock, s.
    ray : float64 [N, 2]
        Undistorted normalised image coordinates.
    sigma : float64 [N]
        Relative standard deviation; the scale of each view is estimated.
    """

    view: Integers
    track: Integers
    time: Array
    ray: Array
    sigma: Array


@dataclass(frozen=True, eq=False)
class Clocks:
    """When cameras expose: common time = offset + (1 + drift) * own time.

    Attributes
    ----------
    offset_s, drift : float64 [V]
        The reference camera's are 0.
    covariance : float64 [2V, 2V]
        Of offsets, then drifts; zero for what was not estimated.
    residual : float64 [V]
        Robust standard deviation of the samples, normalised image coordinates per axis.
    """

    offset_s: Array
    drift: Array
    covariance: Array
    residual: Array

    @property
    def offset_std_s(self) -> Array:
        """Standard deviations [V] of the offsets at the clocks' zero, s."""
        return np.sqrt(np.diag(self.covariance)[: len(self.offset_s)])

    @property
    def drift_std(self) -> Array:
        """Standard deviations [V] of the drifts."""
        return np.sqrt(np.diag(self.covariance)[len(self.offset_s) :])


def refine_clocks(
    tracks: PointTracks, R: Array, t: Array, start: Clocks, *, with_drift: bool, reference: int = 0
) -> Clocks:
    """Estimate offsets (and drifts) from a start within about two frames.

    Parameters
    ----------
    tracks : PointTracks
    R : float64 [V, 3, 3], t : float64 [V, 3]
        World to camera.
    start : Clocks
    with_drift : bool
        Whether the take is long enough to tell drifts.
    reference : int
        The camera whose clock is the common one.

    Returns
    -------
    Clocks
        Standard deviations are NaN for a camera that shares no moving point with others.

    Raises
    ------
    CalibrationError
        No samples.
    """
    if not len(tracks.time):
        raise CalibrationError("no moving points to tell the cameras' times from", hint="see the stage's log")
    problem = _Problem(tracks, R, t, with_drift=with_drift, reference=reference)
    clocks, spent = start, 0.0
    splines = problem.start_motion(clocks)
    acceleration = np.full(len(splines.count), _LOOSE_ACCELERATION)
    for iteration in range(_ITERATIONS):
        step = problem.step(clocks, splines, acceleration, spent)
        clocks, splines, spent = step.clocks, step.splines, step.spent
        if step.change < _TOLERANCE_S and iteration > 3:
            break
        acceleration = problem.acceleration(splines, step.normal, iteration)
    return clocks


@dataclass(frozen=True, eq=False)
class _Step:
    clocks: Clocks
    splines: Splines
    normal: Normal
    change: float
    spent: float


@dataclass(frozen=True, eq=False)
class _Samples:
    """Where the splines are seen and how it answers to them: residual, image speed and acceleration [N, 2]."""

    basis: Basis
    J: Array
    residual: Array
    speed: Array
    bend: Array
    weight: Array
    scale: Array


class _Problem:
    def __init__(self, tracks: PointTracks, R: Array, t: Array, *, with_drift: bool, reference: int) -> None:
        self.data, self.R, self.t = tracks, R, t
        self.views = len(R)
        self.tracks = int(tracks.track.max()) + 1
        free = (np.arange(self.views) != reference) & np.isin(np.arange(self.views), tracks.view)
        self.free = np.flatnonzero(np.concatenate([free, free & with_drift]))
        # Clocks are estimated at the take's middle and by what they gain to its end: in seconds both.
        self.middle = float(tracks.time.mean())
        self.half = max(float(np.abs(tracks.time - self.middle).max()), 1e-3)
        lever = np.stack([np.ones(len(tracks.time)), (tracks.time - self.middle) / self.half])
        kind, camera = self.free // self.views, self.free % self.views
        self.levers = lever[kind] * (tracks.view == camera[:, None])  # [P, N]

    def _times(self, clocks: Clocks) -> Array:
        v = self.data.view
        return clocks.offset_s[v] + (1 + clocks.drift[v]) * self.data.time

    def start_motion(self, clocks: Clocks) -> Splines:
        """Splines through linear triangulation (DLT), reweighted by depth twice."""
        times, d = self._times(clocks), self.data
        low, high = np.full(self.tracks, np.inf), np.full(self.tracks, -np.inf)
        np.minimum.at(low, d.track, times)
        np.maximum.at(high, d.track, times)
        margin = 2 * KNOT_S + 0.1
        splines = Splines.spanning(low - margin, high + margin)
        size = len(splines.coefficients)
        R, t = self.R[d.view], self.t[d.view]
        A = d.ray[:, :, None] * R[:, None, 2] - R[:, :2]  # [N, 2, 3]
        b = t[:, :2] - d.ray * t[:, 2:]
        basis = splines.basis(d.track, times)
        prior = Smoothness.of(splines, np.full(self.tracks, _LOOSE_ACCELERATION))
        depth = np.ones(len(times))
        for _ in range(3):
            weight = 1 / (depth * d.sigma) ** 2
            weight *= 1e4 / np.median(weight)
            normal = Normal.of(basis, A, weight, prior, size)
            rhs = basis.gather(basis.value, np.einsum("n,nri,nr->ni", weight, A, b), size)
            c = normal.solve(rhs.reshape(-1, 1)).reshape(-1, 3)
            X = basis.of(basis.value, c)
            depth = np.maximum(np.einsum("nc,nc->n", R[:, 2], X) + t[:, 2], 0.2)
        return replace(splines, coefficients=c)

    def acceleration(self, splines: Splines, normal: Normal, seed: int) -> Array:
        """Scale of each track's accelerations [n], m/s2: those of the spline and what its errors may hide."""
        prior = Smoothness.of(splines, np.ones(self.tracks))
        hidden = prior.differences(normal.draw(np.random.default_rng(seed)))
        square = (prior.differences(splines.coefficients) ** 2 + hidden**2).mean(-1)
        track = np.repeat(np.arange(self.tracks), splines.count)[prior.rows]
        mean = np.bincount(track, square, self.tracks) / np.bincount(track, minlength=self.tracks)
        return np.maximum(_LEAST_ACCELERATION, np.sqrt(mean) / KNOT_S**2)

    def _samples(self, clocks: Clocks, splines: Splines, spent: float) -> _Samples:
        d, c = self.data, splines.coefficients
        basis = splines.basis(d.track, self._times(clocks))
        R, t = self.R[d.view], self.t[d.view]
        camera = np.einsum("nij,nj->ni", R, basis.of(basis.value, c)) + t
        z = np.maximum(camera[:, 2], 0.1)
        projected = camera[:, :2] / z[:, None]
        J = (R[:, :2] - projected[:, :, None] * R[:, None, 2]) / z[:, None, None]  # [N, 2, 3]
        residual = d.ray - projected
        speed, bend = (np.einsum("nij,nj->ni", J, basis.of(w, c)) for w in (basis.slope, basis.bend))
        weight, scale = self._weights(residual, spent)
        return _Samples(basis, J, residual, speed, bend, weight, scale)

    def step(self, clocks: Clocks, splines: Splines, acceleration: Array, spent: float) -> _Step:
        """One Gauss-Newton step on splines and clocks; `spent` parameters were fitted to the samples."""
        s = self._samples(clocks, splines, spent)
        size, P = len(splines.coefficients), len(self.free)
        prior = Smoothness.of(splines, acceleration)
        normal = Normal.of(s.basis, s.J, s.weight, prior, size)
        pushed = np.einsum("n,nri,nr->ni", s.weight, s.J, s.residual)
        moved = np.einsum("n,nri,nr->ni", s.weight, s.J, s.speed)
        rhs = s.basis.gather(s.basis.value, pushed, size) - prior.gradient(splines.coefficients)
        empty = [np.zeros((3 * size, 0))]
        cross = np.column_stack(
            empty + [s.basis.gather(s.basis.value, lever[:, None] * moved, size).ravel() for lever in self.levers]
        )
        # The exact second derivatives also turn the residuals' pull with the motion.
        turned = cross - np.column_stack(
            empty + [s.basis.gather(s.basis.slope, lever[:, None] * pushed, size).ravel() for lever in self.levers]
        )
        probe = np.random.default_rng(0).choice([-1.0, 1.0], rhs.shape)
        solved = normal.solve(np.column_stack([rhs.ravel(), cross, turned, prior.gradient(probe).ravel()]))
        # Trace of the hat matrix (Hutchinson's estimate): what the splines take of the samples' freedom.
        spent = probe.size - float(probe.ravel() @ solved[:, -1])
        energy = s.weight * (s.speed**2).sum(-1)
        H = np.einsum("pn,n,qn->pq", self.levers, energy, self.levers) - cross.T @ solved[:, 1 : P + 1]
        g = self.levers @ (s.weight * (s.speed * s.residual).sum(-1)) - cross.T @ solved[:, 0]
        delta = np.linalg.pinv(H, hermitian=True) @ g if P else g
        change = (solved[:, 0] - solved[:, 1 : P + 1] @ delta).reshape(-1, 3)
        energy = energy - s.weight * (s.bend * s.residual).sum(-1)
        exact = np.einsum("pn,n,qn->pq", self.levers, energy, self.levers) - turned.T @ solved[:, P + 1 : -1]
        C = self._covariance(exact, s, solved[:, P + 1 : -1], self._times(clocks), spent)
        after = self._moved(clocks, delta, C, s.scale)
        splines = replace(splines, coefficients=splines.coefficients + change)
        return _Step(after, splines, normal, float(np.abs(delta).max(initial=0.0)), spent)

    def _covariance(self, information: Array, s: _Samples, taken: Array, times: Array, spent: float) -> Array:
        """Covariance of the clocks [P, P].

        The inverse of the likelihood's exact curvature: Gauss-Newton's would count the errors of the
        estimated speeds as motion (Neyman & Scott 1948). Larger where the samples' parts of the score,
        summed over stretches of time, vary more than that: errors that stay alike (sandwich estimate).
        """
        P = len(information)
        if not P:
            return information
        values, vectors = np.linalg.eigh((information + information.T) / 2)
        # No curvature, no knowledge.
        C: Array = (vectors / np.maximum(values, 1e-12 * max(values.max(), 1e-12))) @ vectors.T
        own = np.empty((P, len(times)))
        for p in range(P):
            follows = np.einsum("nri,ni->nr", s.J, s.basis.of(s.basis.value, taken[:, p].reshape(-1, 3)))
            own[p] = s.weight * ((self.levers[p][:, None] * s.speed - follows) * s.residual).sum(-1)
        # Residuals are smaller than errors by what the splines took.
        variance = np.maximum(np.diag(C), 1e-300) * self._freedom(spent)
        spread = np.ones(P)
        for length, groups, chance in (
            (_TRACK_BLOCK_S, self.data.track, 1.0), (_VIEW_BLOCK_S, np.zeros_like(self.data.track), _CHANCE)
        ):  # fmt: skip
            block = np.floor((times - times.min()) / length).astype(np.int64)
            _, member = np.unique(groups * (block.max() + 1) + block, return_inverse=True)
            sums = np.stack([np.bincount(member, o) for o in own])
            ratio = np.sqrt(((C @ sums) ** 2).sum(1) / variance)
            spread = np.where(ratio > chance, np.maximum(spread, ratio), spread)
        return C * np.outer(spread, spread)

    def _freedom(self, spent: float) -> float:
        """What share of the samples' freedom the splines left."""
        return max(1 - spent / (2 * len(self.data.time)), 0.1)

    def _weights(self, r: Array, spent: float) -> tuple[Array, Array]:
        """Weights [N] of the samples and the scale [V] of each view's errors."""
        freedom, d = self._freedom(spent), self.data
        relative = np.abs(r).max(-1) / d.sigma
        scale = np.ones(self.views)
        for v in range(self.views):
            mine = relative[d.view == v]
            if len(mine):
                # The larger of two Gaussian coordinates has its median at 1.05 standard deviations.
                scale[v] = max(np.median(mine) / 1.0515 / np.sqrt(freedom), 1e-7)
        x = np.linalg.norm(r, axis=-1) / (scale[d.view] * d.sigma)
        return np.minimum(1.0, (_CUT / np.maximum(x, 1e-9)) ** 2) / (scale[d.view] * d.sigma) ** 2, scale

    def _moved(self, clocks: Clocks, delta: Array, C: Array, scale: Array) -> Clocks:
        V = self.views
        full = np.zeros(2 * V)
        full[self.free] = delta
        # From (offset at the middle, gain to the end) to (offset at zero, drift).
        turn = np.eye(2 * V)
        turn[np.arange(V), V + np.arange(V)] = -self.middle / self.half
        turn[V + np.arange(V), V + np.arange(V)] = 1 / self.half
        covariance = np.zeros((2 * V, 2 * V))
        covariance[np.ix_(self.free, self.free)] = C
        moved = turn @ full
        return Clocks(clocks.offset_s + moved[:V], clocks.drift + moved[V:], turn @ covariance @ turn.T, scale)
