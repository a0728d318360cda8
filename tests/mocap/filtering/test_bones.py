"""Bones held at their learnt length: nearer to the truth, honest covariance, any graph of bones."""

import dataclasses

import numpy as np
import pytest

from mocap.filtering import FilterMethod, FilterSettings, filter_trajectories
from mocap.filtering.bones import Bone, _trees, learn_bone
from mocap.filtering.map_smoother import _start
from mocap.filtering.smoother_state import Samples
from mocap.skeleton import H36M_17
from mocap.synthetic import procedural_motion, truth_positions
from mocap.types import Source, Trajectories3D

HELD = FilterSettings(method=FilterMethod.MAP)
FREE = dataclasses.replace(HELD, bones=False)


def record(positions, std, source=Source.TRIANGULATED):
    T, P, J, _ = positions.shape
    variance = np.broadcast_to(np.asarray(std), (T, P, J))[..., None, None] ** 2
    return Trajectories3D(
        positions=positions, covariance=variance * np.eye(3), source=np.full((T, P, J), source),
        reprojection_error=np.ones((T, P, J)), consistency=np.zeros((T, P, J)), views_used=np.full((T, P, J), 3),
        person_ids=np.arange(P), frames=np.arange(T), joint_names=H36M_17.joints, fps=30.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rigid():
    """Two people whose bones are exactly constant: [T, 2, 17, 3]."""
    people = []
    for seed in (4, 9):
        x = truth_positions(procedural_motion(400, 30.0, seed=seed), H36M_17)[:, 0]
        y = x.copy()
        for a, b in H36M_17.bone_index:
            d = x[:, b] - x[:, a]
            length = np.linalg.norm(d, axis=-1, keepdims=True)
            y[:, b] = y[:, a] + d / length * length.mean()
        people.append(y)
    return np.stack(people, 1)


@pytest.fixture(scope="module")
def noisy(rigid):
    rng = np.random.default_rng(0)
    std = 0.02 * np.exp(0.6 * rng.normal(size=rigid.shape[:3]))
    return record(rigid + std[..., None] * rng.normal(size=rigid.shape), std)


def error(result, truth):
    return np.linalg.norm(result.positions - truth, axis=-1).mean()


def inside(result, truth):
    d = (result.positions - truth).astype(np.float64)
    inverse = np.linalg.inv(result.covariance.astype(np.float64))
    return (np.einsum("tpji,tpjik,tpjk->tpj", d, inverse, d) < 7.815).mean()


def test_constant_bones_bring_joints_nearer_to_the_truth_and_stay_constant(rigid, noisy):
    held, free = filter_trajectories(noisy, HELD), filter_trajectories(noisy, FREE)
    assert error(held, rigid) < 0.93 * error(free, rigid)
    a, b = H36M_17.bone_index.T
    spreads = [np.linalg.norm(r.positions[:, :, a] - r.positions[:, :, b], axis=-1).std(0) for r in (held, free)]
    assert np.median(spreads[0]) < 0.5 * np.median(spreads[1])


def test_the_covariance_stays_honest(rigid, noisy):
    assert 0.92 < inside(filter_trajectories(noisy, HELD), rigid) < 0.985


def test_people_do_not_hold_each_other(noisy):
    together = filter_trajectories(noisy, HELD)
    names = ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used")
    alone = filter_trajectories(
        dataclasses.replace(noisy, **{n: getattr(noisy, n)[:, :1] for n in names}, person_ids=np.arange(1)), HELD
    )
    np.testing.assert_allclose(together.positions[:, :1], alone.positions, atol=1e-6)


def test_moving_the_world_moves_the_result(noisy):
    R, t = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0], np.array([1.0, -2.0, 0.5])
    moved = dataclasses.replace(noisy, positions=noisy.positions @ R.T + t)
    here, there = filter_trajectories(noisy, HELD).positions, filter_trajectories(moved, HELD).positions
    np.testing.assert_allclose(here @ R.T + t, there, atol=1e-5)


def test_a_bone_that_is_not_rigid_is_left_free(rigid):
    """A shoulder that comes and goes by 4 cm is not pulled to its mean distance."""
    x = rigid[:, :1].copy()
    wave = 0.04 * np.sin(2 * np.pi * 0.5 * np.arange(len(x)) / 30)
    offset = x[:, 0, 12] - x[:, 0, 11]
    x[:, 0, 12:14] += (offset / np.linalg.norm(offset, axis=-1, keepdims=True) * wave[:, None])[:, None]
    rng = np.random.default_rng(3)
    noisy = record(x + 0.005 * rng.normal(size=x.shape), 0.005)
    truth = np.linalg.norm(x[:, 0, 12] - x[:, 0, 11], axis=-1)
    held, free = (
        np.linalg.norm(r.positions[:, 0, 12] - r.positions[:, 0, 11], axis=-1) - truth
        for r in (filter_trajectories(noisy, HELD), filter_trajectories(noisy, FREE))
    )
    assert np.std(held) < 1.05 * np.std(free)
    assert np.std(free) < 0.2 * np.std(truth)


def test_length_and_spread_are_learnt_free_of_noise(rigid):
    rng = np.random.default_rng(1)
    T, std = 2000, 0.01
    a = rng.normal(size=(T, 3))
    u = rng.normal(size=(T, 3))
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    b = a + u * (0.3 + 0.006 * rng.normal(size=(T, 1)))
    y = np.stack([a, b], 1) + std * rng.normal(size=(T, 2, 3))
    covariance = np.broadcast_to(std**2 * np.eye(3), (T, 2, 3, 3))
    present = np.ones((T, 2), bool)
    state = _start(Samples(y, covariance, present, present, np.full(T, 1 / 30), np.zeros(T, np.int64)))
    bone = learn_bone(state, 0, 1)
    assert bone.length == pytest.approx(0.3, abs=0.001)
    assert bone.spread == pytest.approx(0.006, rel=0.25)
    few = Samples(
        y[:10], covariance[:10], present[:10], present[:10], np.full(10, 1 / 30), np.zeros(10, np.int64)
    )  # fmt: skip
    assert learn_bone(_start(few), 0, 1) is None


def test_any_graph_becomes_trees_of_its_stiffest_bones():
    loop = [Bone(0, 1, 1.0, 0.001), Bone(1, 2, 1.0, 0.002), Bone(2, 0, 1.0, 0.003), Bone(5, 4, 1.0, 0.01)]
    trees = _trees(loop)
    links = [{frozenset((b.parent, b.child)) for b in tree} for tree in trees]
    assert links == [{frozenset((0, 1)), frozenset((1, 2))}, {frozenset((4, 5))}]
    for tree in trees:
        reached = {tree[0].parent}
        for bone in tree:
            assert bone.parent in reached
            reached.add(bone.child)


def test_lifted_samples_count_as_fewer(rigid):
    rng = np.random.default_rng(2)
    x = rigid[:, :1] + 0.01 * rng.normal(size=rigid[:, :1].shape)
    sure, lifted = (filter_trajectories(record(x, 0.01, s), FREE) for s in (Source.TRIANGULATED, Source.LIFTED))
    size = [np.trace(r.covariance, axis1=-2, axis2=-1).mean() for r in (sure, lifted)]
    assert size[1] > 3 * size[0]
