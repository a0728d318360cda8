"""Time offsets and drifts of cameras to a fraction of a frame, from points that move.

Continuous-time bundle adjustment (Furgale et al. 2012, "Continuous-time batch estimation using
temporal basis functions"): each tracked point moves on a cubic spline, each camera sees it at the
times of its own clock, and splines, offsets and drifts are estimated together, so that the noise of
a track does not bias its time. The splines are eliminated (they couple only neighbours in time, a
banded system), which leaves as many unknowns as the clocks have, with their covariance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded
from scipy.linalg.lapack import dtbtrs

from calibration.errors import CalibrationError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_ITERATIONS = 15
_TOLERANCE_S = 1e-5
# Knots of the motion: people do not change direction faster than this.
_KNOT_S = 0.05
_LOOSE_ACCELERATION = 60.0  # m/s2, before the take has told its own
_LEAST_ACCELERATION = 0.5
_SMOOTHER = 1.3
_CUT = 3.0  # standard deviations from which a sample loses weight
_BAND = 12  # a cubic spline in 3D couples 4 knots of 3 coordinates
_BLOCK_S = 0.5
_NOISE_DRAWS = 3
# The errors of white noise, counted in blocks, exceed their formal size by chance up to about this.
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


@dataclass(frozen=True, eq=False)
class _Motion:
    """Cubic splines of all tracks: coefficients [K, 3] one after the other."""

    start: Array  # time of each track's first knot
    first: Integers  # its first coefficient
    count: Integers
    coefficients: Array

    def basis(self, track: Integers, time: Array) -> tuple[Integers, Array, Array]:
        """First of four coefficients [N], their weights [N, 4] and time derivatives [N, 4] (1/s)."""
        s = (time - self.start[track]) / _KNOT_S
        k = np.clip(np.floor(s).astype(np.int64), 0, self.count[track] - 4)
        u = s - k
        w = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], -1) / 6
        d = np.stack([-3 * (1 - u) ** 2, 9 * u**2 - 12 * u, -9 * u**2 + 6 * u + 3, 3 * u**2], -1) / (6 * _KNOT_S)
        return self.first[track] + k, w, d


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
    motion = problem.start_motion(clocks)
    acceleration = np.full(len(motion.coefficients), _LOOSE_ACCELERATION)
    for iteration in range(_ITERATIONS):
        step = problem.step(clocks, motion, acceleration, spent)
        clocks, motion, spent = step.clocks, step.motion, step.spent
        if step.change < _TOLERANCE_S and iteration > 2:
            break
        acceleration = problem.acceleration(motion)
    return step.clocks


@dataclass(frozen=True, eq=False)
class _Step:
    clocks: Clocks
    motion: _Motion
    change: float
    spent: float


class _Problem:
    def __init__(self, tracks: PointTracks, R: Array, t: Array, *, with_drift: bool, reference: int) -> None:
        self.data, self.R, self.t = tracks, R, t
        self.views = len(R)
        free = np.arange(self.views) != reference
        self.free = np.flatnonzero(np.concatenate([free, free & with_drift]))
        n = int(tracks.track.max()) + 1
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, tracks.track, tracks.time)
        np.maximum.at(high, tracks.track, tracks.time)
        self.low, self.high = low, high
        # Clocks are estimated at the take's middle and by what they gain to its end: in seconds both.
        self.middle = float(tracks.time.mean())
        self.half = max(float(np.abs(tracks.time - self.middle).max()), 1e-3)

    def _times(self, clocks: Clocks) -> Array:
        v = self.data.view
        return clocks.offset_s[v] + (1 + clocks.drift[v]) * self.data.time

    def start_motion(self, clocks: Clocks) -> _Motion:
        """Splines through linear triangulation (DLT), reweighted by depth twice."""
        reach = np.abs(clocks.offset_s).max() + 2 * _KNOT_S + 1e-3 * np.abs(self.high).max()
        times = self._times(clocks)
        n = len(self.low)
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, self.data.track, times)
        np.maximum.at(high, self.data.track, times)
        margin = 2 * _KNOT_S + min(reach, 0.1)
        count = np.ceil((high - low + 2 * margin) / _KNOT_S).astype(np.int64) + 4
        first = np.concatenate([[0], np.cumsum(count)[:-1]])
        motion = _Motion(low - margin, first, count, np.zeros((int(count.sum()), 3)))
        d = self.data
        R, t = self.R[d.view], self.t[d.view]
        A = d.ray[:, :, None] * R[:, None, 2] - R[:, :2]  # [N, 2, 3]
        b = t[:, :2] - d.ray * t[:, 2:]
        k, w, _ = motion.basis(d.track, times)
        depth = np.ones(len(k))
        acceleration = np.full(len(motion.coefficients), _LOOSE_ACCELERATION)
        for _ in range(3):
            weight = 1 / (depth * d.sigma) ** 2
            factor, rhs = self._normal(motion, k, w, A, b, weight / np.median(weight) * 1e4, acceleration)
            c = cho_solve_banded((factor, True), rhs.reshape(-1, 1)).reshape(-1, 3)
            motion = replace(motion, coefficients=c)
            X = np.einsum("nk,nkc->nc", w, c[k[:, None] + np.arange(4)])
            depth = np.maximum(np.einsum("nc,nc->n", R[:, 2], X) + t[:, 2], 0.2)
        return motion

    def _normal(
        self, motion: _Motion, k: Integers, w: Array, A: Array, b: Array, weight: Array, acceleration: Array
    ) -> tuple[Array, Array]:
        """Banded Cholesky factor of the splines' normal matrix, and right hand side [K, 3]."""
        size = 3 * len(motion.coefficients)
        band = np.zeros((_BAND, size))
        M = np.einsum("n,nri,nrj->nij", weight, A, A)
        for i in range(4):
            for j in range(i, 4):
                block = (w[:, i] * w[:, j])[:, None, None] * M
                for a in range(3):
                    for c in range(3):
                        row, column = 3 * (j - i) + c - a, 3 * (k + i) + a
                        if row >= 0:
                            band[row] += np.bincount(column, block[:, a, c], size)
        self._add_prior(band, motion, acceleration)
        rhs = self._gather(motion, k, w, np.einsum("n,nri,nr->ni", weight, A, b))
        try:
            return cholesky_banded(band, lower=True), rhs
        except LinAlgError:
            band[0] *= 1 + 1e-9
            band[0] += 1e-9 * band[0].max()
            return cholesky_banded(band, lower=True), rhs

    @staticmethod
    def _gather(motion: _Motion, k: Integers, w: Array, g: Array) -> Array:
        size = len(motion.coefficients)
        out = np.zeros((size, 3))
        for i in range(4):
            for c in range(3):
                out[:, c] += np.bincount(k + i, w[:, i] * g[:, c], size)
        return out

    @staticmethod
    def _prior_rows(motion: _Motion) -> Integers:
        """First coefficients of all second differences within a track."""
        last = np.zeros(len(motion.coefficients), bool)
        end = motion.first + motion.count
        last[end - 1] = True
        last[end - 2] = True
        return np.flatnonzero(~last)

    def _add_prior(self, band: Array, motion: _Motion, acceleration: Array) -> None:
        rows = self._prior_rows(motion)
        weight = 1 / (acceleration[rows] * _KNOT_S**2) ** 2
        for i, a in enumerate((1.0, -2.0, 1.0)):
            for j, b in enumerate((1.0, -2.0, 1.0)):
                if j >= i:
                    for c in range(3):
                        band[3 * (j - i)] += np.bincount(3 * (rows + i) + c, weight * a * b, band.shape[1])
        band[0] += 1e-6  # far less than any observation says

    def acceleration(self, motion: _Motion) -> Array:
        """Scale of the accelerations of each track's present spline, per coefficient [K], m/s2."""
        rows, c = self._prior_rows(motion), motion.coefficients
        second = (c[rows] - 2 * c[rows + 1] + c[rows + 2]) / _KNOT_S**2
        track = np.repeat(np.arange(len(motion.count)), motion.count)
        n = len(motion.count)
        square = np.bincount(track[rows], (second**2).mean(-1), n) / np.bincount(track[rows], minlength=n)
        # The most probable spline is smoother than the motion.
        return np.maximum(_LEAST_ACCELERATION, _SMOOTHER * np.sqrt(square))[track]

    def step(self, clocks: Clocks, motion: _Motion, acceleration: Array, spent: float) -> _Step:
        """One Gauss-Newton step on splines and clocks; `spent` parameters were fitted to the samples."""
        d, V = self.data, self.views
        k, w, dw = motion.basis(d.track, self._times(clocks))
        near = motion.coefficients[k[:, None] + np.arange(4)]
        X, velocity = np.einsum("nk,nkc->nc", w, near), np.einsum("nk,nkc->nc", dw, near)
        R, t = self.R[d.view], self.t[d.view]
        camera = np.einsum("nij,nj->ni", R, X) + t
        z = np.maximum(camera[:, 2], 0.1)
        projected = camera[:, :2] / z[:, None]
        J = (R[:, :2] - projected[:, :, None] * R[:, None, 2]) / z[:, None, None]  # [N, 2, 3]
        r = d.ray - projected
        speed = np.einsum("nij,nj->ni", J, velocity)
        weight, scale = self._weights(r, spent)
        rhs_observed = np.einsum("nri,nr->ni", J, r)
        factor, _ = self._normal(motion, k, w, J, r, weight, acceleration)
        # The prior pulls the splines too.
        pull = self._prior_gradient(motion, motion.coefficients, acceleration)
        rhs = self._gather(motion, k, w, weight[:, None] * rhs_observed) - pull
        P = len(self.free)
        lever = np.stack([np.ones(len(r)), (d.time - self.middle) / self.half])
        kind, camera_of = self.free // V, self.free % V
        columns = lever[kind] * (d.view == camera_of[:, None])  # [P, N]
        cross = self._cross(motion, columns, weight, J, speed, k, w)
        probe = np.random.default_rng(0).choice([-1.0, 1.0], rhs.shape)
        probed = self._prior_gradient(motion, probe, acceleration).ravel()
        solved = cho_solve_banded((factor, True), np.column_stack([rhs.ravel(), cross, probed]))
        # Trace of the hat matrix (Hutchinson's estimate): what the splines take of the samples' freedom.
        spent = probe.size - float(probe.ravel() @ solved[:, -1])
        solved = solved[:, :-1]
        energy = weight * (speed**2).sum(-1)
        H = np.einsum("pn,n,qn->pq", columns, energy, columns) - cross.T @ solved[:, 1:]
        g = columns @ (weight * (speed * r).sum(-1)) - cross.T @ solved[:, 0]
        delta = np.linalg.pinv(H, hermitian=True) @ g if P else g
        change = solved[:, 0] - solved[:, 1:] @ delta
        moved = replace(motion, coefficients=motion.coefficients + change.reshape(-1, 3))
        C = self._covariance(H, self._noise_information(motion, factor, columns, weight, J, k, w, dw))
        C = C * self._inflation(C, columns, weight, speed, r, J, k, w, solved[:, 1:], clocks)
        return _Step(self._moved(clocks, delta, C, scale), moved, float(np.abs(delta).max(initial=0.0)), spent)

    @staticmethod
    def _covariance(H: Array, noise: Array) -> Array:
        """Covariance of the clocks when `noise` of the information H comes from errors of the speeds.

        Speeds are estimated too, as many as there are samples, so that H counts their errors as motion
        (the problem of Neyman & Scott 1948): the score varies by H, but answers to a change of the
        clocks by H - noise only.
        """
        if not len(H):
            return H
        values, vectors = np.linalg.eigh(H)
        values = np.maximum(values, 1e-300)
        half = vectors / np.sqrt(values)
        share, axes = np.linalg.eigh(half.T @ noise @ half)
        # All of it noise: nothing is known.
        true = np.clip(1 - share, 1e-3, 1.0)
        turn = half @ axes
        out: Array = (turn / true**2) @ turn.T
        return out

    def _noise_information(
        self, motion: _Motion, factor: Array, columns: Array, weight: Array, J: Array, k: Integers, w: Array, dw: Array
    ) -> Array:
        """The part of the clocks' information that errors of the speeds make, from random errors drawn."""
        P = len(columns)
        total = np.zeros((P, P))
        rng = np.random.default_rng(1)
        for _ in range(_NOISE_DRAWS):
            drawn, _ = dtbtrs(factor, rng.normal(size=(factor.shape[1], 1)), uplo="L", trans="T")
            near = drawn.reshape(-1, 3)[k[:, None] + np.arange(4)]
            error = np.einsum("nri,ni->nr", J, np.einsum("nk,nkc->nc", dw, near))
            cross = self._cross(motion, columns, weight, J, error, k, w)
            energy = weight * (error**2).sum(-1)
            total += np.einsum("pn,n,qn->pq", columns, energy, columns)
            total -= cross.T @ cho_solve_banded((factor, True), cross)
        out: Array = total / _NOISE_DRAWS
        return out

    def _cross(
        self, motion: _Motion, columns: Array, weight: Array, J: Array, speed: Array, k: Integers, w: Array
    ) -> Array:
        """Products of the splines' and the clocks' Jacobians [3K, P]."""
        parts = [self._gather(motion, k, w, np.einsum("n,nri,nr->ni", weight * c, J, speed)).ravel() for c in columns]
        return np.stack(parts, 1) if parts else np.zeros((3 * len(motion.coefficients), 0))

    def _prior_gradient(self, motion: _Motion, c: Array, acceleration: Array) -> Array:
        rows = self._prior_rows(motion)
        weight = 1 / (acceleration[rows, None] * _KNOT_S**2) ** 2
        second = weight * (c[rows] - 2 * c[rows + 1] + c[rows + 2])
        out = np.zeros_like(c)
        for i, a in enumerate((1.0, -2.0, 1.0)):
            out[rows + i] += a * second
        return out

    def _weights(self, r: Array, spent: float) -> tuple[Array, Array]:
        """Weights [N] of the samples and the scale [V] of each view's errors."""
        freedom = max(1 - spent / (2 * len(r)), 0.1)
        d = self.data
        relative = np.abs(r).max(-1) / d.sigma
        scale = np.ones(self.views)
        for v in range(self.views):
            mine = relative[d.view == v]
            if len(mine):
                # The larger of two Gaussian coordinates has its median at 1.05 standard deviations.
                scale[v] = max(np.median(mine) / 1.0515 / np.sqrt(freedom), 1e-7)
        x = np.linalg.norm(r, axis=-1) / (scale[d.view] * d.sigma)
        return np.minimum(1.0, (_CUT / np.maximum(x, 1e-9)) ** 2) / (scale[d.view] * d.sigma) ** 2, scale

    def _inflation(
        self, C: Array, columns: Array, weight: Array, speed: Array, r: Array, J: Array, k: Integers, w: Array,
        solved: Array, clocks: Clocks,
    ) -> Array:  # fmt: skip
        """Factor [P, P] on the covariance for errors that stay alike over time (sandwich estimate)."""
        if not len(C):
            return np.ones_like(C)
        left = solved.reshape(-1, 3, len(C))
        own = np.empty((len(C), len(r)))
        for p in range(len(C)):
            taken = np.einsum("nk,nkc->nc", w, left[..., p][k[:, None] + np.arange(4)])
            lever = columns[p][:, None] * speed - np.einsum("nri,ni->nr", J, taken)
            own[p] = weight * (lever * r).sum(-1)
        block = np.floor(self._times(clocks) / _BLOCK_S).astype(np.int64)
        block -= block.min()
        sums = np.stack([np.bincount(block, o) for o in own])
        spread = np.sqrt(np.diag(C @ (sums @ sums.T) @ C) / np.maximum(np.diag(C), 1e-300))
        factor = np.where(spread > _CHANCE, spread, 1.0)
        return np.outer(factor, factor)

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
