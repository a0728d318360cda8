"""Long takes in chunks, live use with a fixed lag, and the classic filters."""

import dataclasses

import numpy as np
import pytest
from scipy import signal

from mocap.errors import DataError
from mocap.filtering import FilterMethod, FilterSettings, FixedLagSmoother, LiveFrame, filter_trajectories
from mocap.skeleton import H36M_17
from mocap.synthetic import procedural_motion, truth_positions
from mocap.types import Source, Trajectories3D

FPS = 30.0
CLASSIC = [FilterMethod.SAVITZKY_GOLAY, FilterMethod.ONE_EURO, FilterMethod.KALMAN, FilterMethod.HAMPEL]
EVERY = [*CLASSIC, FilterMethod.BUTTERWORTH, FilterMethod.MAP]


def record(positions, std=0.01, frames=None, names=H36M_17.joints):
    present = np.isfinite(positions).all(-1)
    covariance = np.broadcast_to(std**2 * np.eye(3), (*present.shape, 3, 3))
    return Trajectories3D(
        positions=positions, covariance=np.where(present[..., None, None], covariance, np.nan),
        source=np.where(present, Source.TRIANGULATED, 0), reprojection_error=np.where(present, 1.0, np.nan),
        consistency=np.where(present, 0.01, np.nan), views_used=np.where(present, 3, 0),
        person_ids=np.arange(present.shape[1]), frames=np.arange(len(positions)) if frames is None else frames,
        joint_names=names[: present.shape[2]], fps=FPS,
    )  # fmt: skip


@pytest.fixture(scope="module")
def truth():
    return truth_positions(procedural_motion(700, FPS, seed=4), H36M_17)


@pytest.fixture(scope="module")
def take(truth):
    """10 mm of noise, a few outliers, gaps, and a jump of the frame numbers."""
    rng = np.random.default_rng(0)
    x = truth + 0.01 * rng.normal(size=truth.shape)
    x[rng.random(truth.shape[:3]) < 0.005] += 0.3
    x[rng.random(truth.shape[:3]) < 0.02] = np.nan
    x[333:337, 0, 5] = np.nan
    frames = np.arange(len(x)) + np.where(np.arange(len(x)) < 450, 0, 1000)
    return record(x, frames=frames)


def errors(result, truth):
    return np.linalg.norm(result.positions - truth, axis=-1)


@pytest.mark.parametrize("method", EVERY, ids=str)
def test_chunks_give_what_the_whole_gives(take, method):
    whole = filter_trajectories(take, FilterSettings(method=method))
    parts = filter_trajectories(take, FilterSettings(method=method, chunk_frames=173))
    np.testing.assert_array_equal(whole.source, parts.source)
    assert np.nanmax(np.abs(whole.positions - parts.positions)) < 1e-5
    size = np.trace(whole.covariance, axis1=-2, axis2=-1)
    assert np.nanmax(np.abs(np.trace(parts.covariance, axis1=-2, axis2=-1) / size - 1)) < 1e-2


def test_a_long_take_is_learnt_from_a_sample_of_it(truth, monkeypatch):
    rng = np.random.default_rng(1)
    noisy = record(truth + 0.01 * rng.normal(size=truth.shape))
    whole = filter_trajectories(noisy, FilterSettings())
    from mocap.filtering import stage

    monkeypatch.setattr(stage, "_LEARNING_SAMPLES", 17 * 256)
    monkeypatch.setattr(stage, "_LEARNING_BLOCK", 64)
    sampled = filter_trajectories(noisy, FilterSettings(chunk_frames=200))
    assert errors(sampled, truth).mean() < 1.03 * errors(whole, truth).mean()


def test_lag_of_the_whole_take_gives_the_whole_takes_estimate(take):
    short = dataclasses.replace(
        take, **{n: getattr(take, n)[400:520] for n in ("positions", "covariance", "source", "reprojection_error",
                                                        "consistency", "views_used", "frames")}
    )  # fmt: skip
    offline = filter_trajectories(short, FilterSettings())
    live = filter_trajectories(short, FilterSettings(method=FilterMethod.FIXED_LAG, lag_frames=2000))
    np.testing.assert_array_equal(offline.source, live.source)
    np.testing.assert_allclose(live.positions, offline.positions, atol=1e-5)
    np.testing.assert_allclose(live.covariance, offline.covariance, atol=1e-8)


def test_more_lag_is_nearer_to_the_truth_and_none_is_better_than_nothing(truth):
    rng = np.random.default_rng(2)
    noisy = record(truth[:150, :, 10:17] + 0.02 * rng.normal(size=truth[:150, :, 10:17].shape), 0.02,
                   names=H36M_17.joints[10:])  # fmt: skip
    raw = errors(noisy, truth[:150, :, 10:17])[30:].mean()
    mean = [
        errors(filter_trajectories(noisy, FilterSettings(method=FilterMethod.FIXED_LAG, lag_frames=lag)),
               truth[:150, :, 10:17])[30:].mean()
        for lag in (0, 3, 12)
    ]  # fmt: skip
    assert mean[2] < mean[1] < mean[0] < 0.8 * raw


