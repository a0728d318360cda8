"""The most probable trajectory given every sample's covariance and a smoothness learnt from it.

Model of one joint's trajectory x (an unbroken run of N samples at spacing dt):

- observation: y_t - x_t is normal with the sample's own covariance Sigma_t, or, at a rate learnt
  per joint, an outlier that is thirty times as wide: a sample that contradicts its neighbours loses
  its weight. The first steps use a Student-t instead, which cannot lock on to outliers. Errors that
  last over several frames are counted as such (`mocap.filtering.observations`);
- motion: the acceleration is a first-order autoregression (Singer's model, IEEE Trans. Aerospace 6,
  1970) with the correlation time of body movement and a variance that follows the activity of the
  joint and of those it is linked to (`mocap.filtering.motion`);
- bones: the distance of linked joints is constant up to a spread, both learnt from the take
  (`mocap.filtering.bones`).

Levels, activities and weights are learnt with the posterior covariance of x taken into account (so
that smooth noise is not taken for motion): every step is one banded solve per joint, linear in
time. The Student-t is a scale mixture of normals (Lange, Little & Taylor, JASA 84, 1989).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from mocap.filtering.banded import add_difference, assemble, cholesky, inverse_band, solve
from mocap.filtering.gaps import Mask, runs
from mocap.filtering.motion import first_activity, learn_activity, settle_activity
from mocap.filtering.observations import correlated_equations, roots
from mocap.filtering.smoother_state import Lesson, Samples, State
from mocap.persistence import Persistence

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

ORDER = 3
"""Order of the difference that is noise: the acceleration's change beyond its decay."""

# Correlation time of the acceleration, seconds: 0.08 to 0.09 in 165 CMU takes of all kinds (sampled at
# 12.5 Hz, where the capture's own noise does not count), 0.1 in the project's made-up motion. White
# accelerations (0 s) make the posterior a quarter too wide; constant jerk follows outliers.
_TAU_S = 0.1
# No part of a living body is stiller: sway and tremor, (m/s2)^2 per axis.
_LEAST_ACCELERATION2 = 1e-4
# Precision of the motion over that of the best sample, at most: what double precision can solve.
_STIFFEST = 1e10

# Degrees of freedom of the observations' tails while the trajectory is still far from settled. In
# these first steps the local level is a median over samples enough to outnumber those that one
# outlier touches; a mean would follow the outlier.
_TAIL = 6.0
_SETTLING = 8
_STEPS = 12
# An outlier's standard deviation is this many times that of its covariance.
_OUTLIER_SCALE = 30.0
_FIRST_OUTLIER_RATE = 0.02
# Variance that an activity learnt from one sample adds, as a share; falls with the square of the number.
_ACTIVITY_DOUBT = 0.4
# Half width of "local" in time, seconds.
_LOCAL_S = 0.1


def smooth(
    positions: Array, covariance: Array, valid: Mask, present: Mask, row_dt: Array, part: Ints,
    bones: Ints | None = None, joints: int | None = None, hold_lengths: bool = True,
) -> tuple[Array, Array]:  # fmt: skip
    """Smooth every unbroken run of every series; gaps inside runs are estimated.

    Parameters
    ----------
    positions, covariance, valid, present, row_dt, part : as in `Samples`
    bones : int [B, 2], optional
        Linked joints of a person: they move and rest together, and their distance is nearly constant.
    joints : int, optional
        Joints of a person; S is persons x joints. All series unless given.
    hold_lengths : bool
        Whether use is made of the distances.

    Returns
    -------
    positions, covariance
        NaN outside runs. Runs of no more than ORDER samples stay as they are.
    """
    samples = Samples(positions, covariance, valid, present, row_dt, part)
    return smooth_with(samples, bones, joints, hold_lengths)[:2]


def smooth_with(
    samples: Samples, bones: Ints | None, joints: int | None, hold_lengths: bool, lesson: Lesson | None = None
) -> tuple[Array, Array, Lesson]:
    """Smooth as `smooth` does, with what is to be learnt given or, else, learnt from the samples themselves.

    With a lesson every sample is treated as it was when the lesson was learnt, so that a part of a
    take, with some seconds of context, comes out as in the whole.
    """
    joints = joints or samples.positions.shape[1]
    state = _start(samples, lesson)
    links = np.eye(joints)
    bones = np.empty((0, 2), np.int64) if bones is None else bones
    if len(bones):
        links[bones[:, 0], bones[:, 1]] = links[bones[:, 1], bones[:, 0]] = 1
    first = np.where([len(s) > 0 for s in state.spans], state.level, np.nan)
    level, rate = _learn(state, links, lesson)
    trees = None
    if hold_lengths and len(bones):
        from mocap.filtering.bones import hold_bones, learn_trees

        trees = learn_trees(state, bones, joints) if lesson is None or lesson.trees is None else lesson.trees
        hold_bones(state, trees)
    settle_covariance(state)
    x, cov = np.swapaxes(state.x, 0, 1), np.swapaxes(state.covariance, 0, 1)
    present = samples.present
    x, cov = np.where(present[..., None], x, np.nan), np.where(present[..., None, None], cov, np.nan)
    return x, cov, Lesson(first, level, rate, trees)


