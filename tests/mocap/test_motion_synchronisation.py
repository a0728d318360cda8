"""Camera times from people: made-up takes of cameras that ran each for itself."""

import numpy as np
import pytest

from calibration.synchronisation import SynchronisationSettings, TimeModel
from mocap.detection.merge import free_running, merge_cameras
from mocap.resampling import to_common_time
from mocap.skeleton import H36M_17
from mocap.synchronisation import times_from_motion
from mocap.synchronisation.fine import _sample
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D

FPS, FINE = 50.0, 6
RIG = ring_rig(4, seed=2)
NOISE = NoiseSettings(sigma_px=2.0)
MOTION = procedural_motion(round(7 * FPS * FINE), FPS * FINE, 3, MotionKind.WALK)
AUTO, MOTION_ONLY = (SynchronisationSettings(method=m, search_s=1.0) for m in ("auto", "motion"))


def view(v, *, late=0, rate=FPS, seconds=6.0, noise=NOISE):
    """What camera v sees that exposes `late` fine steps after the common clock."""
    step = round(FPS * FINE / rate)
    rows = np.arange(60, 60 + round(seconds * FPS * FINE), step) + late
    points = truth_positions(MOTION)[rows]
    rig = RIG.select([RIG.names[v]])
    return observe(points, rig, noise, v, joint_names=H36M_17.joints, fps=rate)


def take(late, rates=None):
    rates = rates or [FPS] * len(late)
    return merge_cameras(
        free_running([view(v, late=n, rate=r) for v, (n, r) in enumerate(zip(late, rates, strict=True))], FPS)
    )


def test_offsets_of_a_walk():
    late = [0, 9, -14, 2]
    found = times_from_motion(take(late), RIG, AUTO)
    np.testing.assert_allclose(found.times.offset_s, np.array(late) / (FPS * FINE), atol=1e-3)
    assert (found.times.offset_std_s[1:] < 5e-4).all()
    assert "reference" in found.statements[0]
    assert "ms" in found.statements[1]


def test_genlocked_cameras_are_left_alone():
    found = times_from_motion(take([0, 0, 0, 0]), RIG, AUTO)
    assert found.times.is_identity
    np.testing.assert_allclose(found.offset_s, 0, atol=1e-3)
    assert "taken for 0" in found.statements[1]


def test_a_camera_of_another_rate():
    rates = [FPS, FPS, FPS / 2, FPS]
    found = times_from_motion(take([0, 9, 4, 0], rates), RIG, MOTION_ONLY, np.array(rates) / FPS)
    np.testing.assert_allclose(found.times.offset_s, np.array([0, 9, 4, 0]) / (FPS * FINE), atol=2e-3)


def test_common_times_undo_the_offsets():
    keypoints = take([0, 9, -14, 2])
    found = times_from_motion(keypoints, RIG, AUTO)
    common = to_common_time(keypoints, found.times)
    locked = take([0, 0, 0, 0])
    both = (common.confidence > 0) & (locked.confidence > 0)
    difference = np.linalg.norm(common.keypoints - locked.keypoints, axis=-1)[both]
    # Two draws of noise of 2 px.
    assert np.median(difference) < 5
    raw = np.linalg.norm(keypoints.keypoints - locked.keypoints, axis=-1)[2]
    assert np.nanmedian(raw) > 10


def test_a_person_who_stands_still_tells_nothing():
    rows = np.full(300, 60)
    points = truth_positions(MOTION)[rows]
    keypoints = observe(points, RIG, NOISE, joint_names=H36M_17.joints, fps=FPS)
    found = times_from_motion(keypoints, RIG, MOTION_ONLY)
    assert found.times.is_identity
    assert all("cannot be decided" in s for s in found.statements)


def test_one_camera_that_saw_something_else():
    keypoints = take([0, 9, -14, 2])
    points = keypoints.keypoints.copy()
    points[3] = points[3, ::-1]  # filmed backwards
    odd = Keypoints2D(points, keypoints.confidence * np.isfinite(points[..., 0]), keypoints.uncertainty,
                      keypoints.frames, keypoints.cameras, keypoints.joint_names, FPS)  # fmt: skip
    found = times_from_motion(odd, RIG, MOTION_ONLY)
    assert "cannot be decided" in found.statements[3]
    assert np.isnan(found.std_s[3])
    np.testing.assert_allclose(found.times.offset_s[:3], np.array([0, 9, -14]) / (FPS * FINE), atol=1e-3)


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_takes_too_short_to_tell(frames):
    keypoints = take([0, 0, 0, 0])
    short = Keypoints2D(keypoints.keypoints[:, :frames], keypoints.confidence[:, :frames],
                        keypoints.uncertainty[:, :frames], keypoints.frames[:frames], keypoints.cameras,
                        keypoints.joint_names, FPS)  # fmt: skip
    assert times_from_motion(short, RIG, MOTION_ONLY).times.is_identity


def test_long_takes_are_looked_at_where_cameras_of_all_rates_filmed():
    # Both film the same 100 s, in 3000 and in 6000 frames, the second 4 s late; a pixel per 1/60 s.
    frames = np.arange(6000)
    moved = np.stack([2.0 * frames, frames + 240.0])[:, :, None, None, None]
    points = (moved + 10 * np.arange(17)[:, None] * np.ones(2)).astype(np.float32)
    seen = np.ones(points.shape[:-1], np.float32)
    seen[0, 3000:] = 0
    nothing = np.full_like(seen, np.nan)
    keypoints = Keypoints2D(points, seen, nothing, frames, RIG.names[:2], H36M_17.joints, 60.0)
    model = TimeModel(RIG.names[:2], np.array([0, 4.0]), *np.zeros((2, 2)), "made up", np.array([0.5, 1.0]))
    sample = _sample(keypoints, model, None)
    both = (sample.confidence > 0).all((0, 2, 3))
    assert len(sample.frames) < 3000
    assert both.mean() > 0.85
    np.testing.assert_allclose(sample.keypoints[:, both, 0, 0, 0], sample.frames[both] * np.ones((2, 1)), atol=1e-2)


def test_merging_cameras_that_ran_freely():
    parts = [view(0), view(1, rate=FPS / 2, seconds=6.5)]
    merged = merge_cameras(free_running(parts, FPS))
    assert len(merged.frames) == 326  # 6.5 s at the session's rate
    assert (merged.confidence[0, 300:] == 0).all()
    assert (merged.confidence[1, 163:] == 0).all()
    np.testing.assert_array_equal(merged.keypoints[1, :163], parts[1].keypoints[0])
