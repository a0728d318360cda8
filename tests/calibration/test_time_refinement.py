"""Clocks from moving points: truth from made-up motion, standard deviations from repeated draws."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from calibration.errors import CalibrationError
from calibration.projection import Lenses, project, rays, undistort
from calibration.time_refinement import Clocks, PointTracks, refine_clocks
from calibration.time_scan import OffsetCosts, judge, scan_pair
from mocap.synthetic.rig import ring_rig

FPS, FRAMES, JOINTS = 60.0, 240, 6
RIG = ring_rig(4, size=(1920, 1080), focal=1400.0, seed=3)
LENSES = Lenses.of(RIG)
V = len(RIG)


def take(seed, *, sigma=3.0, offset=None, drift=None, speed=1.0, seconds=None):
    """Points that wander about the middle; clocks, pixels [V, T, J, 2] and own times [T]."""
    rng = np.random.default_rng(seed)
    count = FRAMES if seconds is None else round(seconds * FPS)
    times = np.arange(-60, count + 60) / FPS
    knots = np.arange(times[0], times[-1] + 0.5, 0.25)
    walk = CubicSpline(knots, np.cumsum(rng.normal(0, 0.12 * speed, (len(knots), JOINTS, 3)), 0))
    path = walk(times)
    path = path - path.mean(0) + rng.normal(0, 0.3, (JOINTS, 3)) + [0, 0, 1.0]
    path = CubicSpline(times, np.clip(path, -1.2, 2.2))
    offset = np.concatenate([[0], rng.uniform(-0.3, 0.3, V - 1)]) if offset is None else np.asarray(offset)
    drift = np.zeros(V) if drift is None else np.asarray(drift)
    own = np.arange(count) / FPS
    pixels = np.stack([project(LENSES, path(offset[v] + (1 + drift[v]) * own))[v] for v in range(V)])
    return offset, drift, pixels + rng.normal(0, sigma, pixels.shape), own


def tracks_of(pixels, own, track=None):
    xy = undistort(LENSES, pixels)
    v, t, j = np.nonzero(np.isfinite(xy).all(-1))
    return PointTracks(v, j if track is None else track[t, j], own[t], xy[v, t, j], np.full(len(v), 1 / 1400))


def clocks(offset, drift=0.0):
    return Clocks(np.asarray(offset, float), np.full(V, drift), np.zeros((2 * V, 2 * V)), np.ones(V))


def refine(pixels, own, start, *, with_drift=False):
    return refine_clocks(tracks_of(pixels, own), RIG.R, RIG.t, clocks(start), with_drift=with_drift)


def test_exact_points_give_exact_offsets():
    offset, _, pixels, own = take(0, sigma=0.0)
    found = refine(pixels, own, np.round(offset * FPS) / FPS)
    # What is left is the motion between the knots of the spline.
    np.testing.assert_allclose(found.offset_s, offset, atol=5e-5)


def test_offsets_reach_their_stated_uncertainty():
    z = []
    for seed in range(12):
        offset, _, pixels, own = take(seed)
        found = refine(pixels, own, np.round(offset * FPS) / FPS)
        z.append((found.offset_s - offset)[1:] / found.offset_std_s[1:])
    z = np.concatenate(z)
    # 36 draws of a chi square: 99.9 % lie within.
    assert 0.4 < np.mean(z**2) < 2.0
    assert found.offset_std_s[0] == 0


def test_wrong_points_do_not_pull():
    offset, _, pixels, own = take(5)
    rng = np.random.default_rng(1)
    wrong = rng.random(pixels.shape[:-1]) < 0.03
    pixels = pixels + wrong[..., None] * rng.normal(0, 80, pixels.shape)
    found = refine(pixels, own, np.round(offset * FPS) / FPS)
    np.testing.assert_array_less(np.abs(found.offset_s - offset)[1:], 5 * found.offset_std_s[1:])


def test_drift_of_a_long_take():
    drift = np.array([0, 30e-6, -50e-6, 10e-6])
    offset, _, pixels, own = take(2, drift=drift, seconds=90)
    # Windows at both ends are enough, and quick.
    rows = np.r_[0:150, len(own) - 150 : len(own)]
    piece = np.where(np.arange(len(rows)) < 150, 0, 1)[:, None] * JOINTS + np.arange(JOINTS)
    tracks = tracks_of(pixels[:, rows], own[rows], piece)
    found = refine_clocks(tracks, RIG.R, RIG.t, clocks(offset), with_drift=True)
    np.testing.assert_array_less(np.abs(found.drift - drift)[1:], 4 * found.drift_std[1:])
    assert (found.drift_std[1:] < 2e-5).all()


def test_points_that_stand_still_tell_nothing():
    _, _, pixels, own = take(4, speed=0.0)
    found = refine(pixels, own, np.zeros(V))
    assert (found.offset_std_s[1:] > 0.3 / FPS).all()


def test_no_points():
    with pytest.raises(CalibrationError, match="no moving points"):
        refine(np.full((V, 10, JOINTS, 2), np.nan), np.arange(10) / FPS, np.zeros(V))


def scan(pixels, own, a=0, b=1, rows=slice(None)):
    centres, directions = rays(LENSES, pixels[:, :, None])
    pair = scan_pair((directions[a], directions[b][rows]), (own, own[rows]), (centres[a], centres[b]), 1.0)
    return judge([pair])


def test_scan_finds_the_offset_to_a_frame():
    offset, _, pixels, own = take(1, seconds=10)
    for b in range(1, V):
        curve = scan(pixels, own, 0, b)
        assert curve.is_clear
        # What b calls later by best_s is the same moment.
        assert curve.best_s == pytest.approx(-offset[b], abs=1.0 / FPS)


@pytest.mark.parametrize("case", ["still", "backwards", "strangers"])
def test_scan_does_not_guess(case):
    _, _, pixels, own = take(1, seconds=10, speed=0.0 if case == "still" else 1.0)
    if case == "backwards":
        pixels[1] = pixels[1, ::-1]
    elif case == "strangers":
        pixels[1] = take(9, seconds=10)[2][1]
    assert not scan(pixels, own).is_clear


def costs_of(moved, width_s=0.1):
    """Costs over offsets with the true one at 0.5 s, where moments half a second apart tell as much as was moved."""
    offsets, rng = np.arange(-100, 101) * 0.02, np.random.default_rng(0)
    misfit = 1 - np.exp(-(((offsets - 0.5) / width_s) ** 2) / 2)
    noise = rng.normal(0, 0.002, (len(offsets), len(moved)))
    return OffsetCosts(offsets, np.arange(len(moved)) * 0.5, (0.1 + misfit[:, None] * moved + noise).astype(np.float32))


def test_people_who_move_now_and_then_tell_the_offset():
    # A tenth of the time much, else a little: the mean gain is 2.8 of its standard errors.
    moved = np.where(np.arange(40) % 10 == 0, 0.6, 0.02)
    curve = judge([costs_of(moved)])
    assert curve.is_clear
    assert curve.best_s == pytest.approx(0.5)
    assert not judge([costs_of(0 * moved)]).is_clear


def test_the_valley_of_slow_motion_is_no_rival():
    narrow, wide = (judge([costs_of(np.full(40, 0.01), w)]) for w in (0.05, 0.4))
    assert narrow.is_clear
    assert wide.is_clear


def test_scan_of_nothing():
    _, _, pixels, own = take(1)
    assert not scan(np.full_like(pixels, np.nan), own).is_clear
    assert not scan(pixels, own, rows=slice(0, 1)).is_clear