@njit(cache=True)  # type: ignore[misc]
def difference_coefficients(dt: float) -> Array:
    """Coefficients [4] of the change of the acceleration beyond its decay over dt seconds, oldest sample first."""
    phi = np.exp(-dt / _TAU_S)
    return np.array([-phi, 1.0 + 2.0 * phi, -2.0 - phi, 1.0])


@njit(cache=True)  # type: ignore[misc]
def difference_scale(dt: float) -> float:
    """Variance of that change over the acceleration's, s^4."""
    return dt**4 * (1.0 - np.exp(-2.0 * dt / _TAU_S))


def _start(samples: Samples, lesson: Lesson | None = None) -> State:
    positions, covariance, valid, present = samples.positions, samples.covariance, samples.valid, samples.present
    row_dt, part = samples.row_dt, samples.part
    N, S = present.shape
    y = np.ascontiguousarray(np.swapaxes(np.nan_to_num(positions), 0, 1))
    # What does not change cannot be told from the trajectory: it is none of the noise about it.
    cov = np.ascontiguousarray(np.swapaxes(np.nan_to_num(covariance), 0, 1)) * samples.persistence.changing
    # The floor of 0.1 mm keeps the equations regular.
    information = np.where(valid.T[..., None, None], np.linalg.inv(cov + 1e-8 * np.eye(3)), 0.0)
    ends = np.concatenate([[0], np.flatnonzero(np.diff(part)) + 1, [N]])
    parts = [slice(int(a), int(b)) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    spans: list[list[tuple[int, int]]] = [[] for _ in range(S)]
    for rows in parts:
        for a, b, series in runs(present[rows]):
            for s in series.tolist() if b - a > ORDER else ():
                spans[s].append((rows.start + a, rows.start + b))
    overlap = np.ones((N, S, 2)) if samples.overlap is None else samples.overlap
    state = State(
        y=y, information=information, present=np.ascontiguousarray(present.T),
        spans=[np.array(sorted(s), np.int64).reshape(-1, 2) for s in spans], dt=row_dt, parts=parts, x=y.copy(),
        covariance=cov, weight=np.ones((S, N)), square=np.zeros((S, N)), variance=np.zeros((S, N)),
        level=np.ones(S), outlier_rate=np.zeros(S), activity=np.ones((S, N)), freedom=np.full((S, N), np.inf),
        credit=np.ones((S, N)) if samples.credit is None else np.ascontiguousarray(samples.credit.T), told=[None] * S,
        persistence=samples.persistence, overlap=np.ascontiguousarray(np.swapaxes(overlap, 0, 1)),
        root=np.empty((S, 0, 3, 3)) if samples.persistence.is_white else roots(information),
    )  # fmt: skip
    noise, half = np.trace(cov, axis1=-2, axis2=-1), _settling_half(row_dt)
    energy = np.zeros(N)
    for s in range(S):
        if len(state.spans[s]):
            known = 0.0 if lesson is None else float(np.nan_to_num(lesson.first[s]))
            state.level[s] = first_activity(
                y[s], noise[s], state.spans[s], row_dt, half, energy, state.activity[s], known,
                _difference_shrink(state.persistence, row_dt[state.spans[s][:, 0]]),
            )  # fmt: skip
    return state


def _difference_shrink(persistence: Persistence, dt: Array) -> Array:
    """Variance of second differences of errors that last over that of independent ones, for spacings [R]."""
    pairs = np.array([persistence.correlation(float(d)) for d in dt]).reshape(-1, 2)
    return np.asarray((6 - 8 * pairs[:, 0] + 2 * pairs[:, 1]) / 6)


def _settling_half(dt: Array) -> Ints:
    return np.maximum(3 * ORDER, np.round(_LOCAL_S / dt)).astype(np.int64)


def _learn(state: State, links: Array, lesson: Lesson | None) -> tuple[Array, Array]:
    """Alternate between trajectories and what is to be learnt about them; levels and rates [steps, S]."""
    S, N = state.present.shape
    measured = np.zeros((S, N), bool)
    for s, spans in enumerate(state.spans):
        for a, b in spans:
            measured[s, a : b - ORDER] = True
    half = _settling_half(state.dt)
    windows = [_LOCAL_S / float(state.dt[rows.start]) for rows in state.parts]
    levels, rates = np.empty((_STEPS, S)), np.empty((_STEPS, S))
    for step in range(_STEPS):
        if step == _SETTLING:
            state.outlier_rate[:] = _FIRST_OUTLIER_RATE
        for s, spans in enumerate(state.spans):
            if not len(spans):
                continue
            update(state, s)
            if lesson is not None:
                state.outlier_rate[s] = lesson.outlier_rate[step, s]
            if step + 1 < _SETTLING:
                known = 0.0 if lesson is None else float(lesson.level[step, s])
                state.level[s] = settle_activity(
                    state.square[s], state.variance[s], spans, half, ORDER, state.level[s], state.activity[s], known
                )  # fmt: skip
        if step + 1 >= _SETTLING:
            learn_activity(
                state.square, state.variance, measured, state.level, state.activity, state.freedom, windows,
                state.parts, links, None if lesson is None else lesson.level[step],
            )  # fmt: skip
        levels[step], rates[step] = state.level, state.outlier_rate
    return levels, rates


def update(state: State, s: int, information: Array | None = None, right: Array | None = None) -> None:
    """Trajectory, covariance and weights of series s, in place; with what others say about it.

    `information` [N, 3, 3] and `right` [N, 3] (information times position) come from other series.
    """
    blocks, told = observed(state, s, state.weight[s])
    if information is not None and right is not None:
        blocks[:, 0] += information
        told += right
        state.told[s] = information
    x, covariance = state.x[s], state.covariance[s]
    solve_series(
        blocks, told, state.spans[s], state.dt, state.level[s] * state.activity[s], x, covariance,
        state.square[s], state.variance[s],
    )  # fmt: skip
    rate = float(state.outlier_rate[s])
    outliers, samples = _weigh(state.y[s], x, covariance, state.information[s], state.weight[s], rate)
    if rate > 0:
        state.outlier_rate[s] = min(max((outliers + 1) / (samples + 50), 1e-3), 0.3)


def observed(state: State, s: int, weight: Array) -> tuple[Array, Array]:
    """What the weighted samples of series s say: precision [N, K, 3, 3] (see `assemble`) and right-hand side [N, 3]."""
    N = len(state.dt)
    if state.persistence.is_white:
        blocks = (state.information[s] * weight[:, None, None])[:, None]
        return blocks, np.einsum("tij,tj->ti", blocks[:, 0], state.y[s])
    blocks, right = np.zeros((N, 3, 3, 3)), np.zeros((N, 3))
    for a, b in state.spans[s].tolist():
        near, far = state.persistence.correlation(float(state.dt[a]))
        correlated_equations(state.root[s], state.y[s], weight, state.overlap[s], (a, b), near, far, blocks, right)
    return blocks, right


def settle_covariance(state: State) -> None:
    """Covariance of the result, in place: what may not count taken out, the doubt about activity put in.

    How lively a joint is at a time is learnt from few samples where noise is larger than motion; a
    sudden movement is then smoothed away. The factor was set on made-up motion with 3 to 40 mm of
    noise, where it keeps the share of truths inside the 95 % ellipsoid between 93 and 97 %.
    """
    N = len(state.dt)
    unused = np.empty((3, N)), np.empty((2, N))
    for s, spans in enumerate(state.spans):
        if len(spans) and (state.credit[s] < 1).any():
            counted, _ = observed(state, s, state.weight[s] * state.credit[s])
            told = state.told[s]
            if told is not None:
                counted[:, 0] += told
            solve_series(
                counted, np.zeros((N, 3)), spans, state.dt, state.level[s] * state.activity[s], unused[0].T.copy(),
                state.covariance[s], unused[1][0], unused[1][1],
            )  # fmt: skip
        for a, b in spans:
            doubt = 1 + _ACTIVITY_DOUBT / np.maximum(state.freedom[s, a:b], 0.5) ** 2
            state.covariance[s, a:b] *= doubt[:, None, None]
            if state.persistence.constant > 0:
                state.covariance[s, a:b] += _constant_part(state, s, a, b)


def _constant_part(state: State, s: int, a: int, b: int) -> Array:
    """Covariance [b - a, 3, 3] of what constant errors do to a trajectory: that of the samples around, not averaged."""
    window = 2 * int(_settling_half(state.dt[a : a + 1])[0]) + 1
    told = state.information[s, a:b] * state.weight[s, a:b, None, None]
    count = (np.trace(told, axis1=-2, axis2=-1) > 0).astype(float)
    told, count = (uniform_filter1d(x, window, axis=0, mode="nearest") for x in (told, count))
    share = state.persistence.constant / state.persistence.changing
    return np.asarray(share * np.linalg.inv(told / np.maximum(count, 1e-9)[:, None, None] + np.eye(3)))


@njit(cache=True)  # type: ignore[misc]
def solve_series(
    blocks: Array, right: Array, spans: Ints, dt: Array, noise: Array, x: Array, covariance: Array,
    square: Array, variance: Array,
) -> None:  # fmt: skip
    """Posterior of one series, run by run, into the last four arguments.

    Parameters
    ----------
    blocks, right : float64 [N, K, 3, 3], [N, 3]
        Of the samples: inverse covariance (see `assemble`), and that times the position.
    spans : int [R, 2]
    dt, noise : float64 [N]
        Spacing, and variance of the acceleration per axis, (m/s2)^2.
    """
    d = ORDER
    longest = 0
    for r in range(len(spans)):
        longest = max(longest, spans[r, 1] - spans[r, 0])
    band_memory, inverse_memory = np.empty((3 * longest, 3 * d + 1)), np.empty((3 * longest, 3 * d + 1))
    for r in range(len(spans)):
        a, b = spans[r, 0], spans[r, 1]
        m = b - a
        band, inverse = band_memory[: 3 * m], inverse_memory[: 3 * m]
        coefficients, scale = difference_coefficients(dt[a]), difference_scale(dt[a])
        stiffest = 0.0
        for t in range(a, b):
            stiffest = max(stiffest, blocks[t, 0, 0, 0] + blocks[t, 0, 1, 1] + blocks[t, 0, 2, 2])
        weight = np.empty(m - d)
        for k in range(m - d):
            precision = 1.0 / (scale * max(noise[a + k], _LEAST_ACCELERATION2))
            weight[k] = min(precision, _STIFFEST * stiffest)
        assemble(blocks[a:b], weight, coefficients, band)
        # The first acceleration has no past to follow from: it is one of the series' own.
        add_difference(band, 0, weight[0] * scale / dt[a] ** 4, np.array([1.0, -2.0, 1.0]))
        flat = right[a:b].copy().reshape(3 * m)
        cholesky(band)
        solve(band, flat)
        inverse_band(band, inverse)
        x[a:b] = flat.reshape(m, 3)
        for t in range(m):
            for i in range(3):
                for j in range(i + 1):
                    covariance[a + t, i, j] = covariance[a + t, j, i] = inverse[3 * t + i, i - j]
        _differences(x[a:b], inverse, coefficients, scale, square[a:b], variance[a:b])


@njit(cache=True)  # type: ignore[misc]
def _weigh(
    y: Array, x: Array, covariance: Array, information: Array, weight: Array, outlier_rate: float
) -> tuple[float, int]:
    """Expected precision of every sample over its nominal one; returns expected outliers and samples.

    A rate of zero asks for the Student-t.
    """
    wide = _OUTLIER_SCALE**2
    outliers, samples = 0.0, 0
    for t in range(len(y)):
        distance = 0.0
        trace = 0.0
        for i in range(3):
            trace += information[t, i, i]
            for j in range(3):
                off = (y[t, i] - x[t, i]) * (y[t, j] - x[t, j]) + covariance[t, i, j]
                distance += information[t, i, j] * off
        if trace == 0.0:
            continue
        samples += 1
        if outlier_rate == 0.0:
            weight[t] = (_TAIL + 3) / (_TAIL + distance)
            continue
        odds = outlier_rate / (1 - outlier_rate) * wide**-1.5 * np.exp(0.5 * min(distance * (1 - 1 / wide), 600.0))
        outlier = odds / (1 + odds)
        weight[t] = 1 - outlier + outlier / wide
        outliers += outlier
    return outliers, samples


@njit(cache=True)  # type: ignore[misc]
def _differences(x: Array, inverse: Array, coefficients: Array, scale: float, square: Array, variance: Array) -> None:
    """Squared difference at the posterior mean, and its variance, summed over axes, over `scale`."""
    d = len(coefficients) - 1
    for k in range(len(x) - d):
        total, spread = 0.0, 0.0
        for i in range(3):
            s = 0.0
            for a in range(d + 1):
                s += coefficients[a] * x[k + a, i]
                for b in range(a + 1):
                    twice = 1.0 if a == b else 2.0
                    spread += twice * coefficients[a] * coefficients[b] * inverse[3 * (k + a) + i, 3 * (a - b)]
            total += s * s
        square[k], variance[k] = total / scale, spread / scale