def test_live_frames_come_once_in_order_after_the_lag(truth):
    live = FixedLagSmoother(H36M_17.joints, FPS, 5)
    out, covariance = [], np.broadcast_to(1e-4 * np.eye(3), (1, 17, 3, 3))
    source = np.ones((1, 17), np.uint8)
    for t in range(40):
        due = live.push(LiveFrame(t, truth[t], covariance, source))
        assert [f.frame for f in due] == ([t - 5] if t >= 5 else [])
        out += due
    out += live.flush()
    assert [f.frame for f in out] == list(range(40))
    assert live.flush() == []
    with pytest.raises(DataError, match="does not follow"):
        live.push(LiveFrame(39, truth[39], covariance, source))


@pytest.mark.parametrize("method", CLASSIC, ids=str)
def test_gaps_are_filled_up_to_the_limit_flagged_and_never_across_jumps(truth, method):
    x = truth.copy()
    x[100:105, 0, 3] = np.nan
    x[200:220, 0, 3] = np.nan
    x[449, 0, 3] = np.nan
    frames = np.arange(len(x)) + np.where(np.arange(len(x)) < 450, 0, 1000)
    result = filter_trajectories(record(x, 0.003, frames), FilterSettings(method=method))
    assert (result.source[100:105, 0, 3] == Source.INTERPOLATED).all()
    assert (result.source[200:220, 0, 3] == Source.MISSING).all()
    assert result.source[449, 0, 3] == Source.MISSING
    assert np.isnan(result.covariance[200:220, 0, 3]).all()
    assert np.isfinite(result.covariance[100:105, 0, 3]).all()
    assert np.isnan(result.reprojection_error[100:105, 0, 3]).all()
    moved = x + np.where(np.arange(len(x)) < 450, 0, 50.0)[:, None, None, None]
    apart = filter_trajectories(record(moved, 0.003, frames), FilterSettings(method=method))
    before = result.source[:450] != Source.MISSING
    np.testing.assert_allclose(apart.positions[:450][before], result.positions[:450][before], atol=1e-6)


@pytest.mark.parametrize(("method", "gain"), [(FilterMethod.SAVITZKY_GOLAY, 0.75), (FilterMethod.KALMAN, 0.75),
                                              (FilterMethod.ONE_EURO, 1.0)], ids=str)  # fmt: skip
def test_classic_filters_take_noise_away(truth, method, gain):
    rng = np.random.default_rng(3)
    noisy = record(truth + 0.02 * rng.normal(size=truth.shape), 0.02)
    assert errors(filter_trajectories(noisy, FilterSettings(method=method)), truth).mean() < gain * errors(
        noisy, truth).mean()  # fmt: skip


@pytest.mark.parametrize("method", [FilterMethod.SAVITZKY_GOLAY, FilterMethod.ONE_EURO, FilterMethod.KALMAN], ids=str)
def test_stated_covariance_is_that_of_white_noise(method):
    """A joint at rest: everything that is left is noise."""
    rng = np.random.default_rng(4)
    noisy = record(0.01 * rng.normal(size=(3000, 1, 2, 3)))
    result = filter_trajectories(noisy, FilterSettings(method=method, one_euro_beta=0.0))
    stated = np.sqrt(result.covariance[1500, 0, 0, 0, 0])
    expected = result.positions[100:-100].std()
    # Kalman's covariance also holds the acceleration that is not there.
    assert expected < 1.05 * stated
    if method is not FilterMethod.KALMAN:
        assert stated == pytest.approx(expected, rel=0.05)


def test_savitzky_golay_agrees_with_scipy_and_keeps_polynomials(truth):
    settings = FilterSettings(method=FilterMethod.SAVITZKY_GOLAY, savgol_window_s=0.37, savgol_degree=2)
    result = filter_trajectories(record(truth), settings)
    np.testing.assert_allclose(result.positions, signal.savgol_filter(truth, 11, 2, axis=0), atol=1e-6)
    t = np.arange(60.0)[:, None, None, None] / 30
    parabola = np.broadcast_to(1 + t - 0.4 * t**2, (60, 1, 17, 3))
    np.testing.assert_allclose(filter_trajectories(record(parabola), settings).positions, parabola, atol=1e-6)


def test_kalman_smoother_against_the_dense_solution():
    """The trajectory that minimises measurement and acceleration residuals, by dense least squares."""
    rng = np.random.default_rng(5)
    n, sigma, q, dt = 25, 0.02, 5.0, 1 / FPS
    y = np.cumsum(np.cumsum(0.01 * rng.normal(size=n)))
    # State (x, v) with x' = x + v dt + a dt^2/2, v' = v + a dt; unknowns: x0, v0 and the accelerations.
    A, position, velocity = np.zeros((n, n + 1)), np.zeros(n + 1), np.zeros(n + 1)
    position[0], velocity[1] = 1, 1
    for t in range(n):
        A[t] = position
        step = np.zeros(n + 1)
        if t < n - 1:
            step[2 + t] = 1
        position = position + velocity * dt + step * dt**2 / 2
        velocity = velocity + step * dt
    prior = np.diag([1e-2, 1e-2, *np.full(n - 1, 1 / q**2)])
    start = np.zeros(n + 1)
    start[0] = y[0]
    z = np.linalg.solve(A.T @ A / sigma**2 + prior, A.T @ y / sigma**2 + prior @ start)
    x = np.zeros((n, 1, 1, 3))
    x[..., 0] = y[:, None, None]
    settings = FilterSettings(method=FilterMethod.KALMAN, kalman_acceleration=q)
    result = filter_trajectories(record(x, sigma), settings)
    np.testing.assert_allclose(result.positions[:, 0, 0, 0], A @ z, atol=2e-5)
