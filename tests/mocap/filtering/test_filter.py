"""Filter stage: smoothing, gaps, jumps, outliers, covariance; truth from synthetic motion."""

import numpy as np
import pytest
from scipy import signal

from mocap.errors import SettingsError
from mocap.filtering import FilterMethod, FilterSettings, filter_trajectories
from mocap.filtering.banded import assemble, cholesky, inverse_band, solve
from mocap.filtering.gaps import runs
from mocap.filtering.map_smoother import _TAU_S, difference_coefficients
from mocap.skeleton import H36M_17
from mocap.synthetic import procedural_motion, truth_positions
from mocap.types import Source, Trajectories3D

BUTTERWORTH = FilterSettings(method=FilterMethod.BUTTERWORTH)
MAP = FilterSettings(method=FilterMethod.MAP)
BOTH = pytest.mark.parametrize("settings", [BUTTERWORTH, MAP], ids=["butterworth", "map"])


def trajectories(positions, std=0.01, *, fps=30.0, frames=None, source=None, names=None):
    T, P, J, _ = positions.shape
    present = np.isfinite(positions).all(-1)
    covariance = np.broadcast_to(np.asarray(std), (T, P, J))[..., None, None] ** 2 * np.eye(3)
    return Trajectories3D(
        positions=positions,
        covariance=np.where(present[..., None, None], covariance, np.nan),
        source=np.where(present, Source.TRIANGULATED, 0) if source is None else source,
        reprojection_error=np.where(present, 1.5, np.nan),
        consistency=np.where(present, 0.01, np.nan),
        views_used=np.where(present, 3, 0),
        person_ids=np.arange(P),
        frames=np.arange(T) if frames is None else frames,
        joint_names=[f"j{i}" for i in range(J)] if names is None else names,
        fps=fps,
    )


@pytest.fixture(scope="module")
def truth():
    return truth_positions(procedural_motion(400, 30.0, seed=4), H36M_17)


def errors(result, truth):
    return np.linalg.norm(result.positions - truth, axis=-1)


def test_map_is_nearer_to_the_truth_than_butterworth_and_both_than_the_input(truth):
    rng = np.random.default_rng(0)
    std = 0.012 * np.exp(0.8 * rng.normal(size=truth.shape[:3]))
    noisy = trajectories(truth + std[..., None] * rng.normal(size=truth.shape), std)
    raw, butter, best = (errors(r, truth).mean() for r in (
        noisy, filter_trajectories(noisy, BUTTERWORTH), filter_trajectories(noisy, MAP)))  # fmt: skip
    assert butter < 0.8 * raw
    assert best < 0.7 * butter


def test_map_covariance_covers_the_truth(truth):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(*truth.shape, 3)) * 0.006 + 0.008 * np.eye(3)
    noise = np.einsum("...ij,...j->...i", root, rng.normal(size=truth.shape))
    noisy = trajectories(truth + noise)
    covariance = (root @ np.swapaxes(root, -1, -2)).astype(np.float32)
    object.__setattr__(noisy, "covariance", covariance)
    result = filter_trajectories(noisy, MAP)
    d = (result.positions - truth).astype(np.float64)
    inverse = np.linalg.inv(result.covariance.astype(np.float64))
    inside = np.einsum("tpji,tpjik,tpjk->tpj", d, inverse, d) < 7.815
    assert 0.90 < inside.mean() < 0.99


def test_butterworth_covariance_is_that_of_white_noise():
    rng = np.random.default_rng(2)
    noisy = trajectories(0.01 * rng.normal(size=(4000, 1, 3, 3)))
    result = filter_trajectories(noisy, BUTTERWORTH)
    measured = result.positions[100:-100].std()
    stated = np.sqrt(result.covariance[2000, 0, 0, 0, 0])
    assert stated == pytest.approx(measured, rel=0.05)


def test_butterworth_gain_at_and_around_the_cutoff():
    t = np.arange(3000) / 100.0
    gains = {}
    for hz in (1.0, 6.0, 20.0):
        x = np.zeros((3000, 1, 1, 3))
        x[..., 0] = np.sin(2 * np.pi * hz * t)[:, None, None]
        result = filter_trajectories(trajectories(x, fps=100.0), BUTTERWORTH)
        y = result.positions[500:2500, 0, 0, 0]
        gains[hz] = np.abs(y @ np.exp(-2j * np.pi * hz * t[500:2500])) / 1000
        if hz == 1.0:
            np.testing.assert_allclose(y, x[500:2500, 0, 0, 0], atol=2e-3)  # no phase shift
    assert gains[6.0] == pytest.approx(np.sqrt(0.5), abs=0.002)
    assert gains[1.0] > 0.999
    assert gains[20.0] < 0.02


