"""Rows that are read one after the other: truth from motion looked up at each row's own moment."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import CalibrationError, SettingsError
from calibration.projection import Lenses, project
from calibration.refinement import RigCorrection
from calibration.synchronisation import Gap, SynchronisationSettings, TimeModel
from mocap.resampling import to_common_time
from mocap.skeleton import H36M_17
from mocap.storage.alignment_record import AlignmentRecord
from mocap.synchronisation import Alignment, align_cameras, fine, times_from_motion
from mocap.synchronisation.coarse import CoarseOffsets
from mocap.synchronisation.recorded import Recorded
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D

FPS, T = 50.0, 60
RIG = ring_rig(3, size=(1920, 1080), focal=1400.0, seed=2)
SLOW = 17e-6  # s per row: 1080 rows in 18 of 20 ms


def path_of(seconds):
    """Two people who turn and swing: [..., 2, 4, 2] px."""
    t = np.asarray(seconds, float)[..., None, None]
    start = np.array([[300.0, 150], [1100, 400]])[:, None] + np.array([[0, 0], [30, 200], [-30, 350], [0, 550]])
    phase = np.arange(8).reshape(2, 4)
    return start + np.stack([90 * np.sin(3 * t + phase), 60 * np.cos(4 * t + phase)], -1)


def moment_of(frame_times, delay, path):
    """When each joint's row was read, by fixed point iteration: [..., 2, 4] s."""
    t = np.broadcast_to(np.asarray(frame_times)[..., None, None], (*np.shape(frame_times), 2, 4))
    for _ in range(60):
        all_at = np.stack([path(t[..., p, j])[..., p, j, :] for p in range(2) for j in range(4)], -2)
        x = all_at.reshape(*t.shape, 2)
        t = np.asarray(frame_times)[..., None, None] + delay * x[..., 1]
    return t, x


def keypoints_of(x, fps=FPS):
    x = np.asarray(x, np.float32)
    names = tuple(f"c{v}" for v in range(len(x)))
    joints = tuple(f"j{i}" for i in range(x.shape[3]))
    shape = x.shape[:-1]
    return Keypoints2D(x, np.full(shape, 0.8, np.float32), np.full(shape, 2.0, np.float32), np.arange(x.shape[1]),
                       names, joints, fps)  # fmt: skip


def model(delay, offset=0.0):
    return TimeModel(("c0",), [offset], [0], [0], "test", row_delay_s=[delay])


@pytest.mark.parametrize("delay", [SLOW, -SLOW])
@pytest.mark.parametrize("offset", [0.0, 0.013])
def test_rows_come_to_the_common_time(delay, offset):
    _, x = moment_of(np.arange(T) / FPS + offset, delay, path_of)
    swapped = x.copy()
    swapped[::3] = swapped[::3, ::-1]  # slots carry no identity
    truth = path_of(np.arange(T) / FPS)
    found = to_common_time(keypoints_of(swapped[None]), model(delay, offset)).keypoints[0, 2:-2]
    two = np.stack([truth, truth[:, ::-1]])[:, 2:-2]
    error = np.linalg.norm(found - two, axis=-1).max((2, 3)).min(0)
    # A straight line between frames misses a bend by an eighth of acceleration times their distance squared.
    assert error.max() < 1.02 * np.hypot(90 * 3**2, 60 * 4**2) / 8 / FPS**2
    ignored = to_common_time(keypoints_of(x[None]), model(1e-12, offset)).keypoints[0, 2:-2]
    assert np.nanmax(np.linalg.norm(ignored - truth[2:-2], axis=-1)) > 2.0


def test_nothing_is_made_up_across_gaps():
    _, x = moment_of(np.arange(T) / FPS, SLOW, path_of)
    x[20, 1] = np.nan
    k = keypoints_of(x[None])
    k = Keypoints2D(k.keypoints, np.where(np.isfinite(x[None, ..., 0]), k.confidence, 0), k.uncertainty, k.frames,
                    k.cameras, k.joint_names, FPS)  # fmt: skip
    found = to_common_time(k, model(SLOW))
    # Each moment lies between a frame and the one before.
    assert not np.isfinite(found.keypoints[0, [0]]).any()
    assert not np.isfinite(found.keypoints[0, 20:22, 1]).any()
    assert np.isfinite(found.keypoints[0, 1:, 0]).all()
    assert np.isfinite(found.keypoints[0, [19, 22], 1]).all()
    assert (np.isfinite(found.keypoints[..., 0]) == (found.confidence > 0)).all()


