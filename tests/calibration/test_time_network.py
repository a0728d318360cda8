"""Cameras placed in time with the help of others: made-up costs of a motion that nearly repeats itself."""

import numpy as np
import pytest

from calibration import time_network
from calibration.time_network import Helper, judge_with_helpers
from calibration.time_scan import OffsetCosts, judge

OFFSETS = np.arange(-480, 481) / 60
PERIOD_S, BLOCKS, EACH = 5.0, 7, 5  # moments in each block
TIMES = np.arange(BLOCKS * EACH) * 0.5 / EACH


def pair(true_s, seed, depth=0.05, deep=True):
    """A pair whose rival, a period later, costs a little more, as few blocks show."""
    rng = np.random.default_rng(seed)
    valley = np.exp(-(((OFFSETS - true_s) / 0.1) ** 2) / 2)
    rival = np.exp(-(((OFFSETS - true_s - PERIOD_S) / 0.1) ** 2) / 2)
    # Than the true offset in every block, in one far more than in the others.
    worse = depth * rng.permutation([3.0, *rng.uniform(0.2, 0.6, BLOCKS - 1)])
    cost = 0.5 - 0.4 * (valley + rival)[:, None] + rival[:, None] * worse
    cost = np.repeat(cost if deep else np.full_like(cost, 0.5), EACH, 1)
    return OffsetCosts(OFFSETS, TIMES, (cost + rng.normal(0, 1e-4, cost.shape)).astype(np.float32))


def test_a_third_camera_tells_an_offset_from_its_rival():
    camera, other = 0.4, -0.7  # what their clocks show later than the group's
    alone = [pair(camera, 0)]
    assert not judge(alone).is_clear
    curve = judge_with_helpers(alone, [Helper((pair(other, 1),), pair(other - camera, 2))])
    assert curve.is_clear
    assert abs(curve.best_s - camera) < 0.02


def test_a_third_camera_that_tells_nothing_changes_nothing():
    alone = [pair(0.4, 0)]
    silent = OffsetCosts(OFFSETS, TIMES, np.full((len(OFFSETS), len(TIMES)), np.nan, np.float32))
    other_axis = OffsetCosts(OFFSETS[:-2], silent.time, silent.cost[:-2])
    for helper in (silent, other_axis, pair(0, 3, deep=False)):
        curve = judge_with_helpers(alone, [Helper((pair(-0.7, 1),), helper)])
        assert not curve.is_clear
        assert abs(curve.best_s - 0.4) < 0.02


def test_an_exact_repetition_stays_undecided():
    pairs = [pair(t, k, depth=0.0) for k, t in enumerate((0.4, -0.7, -1.1))]
    assert not judge_with_helpers(pairs[:1], [Helper((pairs[1],), pairs[2])]).is_clear


def only(costs, low, high):
    """Evidence where the recordings overlap for some offsets only."""
    kept = (low <= costs.offsets_s) & (costs.offsets_s <= high)
    return OffsetCosts(costs.offsets_s, costs.time, np.where(kept[:, None], costs.cost, np.float32(np.nan)))


def test_a_helper_says_nothing_of_offsets_at_which_it_can_stand_nowhere():
    helper = Helper((only(pair(-0.7, 1), -2.0, 0.0),), only(pair(-0.2, 2), -0.5, 1.0))
    fitted = time_network._fit(helper)
    finite = np.flatnonzero(np.isfinite(fitted.cost))
    outside = len(OFFSETS) - 1
    assert OFFSETS[finite[[0, -1]]] == pytest.approx([-3.0, 0.5])
    for best, rival in ((finite[0], outside), (outside, finite[0]), (outside, outside - 60)):
        assert time_network._gains(fitted, OFFSETS, int(best), int(rival)) == []
