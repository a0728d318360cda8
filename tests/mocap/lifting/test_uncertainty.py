"""What lifted joints' errors are expected to be."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.lifting.uncertainty import FEATURES, Evidence, fit_weights, pooled_intervals
from mocap.lifting.weights import StdScales


def evidence(rng, n=4000):
    lengths = np.exp(rng.normal(-3.5, 0.7, (4, n, 17, 2)))
    return Evidence(*lengths, np.where(rng.random((n, 17)) < 0.1, np.inf, 1e-3))


def test_weights_of_the_evidence_are_found_again(rng):
    """Errors drawn with a known standard deviation, with a twentieth of them far off."""
    known = evidence(rng)
    truth = np.array([0.3, 0.7, 0.0, 0.15, 0.0])
    features = known.features().reshape(-1, len(FEATURES))
    errors = rng.normal(size=len(features)) * np.exp(features @ truth)
    errors[::20] *= 10
    w = fit_weights(features, errors)
    np.testing.assert_allclose(w[1:4], truth[1:4], atol=0.05)
    share = (np.abs(errors) < np.exp(features @ w)).mean()
    assert 0.6 < share < 0.75


def test_a_person_twice_as_large_has_twice_the_errors(rng):
    small = evidence(rng, 5)
    large = Evidence(2 * small.network, 2 * small.fit, 2 * small.mirror, 2 * small.shift, small.noise)
    weights = rng.normal(size=(5, 2, len(FEATURES)))
    np.testing.assert_allclose(large.std(weights), 2 * small.std(weights), rtol=1e-9)


def test_standard_deviations_are_the_weighted_features(rng):
    some, weights = evidence(rng, 6), rng.normal(size=(6, 2, len(FEATURES)))
    expected = some.network * np.exp(np.einsum("njaf,naf->nja", some.features(), weights))
    np.testing.assert_allclose(some.std(weights), expected, rtol=1e-12)


def test_unseen_joints_and_tiny_changes_have_finite_evidence(rng):
    few = evidence(rng, 3)
    still = Evidence(few.network, few.fit, few.mirror * 0, few.shift * 0, few.noise * np.inf)
    assert np.isfinite(still.features()).all()
    assert still.features().shape == (3, 17, 2, len(FEATURES))


def test_weights_of_another_number_are_refused():
    with pytest.raises(ValueError, match="across_weights"):
        StdScales(across_weights=(1.0, 2.0))


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5, 8.0])
def test_one_number_for_three_axes_holds_its_share_of_the_coordinates(rng, ratio):
    errors = rng.normal(size=(200_000, 3)) * [0.01, 0.01, 0.01 * ratio]
    inner, outer = pooled_intervals(np.array([0.01, 0.01 * ratio]))
    assert (np.abs(errors) < inner).mean() == pytest.approx(0.683, abs=0.003)
    assert (np.abs(errors) < outer).mean() == pytest.approx(0.95, abs=0.002)


def test_what_has_no_standard_deviation_has_no_interval():
    std = np.array([[0.01, 0.02], [np.nan, 0.02], [0.01, np.nan], [0.0, 0.0], [np.inf, np.inf], [0.01, 0.03]])
    known = np.isin(np.arange(6), (0, 5))
    for half, few in zip(pooled_intervals(std), pooled_intervals(std[known]), strict=True):
        assert np.isnan(half[~known]).all()
        np.testing.assert_array_equal(half[known], few)
        assert (few > 0).all()
