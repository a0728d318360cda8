"""The compiled alignment against the decomposition of Umeyama, degenerate poses and reflections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from mocap.metrics import (
    mpjpe,
    mpjpe_without_root,
    pa_joint_errors,
    pa_mpjpe,
    procrustes,
    rigid_joint_errors,
    rigid_mpjpe,
)


def by_svd(x, y, *, scaled=True):
    """One pose at a time: Umeyama (PAMI 13, 1991), eqs. 34-43."""
    mx, my = x.mean(0), y.mean(0)
    U, D, Vt = np.linalg.svd((y - my).T @ (x - mx))
    S = np.diag([1, 1, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    R = U @ S @ Vt
    c = np.trace(np.diag(D) @ S) / ((x - mx) ** 2).sum() if scaled else 1.0
    return np.linalg.norm(c * (x - mx) @ R.T - (y - my), axis=-1)


def poses(kind, rng, joints=17, count=40):
    y = rng.normal(size=(count, joints, 3))
    if kind == "planar":
        y[..., 2] = 0
    if kind == "nearly planar":
        y[..., 2] *= 1e-6
    x = y + 0.2 * rng.normal(size=y.shape)
    if kind == "mirrored":
        x[..., 0] *= -1
    if kind == "unlike":
        x = rng.normal(size=y.shape)
    if kind == "millimetres":
        x, y = 1000 * x + 1e5, 1000 * y - 1e5
    if kind == "tiny":
        x = 1e-4 * x
    R = Rotation.random(count, random_state=int(rng.integers(1 << 30))).as_matrix()
    return x @ R.swapaxes(-1, -2) + rng.normal(size=(count, 1, 3)), y


@pytest.mark.parametrize("kind", ["like", "mirrored", "planar", "nearly planar", "unlike", "millimetres", "tiny"])
def test_errors_are_those_of_the_decomposition(kind):
    x, y = poses(kind, np.random.default_rng(3))
    size = np.abs(y - y.mean(1, keepdims=True)).max()
    np.testing.assert_allclose(pa_joint_errors(x, y), [by_svd(*p) for p in zip(x, y, strict=True)], atol=1e-9 * size)
    rigid = [by_svd(*p, scaled=False) for p in zip(x, y, strict=True)]
    np.testing.assert_allclose(rigid_joint_errors(x, y), rigid, atol=1e-9 * size)


def test_three_and_four_joints_and_a_minimum_found_by_search():
    rng = np.random.default_rng(5)
    for joints in (3, 4):
        x, y = poses("like", rng, joints, 2)
        for a, b, e in zip(x, y, pa_joint_errors(x, y), strict=True):

            def squares(p, a=a, b=b):
                return ((np.exp(p[6]) * a @ Rotation.from_rotvec(p[:3]).as_matrix().T + p[3:6] - b) ** 2).sum()

            starts = np.random.default_rng(0).normal(size=(4, 7))
            found = min(minimize(squares, s, method="BFGS", options={"gtol": 1e-9}).fun for s in starts)
            assert (e**2).sum() == pytest.approx(found, rel=1e-6, abs=1e-9)


def test_exact_fits_have_no_error():
    """Collinear points, a plane and its mirror image (a rotation in space), coincident points."""
    line = np.linspace(-1, 2, 6)[None, :, None] * np.array([1.0, 2, 3])
    turn = Rotation.from_rotvec([0.4, -1, 2]).as_matrix()
    assert pa_mpjpe(3 * line @ turn.T + 5, line) < 1e-12
    plane = np.random.default_rng(1).normal(size=(1, 9, 3)) * [1, 1, 0]
    assert pa_mpjpe(plane * [-1, 1, 1], plane) < 1e-12
    point = np.ones((1, 5, 3))
    assert pa_mpjpe(point, point) == 0
    assert pa_mpjpe(point, line[:, :5]) == pytest.approx(
        np.linalg.norm(line[0, :5] - line[0, :5].mean(0), axis=-1).mean()
    )
    assert pa_mpjpe(line, np.zeros((1, 6, 3))) < 1e-12
    for turned in (np.pi, np.pi - 1e-9):  # half a turn: the quaternion's scalar part vanishes
        R = Rotation.from_rotvec([0, turned, 0]).as_matrix()
        assert pa_mpjpe(plane @ R.T, plane) < 1e-9


def test_one_joint_two_joints_none_and_masks():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 5, 6, 3))
    assert np.isnan(pa_joint_errors(x[:, :1], y[:, :1])).all()
    assert np.isnan(pa_joint_errors(x[:, :2], y[:, :2])).all()
    assert pa_joint_errors(x[:0], y[:0]).shape == (0, 6)
    mask = np.array([True, False, True, True, True, False])
    errors = pa_joint_errors(x, y, mask)
    np.testing.assert_allclose(errors[:, mask], pa_joint_errors(x[:, mask], y[:, mask]), rtol=1e-9)
    assert np.isnan(errors[:, ~mask]).all()
    assert np.isnan(pa_mpjpe(x, y, np.zeros((5, 6), bool)))
    x[0, 0, 1] = np.inf
    assert np.isnan(pa_joint_errors(x, y)[0, 0])
    np.testing.assert_allclose(pa_joint_errors(x, y)[0, 1:], pa_joint_errors(x[:1, 1:], y[:1, 1:])[0], rtol=1e-9)


@given(st.integers(0, 2**31), st.integers(3, 20), st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_freedom_never_costs_squares(seed, joints, scale):
    """Similarity <= rigid <= shift alone in squares; a mirrored pair has the same error as the pair itself."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 3, joints, 3)) * [[[[scale]]], [[[1.0]]]]
    similar, rigid = (pa_joint_errors(x, y) ** 2).sum(-1), (rigid_joint_errors(x, y) ** 2).sum(-1)
    shifted = (x - x.mean(1, keepdims=True) - y + y.mean(1, keepdims=True)) ** 2
    assert (similar <= rigid * (1 + 1e-9)).all()
    assert (rigid <= shifted.sum((-1, -2)) * (1 + 1e-9)).all()
    mirror = np.array([1.0, -1, 1])
    np.testing.assert_allclose(pa_joint_errors(x * mirror, y * mirror), pa_joint_errors(x, y), rtol=1e-6, atol=1e-9)
    assert rigid_mpjpe(x, y) == pytest.approx(rigid_mpjpe(y, x), rel=1e-9)
    s, R, t = procrustes(x, y, np.ones(x.shape[:2], bool))
    again = s[:, None, None] * np.einsum("nij,nkj->nki", R, x) + t[:, None]
    assert pa_mpjpe(again, y) == pytest.approx(mpjpe(again, y), rel=1e-6, abs=1e-9)


def test_the_root_counted_or_not():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 10, 17, 3))
    assert mpjpe_without_root(x, y, 3) == pytest.approx(mpjpe(x, y, root=3) * 17 / 16)
    mask = rng.random((10, 17)) < 0.5
    kept = mask.copy()
    kept[:, 3] = False
    assert mpjpe_without_root(x, y, 3, mask) == pytest.approx(mpjpe(x, y, kept, root=3))
    assert np.isnan(mpjpe_without_root(x[:, :1], y[:, :1], 0))