def test_butterworth_agrees_with_sosfiltfilt_away_from_the_ends(truth):
    x = truth[:, :, :3]
    result = filter_trajectories(trajectories(x), FilterSettings(method=FilterMethod.BUTTERWORTH, cutoff_hz=5.0))
    # Winter's correction for two passes, on the frequency axis the bilinear transform keeps.
    fc = np.arctan(np.tan(np.pi * 5 / 30) * (np.sqrt(2) - 1) ** -0.25) * 30 / np.pi
    expected = signal.sosfiltfilt(signal.butter(2, fc, fs=30.0, output="sos"), x, axis=0)
    np.testing.assert_allclose(result.positions[60:-60], expected[60:-60], atol=1e-5)


@BOTH
def test_short_gaps_are_filled_flagged_and_less_certain(truth, settings):
    x = truth.copy()
    x[100:106, 0, 3] = np.nan
    result = filter_trajectories(trajectories(x, 0.005), settings)
    assert (result.source[100:106, 0, 3] == Source.INTERPOLATED).all()
    assert (np.delete(result.source, np.s_[100:106], 0) == Source.TRIANGULATED).all()
    assert errors(result, truth)[100:106, 0, 3].max() < 0.03
    variance = np.trace(result.covariance[:, 0, 3], axis1=-2, axis2=-1)
    assert variance[103] > 1.5 * variance[90]
    assert np.isnan(result.reprojection_error[100:106, 0, 3]).all()
    assert (result.views_used[100:106, 0, 3] == 0).all()
    assert result.reprojection_error[99, 0, 3] == pytest.approx(1.5)


@BOTH
def test_long_gaps_and_ends_stay_open(truth, settings):
    x = truth.copy()
    x[100:120, 0, 3] = np.nan
    x[:4, 0, 5] = np.nan
    x[-3:, 0, 6] = np.nan
    result = filter_trajectories(trajectories(x), settings)
    assert (result.source[100:120, 0, 3] == Source.MISSING).all()
    assert np.isnan(result.positions[100:120, 0, 3]).all()
    assert np.isnan(result.covariance[100:120, 0, 3]).all()
    assert (result.source[:4, 0, 5] == 0).all()
    assert (result.source[-3:, 0, 6] == 0).all()


@BOTH
def test_nothing_passes_a_jump_of_frames(truth, settings):
    """Each side of a jump comes out as if it were alone."""
    frames = np.concatenate([np.arange(200), np.arange(1200, 1400)])
    rng = np.random.default_rng(3)
    x = truth + 0.01 * rng.normal(size=truth.shape)
    x[200:] += 5.0
    x[198:200, 0, 0] = np.nan
    both = filter_trajectories(trajectories(x, frames=frames), settings)
    assert (both.source[198:200, 0, 0] == Source.MISSING).all()
    if settings.method is FilterMethod.BUTTERWORTH:
        alone = filter_trajectories(trajectories(x[:200]), settings)
        np.testing.assert_array_equal(both.positions[:200], alone.positions)
    assert errors(both, truth + np.where(np.arange(400) < 200, 0, 5.0)[:, None, None, None])[
        both.source != 0].max() < 0.06  # fmt: skip


@BOTH
def test_a_small_jump_of_frames_is_a_gap_in_time(truth, settings):
    kept = np.delete(np.arange(400), [50, 51, 180])
    result = filter_trajectories(trajectories(truth[kept], 0.002, frames=kept), settings)
    assert len(result.frames) == 397
    assert errors(result, truth[kept])[20:-20].mean() < 0.004


def test_every_second_frame_is_a_recording_at_half_the_rate(truth):
    half = filter_trajectories(trajectories(truth[::2], frames=np.arange(0, 400, 2), fps=60.0), BUTTERWORTH)
    same = filter_trajectories(trajectories(truth[::2], fps=30.0), BUTTERWORTH)
    np.testing.assert_array_equal(half.positions, same.positions)
    assert (half.source == Source.TRIANGULATED).all()


@BOTH
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8])
def test_short_takes_do_not_blow_up(truth, settings, length):
    rng = np.random.default_rng(length)
    x = truth[:length] + 0.01 * rng.normal(size=truth[:length].shape)
    result = filter_trajectories(trajectories(x), settings)
    assert np.isfinite(result.positions).all()
    assert np.isfinite(result.covariance).all()
    assert errors(result, truth[:length]).max() < 0.08
    if length == 1:
        np.testing.assert_array_equal(result.positions, x.astype(np.float32))


def test_lifted_flags_are_kept(truth):
    source = np.full(truth.shape[:3], Source.TRIANGULATED)
    source[40:60, 0, 7] = Source.LIFTED
    result = filter_trajectories(trajectories(truth, source=source), MAP)
    np.testing.assert_array_equal(result.source, source)


def test_hampel_takes_out_spikes_and_leaves_swings(truth):
    x = truth.copy()
    x[150, 0, 4] += 0.5
    settings = FilterSettings(method=FilterMethod.BUTTERWORTH, hampel=True)
    result = filter_trajectories(trajectories(x, 0.005), settings)
    assert result.source[150, 0, 4] == Source.INTERPOLATED
    assert errors(result, truth)[140:160, 0, 4].max() < 0.04
    clean = filter_trajectories(trajectories(truth, 0.005), settings)
    assert (clean.source == Source.INTERPOLATED).mean() < 0.01


