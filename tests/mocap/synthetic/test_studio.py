"""The synthetic studio: its truth is exact whatever clocks, shutters, bodies in the way and recordings it has."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig
from calibration.projection import Lenses, project
from mocap.errors import DataError, SettingsError
from mocap.skeleton import COCO_17, H36M_17
from mocap.synthetic import (
    PERFECT,
    CameraClock,
    MotionKind,
    NoiseSettings,
    SceneCurve,
    StudioSettings,
    film,
    hidden_joints,
    make_take,
    motion_from_joints,
    observe_labelled,
    procedural_motion,
    random_clocks,
    read_recording,
    ring_rig,
    truth_positions,
)
from mocap.synthetic.occlusion import capsules, segment_distance


@pytest.fixture(scope="module")
def rig():
    return ring_rig(4, seed=1)


@pytest.fixture(scope="module")
def curve():
    motion = procedural_motion(480, 240.0, seed=5, kind=MotionKind.JUMPING_JACK)
    return SceneCurve(truth_positions(motion, COCO_17), 240.0, -0.5)


# ---- the curve


def test_the_curve_goes_through_its_samples_and_has_no_corners(curve):
    sample = curve.start_s + np.arange(480) / 240
    np.testing.assert_allclose(curve.at(sample[:, None, None]), curve.samples, atol=1e-12)
    t = sample[100]
    left, right = ((curve.at(np.array(t + s * 1e-6)) - curve.at(np.array(t))) / (s * 1e-6) for s in (-1, 1))
    np.testing.assert_allclose(left, right, atol=1e-3)
    assert np.isnan(curve.at(np.array(curve.end_s + 0.01))).all()
    assert np.isnan(curve.at(np.array(curve.start_s - 0.01))).all()


def test_the_curve_is_exact_for_parabolas_and_local():
    t = np.arange(12.0)
    samples = np.stack([t**2, 3 - 2 * t, 0 * t], -1)[:, None, None]
    parabola = SceneCurve(samples, 1.0)
    x = np.array([1.0, 1.3, 7.9, 9.99])
    found = parabola.at(x[:, None, None])[:, 0, 0]
    np.testing.assert_allclose(found, np.stack([x**2, 3 - 2 * x, 0 * x], -1), atol=1e-9)
    samples = samples.copy()
    samples[6] = np.nan
    gone = SceneCurve(samples, 1.0).at(np.arange(0, 11.1, 0.5)[:, None, None])[:, 0, 0, 0]
    assert np.flatnonzero(np.isnan(gone)).tolist() == [9, 11, 12, 13, 15]  # 4.5, 5.5, 6, 6.5, 7.5: where it takes part
    assert SceneCurve(samples[:1], 1.0).at(np.array(0.0)).shape == (1, 1, 3)


# ---- clocks and shutters


def test_every_camera_films_at_its_own_times(curve, rig):
    clocks = (CameraClock(60.0), CameraClock(50.0, 0.123), CameraClock(60.0, -0.2, 5e-5), CameraClock(24.0, 0.01))
    views = film(curve, rig, clocks)
    for v, (clock, view) in enumerate(zip(clocks, views, strict=True)):
        i = np.arange(len(view.times))
        t = clock.offset_s + (1 + clock.drift) * i / clock.fps
        np.testing.assert_allclose(view.times, np.broadcast_to(t[:, None, None], view.times.shape), atol=1e-12)
        exact = project(Lenses.of(rig), curve.at(t[:, None, None]))[v]
        np.testing.assert_allclose(view.pixels, exact, atol=1e-9)
        assert t[-1] <= curve.end_s < t[-1] + 1.01 / clock.fps
    with pytest.raises(SettingsError, match="a clock per camera"):
        film(curve, rig, clocks[:2])
    with pytest.raises(SettingsError, match="films nothing"):
        film(curve, rig, (CameraClock(60.0, 99.0),) * 4)
    for wrong in ({"fps": 0.0}, {"readout_s": 0.1}, {"drift": 1.0}, {"offset_s": float("nan")}):
        with pytest.raises(SettingsError, match="no camera runs like this"):
            CameraClock(**wrong)


def test_rolling_shutter_by_hand():
    """A point that falls at constant speed in front of a camera without distortion: the row's time in closed form."""
    K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    camera = CameraRig((Camera("c", (640, 480), K, np.zeros(5), np.eye(3), np.zeros(3)),))
    t = np.arange(61) / 60
    path = SceneCurve(np.stack([0 * t, -0.8 + 1.5 * t, 0 * t + 4], -1)[:, None, None], 60.0)
    view = film(path, camera, (CameraClock(30.0, 0.0, 0.0, 0.03),))[0]
    # y(t) = 240 + 500 (-0.8 + 1.5 t) / 4, t = start + 0.03 y / 480
    start = np.arange(len(view.times)) / 30
    y0, speed = 240 - 100 + 187.5 * start, 187.5
    delay = 0.03 / 480 * y0 / (1 - 0.03 / 480 * speed)
    np.testing.assert_allclose(view.times[:, 0, 0] - start, delay, rtol=1e-9)
    np.testing.assert_allclose(view.positions[:, 0, 0, 1], -0.8 + 1.5 * (start + delay), atol=1e-9)