@pytest.mark.parametrize("delay", [SLOW, -SLOW])
@pytest.mark.parametrize("offset", [0.0, 0.007])
def test_rows_are_not_interpolated_across_lost_frames(delay, offset):
    first, missing = 30, 20
    counts = np.arange(T) + missing * (np.arange(T) >= first)
    _, x = moment_of(counts / FPS + offset, delay, path_of)
    times = replace(model(delay, offset), gaps=(Gap(0, first, missing),))
    error = np.linalg.norm(
        to_common_time(keypoints_of(x[None]), times).keypoints[0] - path_of(np.arange(T) / FPS), axis=-1
    )
    assert np.nanmax(error) < 1.02 * np.hypot(90 * 3**2, 60 * 4**2) / 8 / FPS**2
    known = np.isfinite(error).all((1, 2))
    assert known[2 : first - 1].all()
    assert known[first + missing + 2 :].all()
    assert not np.isfinite(error[first + 1 : first + missing - 1]).any()
    # Rows of the last frame before the gap, read until the next would begin, and of the first behind it count.
    if offset:
        edge = error[first] if delay > 0 else error[first + missing]
        assert 0 < np.isfinite(edge).sum() < edge.size


def filmed(offset, delay):
    """What cameras see of a walk, each row at its own moment."""
    fine = 4
    path = truth_positions(procedural_motion(round(5 * FPS * fine), FPS * fine, 3, MotionKind.WALK))[:, 0]
    views = []
    for v in range(len(RIG)):
        frame = 0.5 + offset[v] + np.arange(round(4 * FPS)) / FPS
        moment = np.repeat(frame[:, None], 17, 1)
        for _ in range(6):
            at = moment * FPS * fine
            row = np.floor(at).astype(int)
            part, joint = (at - row)[..., None], np.arange(17)
            pixels = project(Lenses.of(RIG), (1 - part) * path[row, joint] + part * path[row + 1, joint])[v]
            moment = frame[:, None] + delay[v] * pixels[..., 1]
        views.append(pixels)
    noise = np.random.default_rng(0).normal(0, 1.5, (len(RIG), len(frame), 17, 2))
    points = (np.stack(views) + noise).astype(np.float32)[:, :, None]
    shape = points.shape[:-1]
    return Keypoints2D(points, np.full(shape, 0.9, np.float32), np.full(shape, np.nan, np.float32),
                       np.arange(len(frame)), RIG.names, H36M_17.joints, FPS)  # fmt: skip


def test_offsets_of_cameras_that_read_their_rows_at_different_speeds():
    offset, delay = np.array([0.0, 0.031, -0.047]), np.array([0.0, SLOW, -SLOW])
    keypoints = filmed(offset, delay)
    settings = SynchronisationSettings(method="motion", search_s=0.5)
    told = times_from_motion(keypoints, RIG, settings, None, Recorded(row_delay_s=delay))
    np.testing.assert_array_less(np.abs(told.times.offset_s - offset), np.maximum(4 * told.std_s, 1e-9))
    np.testing.assert_array_equal(told.times.row_delay_s, delay)
    # Half the time in which the rows are read is taken for an offset else.
    ignored = times_from_motion(keypoints, RIG, settings)
    assert (np.abs(ignored.times.offset_s - offset)[1:] > 4e-3).all()


@pytest.mark.parametrize("delay", [SLOW, -SLOW])
def test_frames_behind_a_loss_are_so_in_every_row(monkeypatch, delay):
    tables = []
    monkeypatch.setattr(fine, "refine_clocks", lambda tracks, R, t, first, **_: tables.append(tracks) or first)
    keypoints, none = filmed(np.zeros(3), np.zeros(3)), np.zeros(3)
    coarse = CoarseOffsets(none, 0, none, (None,) * 3, {})
    for rows in (none, np.array([0, 0, delay])):
        fine.fine_clocks(keypoints, RIG, np.ones(3), coarse, (Gap(2, 100, 3),), rows, behind=Gap(2, 100, 3))
    plain, rolling = tables
    assert (plain.view == 3).sum() > 100
    assert plain.time[plain.view == 3].min() * FPS == pytest.approx(103)
    np.testing.assert_array_equal(rolling.view, plain.view)


def test_row_delays_are_kept_with_the_times():
    nothing = RigCorrection(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1), np.zeros(1))
    assert not model(SLOW).is_identity
    assert AlignmentRecord.of(Alignment(model(SLOW), nothing)).to_time_model().row_delay_s == SLOW
    with pytest.raises(CalibrationError, match="row delays"):
        model(np.nan)


@pytest.mark.parametrize("method", ["motion", "genlocked"])
@pytest.mark.parametrize("delay", [np.nan, 19e-6, -1.0])
def test_a_delay_that_no_camera_has(method, delay):
    keypoints = replace(keypoints_of(np.full((3, 10, 1, 17, 2), np.nan)), cameras=RIG.names)
    with pytest.raises(SettingsError, match=r"row delay of camera (?s:.*)1080 rows within one frame"):
        align_cameras(keypoints, RIG, SynchronisationSettings(method=method), None,
                      Recorded(row_delay_s=np.array([0, delay, 0])))  # fmt: skip