def test_map_gives_rare_outliers_no_weight(truth):
    rng = np.random.default_rng(5)
    x = truth + 0.005 * rng.normal(size=truth.shape)
    spike = rng.random(truth.shape[:3]) < 0.01
    x[spike] += 0.3 * rng.normal(size=(spike.sum(), 3))
    result = filter_trajectories(trajectories(x, 0.005), MAP)
    assert errors(result, truth)[spike].mean() < 0.015


@BOTH
def test_moving_the_world_moves_the_result(truth, settings):
    R, t = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0], np.array([1.0, -2.0, 0.5])
    rng = np.random.default_rng(7)
    x = truth + 0.01 * rng.normal(size=truth.shape)
    here = filter_trajectories(trajectories(x), settings).positions
    there = filter_trajectories(trajectories(x @ R.T + t), settings).positions
    np.testing.assert_allclose(here @ R.T + t, there, atol=1e-5)


def test_none_changes_nothing_and_same_input_gives_same_bytes(truth):
    noisy = trajectories(truth)
    assert filter_trajectories(noisy, FilterSettings(method=FilterMethod.NONE)) is noisy
    a, b = (filter_trajectories(noisy, MAP) for _ in range(2))
    assert a.positions.tobytes() == b.positions.tobytes()
    assert a.covariance.tobytes() == b.covariance.tobytes()


@BOTH
def test_nobody_and_never_seen_joints(truth, settings):
    x = truth.copy()
    x[:, 0, 2] = np.nan
    result = filter_trajectories(trajectories(x), settings)
    assert np.isnan(result.positions[:, 0, 2]).all()
    empty = filter_trajectories(trajectories(truth[:, :0]), settings)
    assert empty.positions.shape == (400, 0, 17, 3)


def test_banded_solver_against_dense_algebra():
    rng = np.random.default_rng(8)
    n = 12
    root = rng.normal(size=(n, 3, 3))
    information = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(3)
    information[4] = 0  # a gap
    # A steady acceleration decays, so that only what is left of it is no news.
    c, phi = difference_coefficients(0.05), np.exp(-0.05 / _TAU_S)
    x = np.cumsum(np.cumsum(phi ** np.arange(9.0)))  # its acceleration decays by phi a step
    np.testing.assert_allclose(np.convolve(x, c[::-1], "valid"), 0, atol=1e-12)
    weight = rng.uniform(0.5, 2, n - 3)
    dense = np.zeros((n, 3, n, 3))
    for t in range(n):
        dense[t, :, t] = information[t]
    D = np.zeros((n - 3, n))
    for k in range(n - 3):
        D[k, k : k + 4] = c
    dense += np.einsum("ab,ij->aibj", D.T @ (weight[:, None] * D), np.eye(3))
    blocks = np.zeros((n, 3, 3, 3))
    blocks[:, 0] = information
    for k in (1, 2):  # samples whose errors hang together
        blocks[k:, k] = 0.1 * rng.normal(size=(n - k, 3, 3))
        for t in range(k, n):
            dense[t, :, t - k] += blocks[t, k]
            dense[t - k, :, t] += blocks[t, k].T
    dense = dense.reshape(3 * n, 3 * n)
    band, inverse = np.empty((3 * n, 10)), np.empty((3 * n, 10))
    assemble(blocks, weight, c, band)
    for j in range(10):
        np.testing.assert_allclose(band[j:, j], np.diagonal(dense, -j), atol=1e-12)
    cholesky(band)
    x = rng.normal(size=3 * n)
    expected = np.linalg.solve(dense, x)
    solve(band, x)
    np.testing.assert_allclose(x, expected, rtol=1e-8)
    inverse_band(band, inverse)
    dense_inverse = np.linalg.inv(dense)
    for j in range(10):
        np.testing.assert_allclose(inverse[j:, j], np.diagonal(dense_inverse, -j), rtol=1e-7, atol=1e-9)


def test_runs_group_series_with_equal_extent():
    present = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 1, 0]], bool)
    found = {(a, b): s.tolist() for a, b, s in runs(present)}
    assert found == {(0, 2): [0, 1], (3, 4): [0, 1], (1, 3): [2]}


@pytest.mark.parametrize(
    "bad",
    [{"cutoff_hz": -1.0}, {"cutoff_hz": float("nan")}, {"method": "map", "cutoff_hz": 4.0},
     {"order": 3}, {"max_gap_s": -1.0}, {"method": "kalmann"},
     {"hampel_threshold": 0.0}],
)  # fmt: skip
def test_bad_settings_name_the_field(bad):
    with pytest.raises(SettingsError, match=f"filter.{next(iter(bad))}"):
        FilterSettings(**bad)


def test_method_may_be_given_as_text():
    assert FilterSettings(method="butterworth").method is FilterMethod.BUTTERWORTH
    assert FilterSettings().smoother is FilterMethod.MAP
    assert FilterSettings(cutoff_hz=4.0).smoother is FilterMethod.BUTTERWORTH