def test_rolling_shutter_against_a_root_finder(curve, rig):
    clock = CameraClock(30.0, -0.3, 0.0, 0.02)
    views = film(curve, rig, (clock,) * 4)
    rng = np.random.default_rng(0)
    for _ in range(20):
        v, f, j = rng.integers(4), rng.integers(5, 40), rng.integers(17)
        one = Lenses.of(CameraRig((rig.cameras[v],)))
        start = -0.3 + f / 30

        def late(t, one=one, start=start, j=j):
            y = project(one, curve.at(np.array(t))[0, j])[0, 1]
            return t - start - 0.02 * np.clip(y, 0, 1079) / 1080

        found = brentq(late, start - 0.001, start + 0.021, xtol=1e-13)
        assert views[v].times[f, 0, j] == pytest.approx(found, abs=1e-9)
        np.testing.assert_allclose(views[v].positions[f, 0, j], curve.at(np.array(found))[0, j], atol=1e-8)
    still = film(curve, rig, (replace(clock, readout_s=0.0),) * 4)
    moved = np.linalg.norm(views[0].pixels - still[0].pixels, axis=-1)
    assert np.nanmax(moved) > 3  # a jumping jack's hands: several pixels


def test_drawn_clocks_stay_within_what_was_asked():
    clocks = random_clocks(9, fps=(60.0, 50.0), offset_s=0.3, drift_ppm=40, readout_s=0.01, seed=3)
    assert (clocks[0].offset_s, clocks[0].drift) == (0, 0)
    assert [c.fps for c in clocks[:4]] == [60, 50, 60, 50]
    assert 0.1 < max(abs(c.offset_s) for c in clocks) <= 0.3
    assert 1e-5 < max(abs(c.drift) for c in clocks) <= 4e-5
    assert clocks == random_clocks(9, fps=(60.0, 50.0), offset_s=0.3, drift_ppm=40, readout_s=0.01, seed=3)


# ---- bodies in the way


def test_segment_distance_against_a_search():
    rng = np.random.default_rng(1)
    u = np.linspace(0, 1, 400)
    for case in range(40):
        p, q, a, b = rng.normal(size=(4, 3))
        if case % 4 == 1:
            b = a  # a point
        if case % 4 == 2:
            b = a + 0.7 * (q - p)  # parallel
        if case % 4 == 3:
            q = p
        s, t = p + u[:, None] * (q - p), a + u[:, None] * (b - a)
        brute = np.linalg.norm(s[:, None] - t[None], axis=-1).min()
        assert segment_distance(p, q, a, b) <= brute + 1e-12
        assert segment_distance(p, q, a, b) == pytest.approx(brute, abs=0.02)


def test_people_hide_each_other_and_themselves(rig):
    """Somebody straight behind somebody else is hidden from this camera; in front, from none."""
    X = truth_positions(procedural_motion(1, 30.0, seed=2, kind=MotionKind.STAND), COCO_17)
    X = X - np.append(X[0, 0, :, :2].mean(0), 0)
    way = rig.centres[0] * [1, 1, 0] / np.linalg.norm(rig.centres[0][:2])
    pair = np.concatenate([X + 0.5 * way, X - 0.5 * way], 1)
    hidden = hidden_joints(pair, rig, COCO_17)
    hips = [COCO_17.index("l_hip"), COCO_17.index("r_hip")]
    assert hidden[0, 0, 1, hips].all()
    assert hidden[0, 0, 1].mean() > 0.5
    assert hidden[0, 0, 0].sum() < hidden[0, 0, 1].sum() / 2
    alone = hidden_joints(X, rig, COCO_17)[:, 0, 0]
    assert np.array_equal(hidden[0, 0, 0], alone[0])  # nobody before the one in front
    pair[0, 0] = np.nan
    gone = hidden_joints(pair, rig, COCO_17)
    assert not gone[:, :, 0].any()
    assert np.array_equal(gone[0, 0, 1], hidden_joints(pair[:, 1:], rig, COCO_17)[0, 0, 0])


