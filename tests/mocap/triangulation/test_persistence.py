"""How long errors last is learnt from the views' residuals, whatever the joints do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap.synthetic.noise import NoiseSettings
from mocap.triangulation import TriangulationSettings, triangulate
from mocap.triangulation.estimate import learn_noise, learn_persistence
from mocap.triangulation.persistence import fit_decay

NOISE = NoiseSettings(
    sigma_px=3.0, sigma_spread=0.0, outlier_rate=0.03, miss_rate=0.08, person_miss_rate=0.0, shuffle=False
)
SETTINGS = TriangulationSettings()


def learnt(take, settings=SETTINGS):
    return learn_persistence(take.matches, take.rig, learn_noise(take.matches, take.rig, settings), settings)


@pytest.mark.parametrize("seconds", [0.1, 0.25])
def test_share_and_time_of_lasting_errors_are_found(make_take, seconds):
    found = learnt(make_take(replace(NOISE, correlation_s=seconds), frames=500))
    assert found.share + found.constant > 0.85
    assert found.seconds == pytest.approx(seconds, rel=0.3)
    assert found.constant < 0.12


def test_independent_errors_have_none_and_two_cameras_suffice(make_take):
    for cameras in (2, 4):
        found = learnt(make_take(NOISE, frames=300, cameras=cameras))
        assert found.is_white
        assert found.constant == 0
    found = learnt(make_take(replace(NOISE, correlation_s=0.2), frames=400, cameras=2))
    assert found.share + found.constant > 0.8


def test_an_error_that_stays_is_told_from_one_that_goes(make_take):
    found = learnt(make_take(replace(NOISE, bias_px=3.0, correlation_s=0.1), frames=500))
    assert found.constant == pytest.approx(0.5, abs=0.12)
    assert found.share == pytest.approx(0.5, abs=0.12)


def test_too_little_to_tell_says_nothing(make_take):
    assert learnt(make_take(replace(NOISE, correlation_s=0.2), frames=1)).is_white
    take = make_take(NOISE, frames=3)
    nobody = replace(take.matches, confidence=0 * take.matches.confidence, keypoints=np.nan * take.matches.keypoints)
    assert triangulate(nobody, take.rig).persistence.is_white


def test_the_fit_of_exact_correlations():
    seconds = np.array([1, 2, 3, 5, 8, 12, 20, 30]) / 30
    found = fit_decay(0.2 + 0.6 * np.exp(-seconds / 0.15), np.ones(8), seconds)
    assert found.constant == pytest.approx(0.2, abs=0.01)
    assert found.share == pytest.approx(0.6, abs=0.02)
    assert found.seconds == pytest.approx(0.15, rel=0.07)
    nothing = fit_decay(np.zeros(8), np.ones(8), seconds)
    assert nothing.is_white
    assert nothing.constant == 0
