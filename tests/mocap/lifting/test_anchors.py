"""Tying lifted poses to triangulated joints."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mocap.lifting.anchors import bridge, tie


def test_bridge_is_the_conditional_of_a_gaussian_process(rng):
    """Against dense Gaussian conditioning with the exponential kernel."""
    known = rng.random(40) < 0.2
    values = rng.normal(size=(40, 2))
    t = np.arange(40)
    kernel = np.exp(-np.abs(t[:, None] - t) / 7.0)
    gain = kernel[:, known] @ np.linalg.inv(kernel[np.ix_(known, known)])
    mean, share = bridge(values, known, 7.0)
    np.testing.assert_allclose(mean, gain @ values[known], atol=1e-6)
    np.testing.assert_allclose(share, np.diag(kernel - gain @ kernel[known]), atol=1e-6)


def test_bridge_of_nothing_is_the_prior():
    mean, share = bridge(np.ones((5, 3)), np.zeros(5, bool), 3.0)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(share, 1)


def test_a_moved_and_turned_pose_is_put_back(walker):
    pivot = walker.mean(1, keepdims=True)
    R = Rotation.from_rotvec([0, 0, 0.2]).as_matrix()
    lifted = (walker - pivot) @ R.T + pivot + [0.1, -0.2, 0.05]
    anchors = walker.copy()
    anchors[:, [13, 16]] = np.nan  # wrists are to be filled
    before = np.linalg.norm(lifted - walker, axis=-1)[:, [13, 16]].mean()
    tied = tie(lifted, anchors, 50, 25)
    after = np.linalg.norm(tied.positions - walker, axis=-1)[:, [13, 16]].mean()
    assert after < 0.15 * before


def test_constant_error_is_carried_across_a_gap(walker):
    lifted = walker + [0.2, 0, 0]
    anchors = walker.copy()
    anchors[60:90] = np.nan
    tied = tie(lifted, anchors, 50, 25)
    error = np.linalg.norm(tied.positions[60:90] - walker[60:90], axis=-1)
    assert error.max() < 0.05
    assert tied.root_share[75] > tied.root_share[60] > 0


def test_nothing_to_tie_to_changes_nothing(walker):
    lifted = walker.copy()
    lifted[5] = np.nan
    tied = tie(lifted, np.full_like(walker, np.nan), 50, 25)
    np.testing.assert_allclose(tied.positions, lifted, atol=1e-12)
    assert (tied.root_share == 1).all()