def test_hidden_joints_are_those_whose_sight_line_meets_a_capsule(rig):
    """Against points along the line, every capsule in turn."""
    X = truth_positions(procedural_motion(1, 1.0, seed=4, n_people=2, spacing=0.8), COCO_17)
    hidden = hidden_joints(X, rig, COCO_17)
    ends, radii = capsules(X, COCO_17)
    u = np.linspace(0, 1, 1500)[:, None]
    differ = 0
    for v, t, p, j in np.ndindex(4, 1, 2, 17):
        line = X[t, p, j] + u * (rig.centres[v] - X[t, p, j])
        meets = False
        for q, c in np.ndindex(2, len(radii)):
            a, b = ends[t, q, c]
            part = np.clip((line - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0, 1)
            gap = np.linalg.norm(line - a - part[:, None] * (b - a), axis=-1)
            meets |= gap.min() < radii[c] and gap[0] >= radii[c] + 0.04
        differ += meets != hidden[v, t, p, j]
    assert 0.1 < hidden.mean() < 0.6
    assert differ <= 1  # a line that grazes within the step of the search


def test_hidden_joints_are_seen_worse(rig):
    X = truth_positions(procedural_motion(200, 30.0, seed=4, n_people=2, spacing=0.8), COCO_17)
    exact = project(Lenses.of(rig), X)
    noise = replace(PERFECT, sigma_px=2.0, occluded_sigma=5.0)
    seen = observe_labelled(X, rig, noise, 1, joint_names=COCO_17.joints)
    error = seen.keypoints.keypoints - exact
    good = np.isfinite(error).all(-1)
    assert error[good & ~seen.hidden].std() == pytest.approx(2.0, rel=0.05)
    assert error[good & seen.hidden].std() == pytest.approx(10.0, rel=0.05)
    confidence = seen.keypoints.confidence
    assert confidence[good & seen.hidden].mean() < confidence[good & ~seen.hidden].mean() - 0.3
    lost = observe_labelled(X, rig, replace(noise, occluded_miss_rate=0.4), 1, joint_names=COCO_17.joints)
    inside = np.isfinite(exact).all(-1) & (exact > 50).all(-1) & (exact < 1030).all(-1)
    missed = lost.keypoints.confidence == 0
    assert missed[inside & lost.hidden].mean() == pytest.approx(0.4, abs=0.02)
    assert not missed[inside & ~lost.hidden].any()
    # What does not ask for occlusion is as it was, to the bit.
    plain = observe_labelled(X, rig, NoiseSettings(flip_rate=0.1), 1, joint_names=COCO_17.joints)
    same = observe_labelled(X, rig, NoiseSettings(flip_rate=0.1, occluded_sigma=1.0), 1, joint_names=COCO_17.joints)
    assert np.array_equal(plain.keypoints.keypoints, same.keypoints.keypoints, equal_nan=True)
    assert not plain.hidden.any()


# ---- recordings


def test_following_what_a_body_did_gives_the_same_joints():
    motion = procedural_motion(90, 30.0, seed=3)
    joints = truth_positions(motion, H36M_17)
    again = motion_from_joints(joints[:, 0], 30.0)
    np.testing.assert_allclose(truth_positions(again, H36M_17), joints, atol=1e-6)
    assert again.bodies[0].stature == pytest.approx(motion.bodies[0].stature, rel=0.03)
    # The feet that it calls planted are nearly all feet that were.
    assert (again.planted & motion.planted).sum() > 0.9 * again.planted.sum() > 20
    for point in ("nose", "l_ear", "l_heel"):
        assert np.isfinite(truth_positions(again, COCO_17)).all(), point


def test_bones_of_a_shaky_recording_are_constant_and_near_it():
    joints = truth_positions(procedural_motion(60, 30.0, seed=3), H36M_17)[:, 0]
    shaky = joints + np.random.default_rng(0).normal(0, 0.01, joints.shape)
    made = truth_positions(motion_from_joints(shaky, 30.0), H36M_17)[:, 0]
    bones = [(H36M_17.index(a), H36M_17.index(b)) for a, b in H36M_17.bones]
    lengths = np.stack([np.linalg.norm(made[:, a] - made[:, b], axis=-1) for a, b in bones], 1)
    assert np.ptp(lengths, axis=0).max() < 1e-9
    assert np.linalg.norm(made - joints, axis=-1).mean() < 0.03
    for wrong in (shaky[:, :16], np.full_like(shaky, np.nan), shaky[:0]):
        with pytest.raises(DataError, match="no motion to follow"):
            motion_from_joints(wrong, 30.0)
    with pytest.raises(DataError, match="no body"):
        motion_from_joints(100 * shaky, 30.0)


def test_recordings_from_hdf5_and_bvh(tmp_path):
    motion = procedural_motion(120, 50.0, seed=3)
    joints = truth_positions(motion, H36M_17)[:, 0]
    turned = joints @ Rotation.from_rotvec([0, 0, 1]).as_matrix().T
    with h5py.File(tmp_path / "m.h5", "w") as file:
        both = np.concatenate([joints, turned])
        file["root"] = 1000 * both[:, 0]
        file["pose_rel"] = 1000 * (both[:, 1:] - both[:, :1])
        file["start"], file["length"] = [0, 120], [120, 120]
        file["subject"] = np.array([b"a", b"b"])
        file.attrs["fps"] = 50
    made = truth_positions(read_recording(tmp_path / "m.h5", 1, seconds=1.0), H36M_17)[:, 0]
    assert len(made) == 50
    np.testing.assert_allclose(made, turned[:50], atol=2e-3)
    with pytest.raises(DataError, match="no such sequence"):
        read_recording(tmp_path / "m.h5", 2)

    from mocap.export.animation import make_animation
    from mocap.export.bvh import write_bvh
    from mocap.export.presets import Conventions

    write_bvh(tmp_path / "m.bvh", make_animation(motion.skeletal(), 0, Conventions(), 0, True))
    again = read_recording(tmp_path / "m.bvh")
    assert again.fps == 50
    limbs = [H36M_17.index(f"{s}_{j}") for s in "lr" for j in ("hip", "knee", "ankle", "elbow", "wrist")]
    error = np.linalg.norm(truth_positions(again, H36M_17)[:, 0, limbs] - joints[:, limbs], axis=-1)
    assert np.median(error) < 0.01


# ---- whole takes


def test_a_genlocked_take_is_what_observe_makes_of_its_truth():
    take = make_take(StudioSettings(seconds=1.0, noise=PERFECT), seed=4)
    assert take.truth.shape == (60, 1, 17, 3)
    k = take.keypoints()
    assert k.cameras == take.rig.names
    exact = project(Lenses.of(take.rig), take.truth)
    there = k.confidence > 0
    assert there.mean() > 0.9
    assert np.abs(k.keypoints - exact)[there].max() < 1e-3
    for v, view in enumerate(take.views):
        np.testing.assert_allclose(view.positions, take.truth, atol=1e-9)
        np.testing.assert_allclose(view.pixels, exact[v], atol=1e-6)


def test_a_take_with_everything_is_exact_and_repeatable():
    settings = StudioSettings(
        seconds=1.0, people=2, bystanders=2, rates=(60.0, 50.0), offset_s=0.2, drift_ppm=50, readout_s=0.012,
        noise=NoiseSettings(correlation_s=0.1, flip_rate=0.1, dropout_rate=0.1, false_positives=0.2, occluded_sigma=3.0,
                            occluded_miss_rate=0.2),
    )  # fmt: skip
    take, again = make_take(settings, 7), make_take(settings, 7)
    assert take.performer.tolist() == [True, True, False, False]
    away = np.linalg.norm(np.nanmean(take.truth[..., :2], axis=(0, 2)), axis=-1)
    assert (away[2:] > 1.5).all()
    for v, (view, clock) in enumerate(zip(take.views, take.clocks, strict=True)):
        assert len(view.times) == round(clock.fps)
        one = Lenses.of(CameraRig((take.rig.cameras[v],)))
        np.testing.assert_allclose(project(one, take.curve.at(view.times))[0], view.pixels, atol=1e-6)
        k = take.observations[v].keypoints
        assert k.fps == clock.fps
        assert np.array_equal(k.keypoints, again.observations[v].keypoints.keypoints, equal_nan=True)
        assert (take.observations[v].person[0] == 2).any() or (take.observations[v].person[0] == 3).any()
    assert any(o.hidden.any() for o in take.observations)
    with pytest.raises(SettingsError, match="no common frames"):
        take.keypoints()
    assert not np.array_equal(take.truth, make_take(settings, 8).truth)
    with pytest.raises(SettingsError, match="no such take"):
        StudioSettings(people=0)


def test_a_take_of_a_recording(tmp_path):
    joints = truth_positions(procedural_motion(100, 50.0, seed=3), H36M_17)[:, 0] + [7, 8, 0]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["root"], file["pose_rel"] = 1000 * joints[:, 0], 1000 * (joints[:, 1:] - joints[:, :1])
        file["start"], file["length"], file["subject"] = [0], [100], np.array([b"a"])
    take = make_take(StudioSettings(seconds=5.0, people=2, recording=tmp_path / "m.h5", skeleton=H36M_17), seed=1)
    assert 1.8 < len(take.truth) / 60 <= 2.0  # no longer than the recording
    middle = take.truth[:, 0].mean((0, 1))[:2]
    assert np.abs(middle).max() < 0.05  # brought to the middle of the cameras
    moved = joints - joints[:1, :1]
    ours = take.truth[:, 0] - take.truth[:1, 0, :1]
    np.testing.assert_allclose(ours[60], moved[50], atol=0.01)
