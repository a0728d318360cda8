"""Each metric against a hand-worked case, an independent computation, degenerate input or an invariance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mocap.errors import DataError, SettingsError
from mocap.metrics import (
    SHELF_JOINTS,
    SHELF_PARTS,
    acceleration_error,
    auc3d,
    average_precision,
    bootstrap_interval,
    box_size,
    cps,
    foot_slide,
    identity_score,
    limb_length_error,
    mpjpe,
    mpjve,
    n_mpjpe,
    oks,
    pa_joint_errors,
    pa_mpjpe,
    pck,
    pck3d,
    pck_by_joint,
    pckh,
    pcp_mean,
    pcp_strict,
    person_distances,
    procrustes,
    shelf_score,
    to_shelf,
)
from mocap.skeleton import BLAZEPOSE_33, BODY_25, COCO_17, H36M_17, LIMBS_12
from mocap.synthetic import procedural_motion, truth_positions


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---- position errors


def test_n_mpjpe_by_hand():
    truth = np.array([[[0.0, 0, 0], [0, 0, 2], [0, 2, 0]]])
    prediction = np.array([[[5.0, 5, 5], [5, 5, 6], [5, 6, 5]]])  # half the size, elsewhere
    assert n_mpjpe(prediction, truth) == pytest.approx(0, abs=1e-12)
    off = prediction.copy()
    off[0, 2] = [5, 5, 5]  # <x, y> / <x, x> = 2 / 1, so the second is right and the third 2 off
    assert n_mpjpe(off, truth) == pytest.approx(2 / 3)


def test_n_mpjpe_degenerate(rng):
    truth = rng.normal(size=(2, 5, 3))
    assert n_mpjpe(np.zeros((2, 5, 3)), truth) == pytest.approx(mpjpe(np.zeros((2, 5, 3)), truth, root=0))
    assert np.isnan(n_mpjpe(np.full((2, 5, 3), np.nan), truth))
    assert n_mpjpe(truth[:, :1], truth[:, :1]) == 0


def test_means_do_not_depend_on_how_takes_are_parted(rng):
    X, Y = rng.normal(size=(2, 5000, 3, 3))
    mask = rng.random((5000, 3)) < 0.5
    X[7, 1, 2] = np.nan
    plain = np.linalg.norm(X - Y, axis=-1)
    assert mpjpe(X, Y) == pytest.approx(np.nanmean(plain))
    assert mpjpe(X, Y, mask) == pytest.approx(np.nanmean(plain[mask]))
    np.testing.assert_allclose(mpjpe(X[:, None], Y[:, None], mask[:, None]), mpjpe(X, Y, mask), rtol=1e-12)
    assert np.isnan(mpjpe(X[:0], Y[:0]))


poses = st.integers(0, 2**32 - 1).map(lambda s: np.random.default_rng(s).normal(size=(2, 4, 7, 3)))


@given(poses, st.floats(0.1, 10), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_alignment_never_hurts_the_squares_and_ignores_similarities(pair, scale, seed):
    x, y = pair
    R = Rotation.random(random_state=seed).as_matrix()
    assert pa_mpjpe(scale * x @ R.T + 3, y) == pytest.approx(pa_mpjpe(x, y), rel=1e-7)
    assert mpjpe(x, y) == pytest.approx(mpjpe(y, x))
    assert mpjpe(x @ R.T, y @ R.T) == pytest.approx(mpjpe(x, y))
    assert n_mpjpe(scale * x, y) == pytest.approx(n_mpjpe(x, y), rel=1e-9)
    assert cps(scale * x @ R.T + 3, y, limit=5.0) == pytest.approx(cps(x, y, limit=5.0), rel=1e-6)


def test_aligned_errors_are_those_of_the_similarity(rng):
    x, y = rng.normal(size=(2, 3000, 6, 3))
    x[rng.random((3000, 6)) < 0.1] = np.nan
    valid = np.isfinite(x).all(-1)
    scale, R, t = procrustes(x, y, valid)
    aligned = scale[:, None, None] * np.einsum("nij,nkj->nki", R, x) + t[:, None]
    np.testing.assert_allclose(pa_joint_errors(x, y), np.linalg.norm(aligned - y, axis=-1), rtol=1e-9, atol=1e-12)


# ---- thresholds


def test_pck3d_and_auc_by_hand():
    errors = np.array([[0.0, 0.149, 0.150, np.nan]])
    known = np.array([[True, True, True, True]])
    assert pck3d(errors, known) == pytest.approx(2 / 4)  # 150 mm is not below 150 mm
    assert pck3d(errors, np.array([[True, False, True, False]])) == pytest.approx(1 / 2)
    assert np.isnan(pck3d(errors, ~known))
    # thresholds 0, 5, ..., 150: error 0 is below 30 of 31, 149 below the last one, 150 and missing below none
    assert auc3d(errors, known) == pytest.approx((30 + 1) / 31 / 4)
    with pytest.raises(SettingsError, match="not a threshold"):
        pck3d(errors, known, -1.0)


def test_auc_is_the_mean_of_pck(rng):
    errors, known = rng.uniform(0, 0.3, (20, 5)), rng.random((20, 5)) < 0.8
    assert auc3d(errors, known) == pytest.approx(np.mean([pck3d(errors, known, t) for t in np.arange(31) * 0.005]))


def test_cps_against_its_integral(rng):
    truth = rng.normal(size=(200, 6, 3)) * 0.5
    prediction = truth + 0.1 * rng.normal(size=truth.shape)
    thresholds = np.linspace(0, 0.3, 3001)
    worst = pa_joint_errors(prediction, truth).max(-1)
    share = (worst[:, None] < thresholds).mean(0)
    assert cps(prediction, truth) == pytest.approx(np.trapezoid(share, thresholds), abs=1e-4)
    assert cps(truth, truth) == pytest.approx(0.3)
    prediction[:, 2] = np.nan
    assert cps(prediction, truth) == 0
    assert np.isnan(cps(prediction, np.full_like(truth, np.nan)))


# ---- motion


def test_velocity_and_acceleration_by_hand():
    t = np.arange(6.0)
    truth = np.zeros((6, 1, 3))
    prediction = np.stack([0.5 * t**2, 0 * t, 0 * t], -1)[:, None]
    frames = np.arange(6)
    assert acceleration_error(prediction, truth, frames) == pytest.approx(1.0)
    assert mpjve(prediction, truth, frames) == pytest.approx(np.mean(t[:5] + 0.5))
    assert mpjve(truth + 3, truth, frames) == 0  # a constant offset has no velocity
    parted = np.array([0, 1, 2, 1000, 1001, 1002])
    assert mpjve(prediction, truth, parted) == pytest.approx(np.mean([0.5, 1.5, 3.5, 4.5]))
    prediction[3:] += 100
    assert acceleration_error(prediction, truth, parted) == pytest.approx(1.0)
    assert np.isnan(acceleration_error(prediction[:2], truth[:2], parted[:2]))
    assert np.isnan(mpjve(prediction[:1], truth[:1], parted[:1]))
    with pytest.raises(DataError, match="frames do not fit"):
        mpjve(prediction, truth, parted[:3])


def test_foot_slide_by_hand():
    feet = np.zeros((40, 2, 3))
    feet[:, 0, 0] = 0.01 * np.arange(40)  # slides on the floor
    feet[:, 1, 0] = 1.0 * np.arange(40)
    feet[:, 1, 2] = 0.5
    feet[::2, 1, 2] = 0.0  # never low for two frames running
    frames = np.arange(40)
    assert foot_slide(feet, frames) == pytest.approx(0.01)
    assert foot_slide(feet + [0, 0, 7], frames) == pytest.approx(0.01)
    contact = np.zeros((40, 2), bool)
    contact[3:5, 1] = True
    assert foot_slide(feet, frames, contact) == pytest.approx(1.0)
    assert np.isnan(foot_slide(feet, frames, contact & False))
    assert np.isnan(foot_slide(np.full_like(feet, np.nan), frames))


def test_limb_length_error(rng):
    truth = truth_positions(procedural_motion(5, 30.0, seed=1), COCO_17)
    assert limb_length_error(1.1 * truth, truth, COCO_17) == pytest.approx(
        [0.1 * np.mean(np.linalg.norm(truth[..., COCO_17.index(a), :] - truth[..., COCO_17.index(b), :], axis=-1))
         for a, b in LIMBS_12], rel=1e-6)  # fmt: skip
    assert np.isnan(limb_length_error(np.full_like(truth, np.nan), truth, COCO_17)).all()


# ---- parts


def part_pose():
    """All joints at distinct places, so that every part has its own length."""
    return np.random.default_rng(5).normal(size=(15, 3))


def test_pcp_by_hand():
    truth = part_pose()
    a, b = SHELF_JOINTS.index("l_shoulder"), SHELF_JOINTS.index("l_elbow")
    length = np.linalg.norm(truth[a] - truth[b])
    moved = truth.copy()
    moved[b] += [0.9 * length, 0, 0]
    # the elbow is 0.9 off: the mean of the ends is 0.45 (right), but one end alone is too far
    assert pcp_mean(moved, truth)[0]
    assert not pcp_strict(moved, truth)[0]
    moved[b] += [0.2 * length, 0, 0]
    assert not pcp_mean(moved, truth)[0]
    moved[b] = np.nan
    assert not pcp_mean(moved, truth)[0]
    assert pcp_mean(truth, truth).all()
    assert len(SHELF_PARTS) == 10


@given(st.integers(0, 10_000), st.floats(0.05, 1.5))
@settings(max_examples=30, deadline=None)
def test_strict_pcp_is_stricter(seed, noise):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(20, 15, 3))
    moved = truth + noise * rng.normal(size=truth.shape)
    assert (pcp_mean(moved, truth) | ~pcp_strict(moved, truth)).all()


def test_shelf_score_gives_each_actor_the_nearest_person():
    truth = np.stack([part_pose(), part_pose() + 5])[None].repeat(4, 0)
    truth[3, 1] = np.nan
    prediction = truth[:, ::-1].copy()
    prediction[2] = prediction[2, ::-1]  # identities cross
    prediction[0, 0] = np.nan  # actor 1 has only the person 5 m off
    score = shelf_score(prediction, truth, np.array([7, 9]))
    assert score.by_actor == pytest.approx([1.0, 2 / 3])
    assert score.pcp == pytest.approx((1 + 2 / 3) / 2)
    assert score.id_switches == 3  # 9 9 7 9, and 7 9 for the other
    assert score.people_per_frame == pytest.approx((1 + 2 + 2 + 1) / 4)
    assert score.limb_error == 0
    nobody = shelf_score(prediction[:, :0], truth, np.zeros(0, np.int64))
    assert nobody.pcp == 0
    assert nobody.people_per_frame == 0


@pytest.mark.parametrize("skeleton", [COCO_17, BODY_25, BLAZEPOSE_33])
def test_conversions_to_shelf_move_with_the_person(skeleton):
    X = truth_positions(procedural_motion(10, 30.0, seed=2), skeleton)
    shelf = to_shelf(X, skeleton.joints)
    R = Rotation.from_rotvec([0, 0, 1.0]).as_matrix()
    np.testing.assert_allclose(to_shelf(X @ R.T + 1, skeleton.joints), shelf @ R.T + 1, atol=1e-6)
    for joint in SHELF_JOINTS[:12]:
        np.testing.assert_allclose(shelf[..., SHELF_JOINTS.index(joint), :], X[..., skeleton.index(joint), :])
    top, bottom = shelf[..., 13, :], shelf[..., 12, :]
    height = (top - bottom)[..., 2]
    assert (height > 0.05).all()
    assert (height < 0.4).all()


def test_joints_without_a_head_are_refused():
    with pytest.raises(DataError, match="cannot be scored as Shelf's"):
        to_shelf(np.zeros((1, 17, 3)), H36M_17.joints)


# ---- 2D


def test_pck_by_hand():
    truth = np.array([[[0.0, 0], [100, 0], [0, 50], [np.nan, np.nan]]])
    assert box_size(truth) == pytest.approx([100])
    prediction = truth + [[[20, 0]], ] * np.array([1, 1.01, 0, 1])[:, None]  # fmt: skip
    assert pck(prediction, truth, np.array([100.0])) == pytest.approx(2 / 3)
    prediction[0, 0] = np.nan
    assert pck(prediction, truth, np.array([100.0])) == pytest.approx(1 / 3)
    by_joint = pck_by_joint(np.stack([prediction, truth]), np.stack([truth, truth]), np.full((2, 1), 100.0))
    assert by_joint[:3] == pytest.approx([0.5, 0.5, 1])
    assert np.isnan(by_joint[3])
    assert pckh(truth, truth, np.array([10.0])) == 1
    assert np.isnan(box_size(np.full((1, 3, 2), np.nan))).all()


def test_oks_by_hand():
    truth = np.zeros((1, 2, 2))
    prediction = np.array([[[3.0, 4.0], [0, 0]]])
    # d^2 = 25, area 100, k = 2 * 0.5 = 1: exp(-25 / 200)
    assert oks(prediction, truth, np.array([100.0]), np.array([0.5, 0.5])) == pytest.approx((np.exp(-0.125) + 1) / 2)
    prediction[0, 1] = np.nan
    assert oks(prediction, truth, np.array([100.0]), np.array([0.5, 0.5])) == pytest.approx(np.exp(-0.125) / 2)
    assert np.isnan(oks(prediction, np.full_like(truth, np.nan), np.array([1.0]), np.array([0.5, 0.5]))).all()
    with pytest.raises(DataError, match="sigmas do not fit"):
        oks(prediction, truth, np.array([1.0]))


def test_average_precision_by_hand():
    perfect = average_precision([np.eye(2)], [np.array([0.9, 0.8])])
    assert (perfect.ap, perfect.ap50, perfect.ar) == (1, 1, 1)
    # a false positive ranked first: precision 1/2 at recall 1, at all 101 recalls
    worse = average_precision([np.array([[0.0], [0.8]])], [np.array([0.9, 0.5])])
    assert worse.ap50 == pytest.approx(0.5)
    assert worse.ap == pytest.approx(0.5 * 7 / 10)  # 0.50 ... 0.80 reached
    assert worse.ap75 == pytest.approx(0.5)
    # half the truths found, without false positives: recalls 0 ... 0.50 have precision 1
    half = average_precision([np.array([[1.0, 0.0]])], [np.array([0.9])])
    assert half.ap == pytest.approx(51 / 101)
    # a truth is found once only
    twice = average_precision([np.array([[0.9], [0.9]])], [np.array([0.5, 0.9])])
    assert twice.ar == pytest.approx(0.9)
    assert average_precision([np.zeros((0, 3))], [np.zeros(0)]).ap == 0
    assert np.isnan(average_precision([np.zeros((2, 0))], [np.ones(2)]).ap)


# ---- identities


def test_identities_by_hand():
    """Two people, five frames; predictions swap after the third; one false positive, one miss."""
    near, far = 0.1, 9.0
    keep, swap = np.array([[near, far, far], [far, near, far]]), np.array([[far, near, far], [near, far, far]])
    distance = np.stack([keep, keep, keep, swap, swap])
    truth = np.ones((5, 2), bool)
    prediction = np.ones((5, 3), bool)
    prediction[1:, 2] = False
    prediction[0, 1] = False
    score = identity_score(distance, truth, prediction)
    assert (score.misses, score.false_positives, score.switches) == (1, 1, 2)
    assert score.mota == pytest.approx(1 - 4 / 10)
    assert score.motp == pytest.approx(near)
    # identities over the take: 3 + 2 frames of ten truths and ten predictions
    assert score.idf1 == pytest.approx(2 * 5 / 20)


def test_a_kept_pair_is_not_broken_by_a_nearer_newcomer():
    distance = np.array([[[0.1, np.inf]], [[0.3, 0.1]]])
    score = identity_score(distance, np.ones((2, 1), bool), np.array([[True, False], [True, True]]))
    assert score.switches == 0
    assert score.motp == pytest.approx(0.2)
    assert score.false_positives == 1


def test_identities_degenerate(rng):
    empty = identity_score(np.zeros((3, 0, 0)), np.zeros((3, 0), bool), np.zeros((3, 0), bool))
    assert np.isnan(empty.mota)
    assert np.isnan(empty.idf1)
    X = rng.normal(size=(4, 2, 6, 3))
    distance = person_distances(X, X)
    assert distance[:, [0, 1], [0, 1]] == pytest.approx(0)
    X2 = X.copy()
    X2[0, 0, :2] = np.nan
    assert np.isinf(person_distances(X2, X)[0, 0, 0])
    perfect = identity_score(distance, np.ones((4, 2), bool), np.ones((4, 2), bool), 1e-6)
    assert (perfect.mota, perfect.idf1) == (1, 1)
    with pytest.raises(DataError, match="presence does not fit"):
        identity_score(distance, np.ones((4, 3), bool), np.ones((4, 2), bool))


# ---- confidence


def test_bootstrap_covers_the_mean_as_often_as_it_says(rng):
    covered = 0
    for seed in range(200):
        x = np.random.default_rng(seed).exponential(1.0, 60)
        low, high = bootstrap_interval(x, np.ones(60), 0.9, draws=400, seed=seed)
        covered += low <= 1.0 <= high
    assert 0.82 <= covered / 200 <= 0.96


def test_bootstrap_blocks_widen_what_is_correlated(rng):
    x = np.repeat(rng.normal(size=30), 20)
    narrow, wide = (np.diff(bootstrap_interval(x, np.ones(600), block=b))[0] for b in (1, 20))
    assert wide > 3 * narrow
    assert bootstrap_interval(x, np.ones(600), seed=4) == bootstrap_interval(x, np.ones(600), seed=4)
    assert np.isnan(bootstrap_interval(x[:0], x[:0])).all()
    assert np.isnan(bootstrap_interval(x[:5], np.ones(5), block=10)).all()
    with pytest.raises(SettingsError, match="no such bootstrap"):
        bootstrap_interval(x, x, level=1.5)
