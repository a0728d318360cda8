"""Frames that a camera lost in the middle, and recordings that do not overlap."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.synchronisation import Gap, SynchronisationSettings, TimeModel
from mocap.errors import DataError
from mocap.resampling import to_common_time
from mocap.rows import take
from mocap.skeleton import H36M_17
from mocap.stretches import spread_windows
from mocap.synchronisation import align_cameras, drops, times_from_motion
from mocap.synchronisation.align import check_overlap
from mocap.synchronisation.coarse import CoarseOffsets, Sights
from mocap.synchronisation.motion import _shared
from mocap.synchronisation.recorded import Recorded
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.synthetic.rig import ring_rig

FPS = 50.0
RIG = ring_rig(3, seed=2)
POINTS = truth_positions(procedural_motion(300, FPS, 3, MotionKind.WALK))
TAKE = observe(POINTS, RIG, NoiseSettings(sigma_px=2.0), joint_names=H36M_17.joints, fps=FPS)
SETTINGS = SynchronisationSettings(search_s=0.5)


def losing(camera, frame, missing):
    """The take when a camera's file lacks some frames and goes on as if it did not."""
    stored = np.r_[np.arange(frame), np.arange(frame + missing, len(TAKE.frames))]
    short = take(TAKE, np.arange(len(stored)))
    points, confidence = short.keypoints.copy(), short.confidence.copy()
    points[camera], confidence[camera] = TAKE.keypoints[camera, stored], TAKE.confidence[camera, stored]
    return replace(short, keypoints=points, confidence=confidence)


def model(cameras, *gaps):
    zero = np.zeros(len(cameras))
    return TimeModel(cameras, zero, zero, zero, "test", gaps=gaps)


def test_lost_frames_are_counted_and_placed():
    found = times_from_motion(losing(1, 140, 4), RIG, SETTINGS)
    (drop,) = found.drops
    assert (drop.gap.camera, drop.gap.missing) == (1, 4)
    assert drop.earliest - 2 <= 140 <= drop.latest + 2
    assert drop.latest - drop.earliest < 25
    assert "4 frames lost, put back" in found.statements[1]
    assert found.times.gaps == (drop.gap,)
    np.testing.assert_allclose(found.offset_s, 0, atol=1e-3)


def test_lost_frames_are_put_back():
    short = losing(1, 140, 4)
    restored = to_common_time(short, model(RIG.names, Gap(1, 140, 4)))
    np.testing.assert_array_equal(restored.keypoints[1, :140], TAKE.keypoints[1, :140])
    assert np.isnan(restored.keypoints[1, 140:144]).all()
    np.testing.assert_array_equal(restored.keypoints[1, 144:], TAKE.keypoints[1, 144 : len(short.frames)])
    np.testing.assert_array_equal(restored.keypoints[0], short.keypoints[0])


def test_a_whole_take_has_no_drops():
    assert times_from_motion(TAKE, RIG, SETTINGS).drops == ()


def test_counts_and_stored_frames_are_inverse():
    times = model(("a",), Gap(0, 10, 3), Gap(0, 4, 2))
    frames = np.arange(20.0)
    counts = times.counts(0, frames)
    np.testing.assert_array_equal(np.diff(counts)[[3, 9]], [3, 4])
    np.testing.assert_array_equal(times.stored(0, counts), frames)
    assert np.isnan(times.stored(0, np.array([3.5, 4.0, 5.9, 12.0, 14.5]))).all()
    np.testing.assert_allclose(times.frames_at(0, times.exposure_times(0, frames, 25.0), 25.0), frames)


def test_a_gap_has_no_nearest_frame():
    times = model(("a",), Gap(0, 4, 3))
    nearest = times.nearest_frames(0, (np.arange(10) + 0.1) / 25.0, 25.0)
    np.testing.assert_array_equal(nearest, [0, 1, 2, -1, -1, -1, -1, 4, 5, 6])


def test_a_loss_within_a_known_gap_lies_behind_it(monkeypatch):
    times = model(("a", "b"), Gap(1, 10, 3), Gap(1, 20, 2))
    assert [drops._stored(times, 1, c) for c in (5.2, 10.0, 12.7, 13.0, 24.0)] == [5, 10, 10, 10, 20]
    # Two of four lost frames are known; the motion places the others where those are.
    monkeypatch.setattr(drops, "_position", lambda *_: (2.8, 2.82, 2.83))
    found = times_from_motion(losing(1, 140, 4), RIG, SETTINGS, None, Recorded(gaps=(Gap(1, 140, 2),)))
    assert found.times.gaps == (Gap(1, 140, 2), Gap(1, 140, 2))
    np.testing.assert_array_equal(found.times.counts(1, np.array([139.0, 140.0])), [139, 144])


def test_a_loss_that_no_pair_tells_of_stays_in_its_bin():
    sights = Sights.of(TAKE, RIG, model(RIG.names))
    nothing = CoarseOffsets(np.zeros(3), 0, np.zeros(3), (None,) * 3, {})
    assert drops._position(sights, 1, np.zeros(3), nothing, (0.0, 0.1), 2.0, 0.2) == (1.8, 2.0, 2.2)


def test_windows_of_a_take():
    assert spread_windows(TAKE, 3, 100) is TAKE
    some = spread_windows(TAKE, 3, 20)
    np.testing.assert_array_equal(some.frames, np.r_[0:20, 140:160, 280:300])
    np.testing.assert_array_equal(some.keypoints, TAKE.keypoints[:, some.frames])


def test_no_overlap_is_not_guessed():
    apart = take(TAKE, np.arange(140))
    points, confidence = apart.keypoints.copy(), apart.confidence.copy()
    points[2], confidence[2] = TAKE.keypoints[2, 160:], TAKE.confidence[2, 160:]
    found = times_from_motion(replace(apart, keypoints=points, confidence=confidence), RIG, SETTINGS)
    assert "cannot be decided" in found.statements[2]
    assert found.times.offset_s[2] == 0


def test_no_overlap_by_stated_times(caplog):
    given = SynchronisationSettings(method="given", offsets_s=f"{RIG.names[0]}=0, {RIG.names[1]}=10, {RIG.names[2]}=20")
    with pytest.raises(DataError, match="at the same time"):
        align_cameras(TAKE, RIG, given)
    zero = np.zeros(3)
    check_overlap(TAKE, TimeModel(RIG.names, np.array([0, 1.0, 20]), zero, zero, "test"))
    assert RIG.names[2] in caplog.text
    assert "adds nothing" in caplog.text


def test_a_loss_needs_footage_of_others_on_both_sides():
    """Of what lies before a long loss, others may have filmed nothing: it is no evidence then."""
    none, rig = np.zeros(2), RIG.select(RIG.names[:2])
    length = len(TAKE.frames) / FPS
    for late, missing in ((0.0, 5), (-1.0, 5), (-1.0, 50)):
        coarse = CoarseOffsets(np.array([0.0, late]), 0, none, (None, None), {})
        gap = Gap(1, 100, missing)
        shared = _shared(TAKE, rig, np.ones(2), coarse, (gap,), gap)
        before, behind = late + 99 / FPS, length - (late + (100 + missing) / FPS)
        assert shared == pytest.approx(min(before, behind), abs=1.5 / FPS)
