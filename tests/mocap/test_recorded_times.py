"""Camera times from what was recorded beside the pictures: stamps, timecode, sound; and how they are combined."""

from __future__ import annotations

import av
import numpy as np
import pytest

from calibration.synchronisation import SynchronisationSettings
from calibration.time_evidence import ClockEvidence, combine
from mocap.errors import DataError
from mocap.skeleton import H36M_17
from mocap.synchronisation import times_from_motion
from mocap.synchronisation.recorded import Recorded, read_timecode, read_timestamps
from mocap.synchronisation.sound import delay, offsets_from_sound, read_sound
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.synthetic.rig import ring_rig

CAMERAS = ("left", "cam_2", "cam_3")


def write_stamps(path, times, names=("left", "2", "3")):
    rows = ["sync_index,cam_id,frame_index,frame_time"]
    rows += [f"{k},{name},{k},{t:.9f}" for name, own in zip(names, times, strict=True) for k, t in enumerate(own)]
    path.write_text("\n".join(rows))
    return path


def test_stamps_give_offset_drift_and_gaps(tmp_path):
    rng = np.random.default_rng(0)
    own = np.arange(300) / 50.0
    times = [
        own + 100,
        0.0123 + own * (1 + 40e-6) + 100 + rng.normal(0, 1e-4, 300),
        np.delete(own, [120, 121, 122]) - 0.5 + 100,
    ]
    found, gaps = read_timestamps(write_stamps(tmp_path / "timestamps.csv", times), CAMERAS, np.full(3, 50.0))
    offset, std = found.against(0)
    np.testing.assert_allclose(offset, [0, 0.0123, -0.5], atol=5e-5)
    assert (std[1:] < 5e-4).all()
    assert found.drift[1] == pytest.approx(40e-6, abs=4 * found.drift_std[1])
    assert [(g.camera, g.frame, g.missing) for g in gaps] == [(2, 120, 3)]


def test_one_late_stamp_is_no_gap(tmp_path):
    own = np.arange(100) / 50.0
    late = own.copy()
    late[40] += 0.019
    _, gaps = read_timestamps(write_stamps(tmp_path / "timestamps.csv", [own, own, late]), CAMERAS, np.full(3, 50.0))
    assert gaps == ()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not understood"),
        ("a,b\n1,2\n", "not understood"),
        ("cam_id,frame_index,frame_time\nleft,0,x\n", "cannot be read"),
        ("cam_id,frame_index,frame_time\nother,0,1\n", "other cameras"),
        ("cam_id,frame_index,frame_time\nleft,0,1\nleft,1,0.9\nleft,2,1.1\n", "do not increase"),
        ("cam_id,frame_index,frame_time\nleft,0,1\nleft,1,1.1\nleft,1,1.2\nleft,2,1.3\n", "two time stamps"),
        ("cam_id,frame_index,frame_time\n2,0,1\ncam_2,1,1.1\n", "cam_2 occurs twice"),
        ("cam_id,frame_index,frame_time\nleft\n", "not understood"),
        ("cam_id,frame_index,frame_time\nleft,0,1\nleft\n", "cannot be read"),
    ],
)
def test_stamps_that_cannot_be_used(tmp_path, text, match):
    path = tmp_path / "timestamps.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=match):
        read_timestamps(path, CAMERAS, np.full(3, 50.0))
    with pytest.raises(DataError, match="cannot be read"):
        read_timestamps(tmp_path / "none.csv", CAMERAS, np.full(3, 50.0))


def test_a_number_that_two_cameras_share_is_refused(tmp_path):
    own = np.arange(100) / 50.0
    path = write_stamps(tmp_path / "timestamps.csv", [own, own + 1], ("1", "cam_2"))
    with pytest.raises(DataError, match="several cameras"):
        read_timestamps(path, ("left_1", "right_1", "cam_2"), np.full(3, 50.0))
    # The name itself goes before the number in another name.
    found, _ = read_timestamps(path, ("1", "right_1", "cam_2"), np.full(3, 50.0))
    np.testing.assert_allclose(found.against(0)[0], [0, np.nan, 1], atol=1e-6)


def write_clip(path, *, timecode="", sound=None, fps=25, frames=20):
    """A small video, maybe with timecode and sound of 48 kHz."""
    with av.open(str(path), "w") as file:
        if timecode:
            file.metadata["timecode"] = timecode
        video = file.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = file.add_stream("pcm_s16le", rate=48000) if sound is not None else None
        for k in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * k, np.uint8), format="bgr24")
            file.mux(video.encode(picture))
        file.mux(video.encode())
        if audio is not None:
            frame = av.AudioFrame.from_ndarray((32000 * sound[None]).astype(np.int16), format="s16", layout="mono")
            frame.sample_rate = 48000
            file.mux(audio.encode(frame))
            file.mux(audio.encode())
    return path


def test_timecode_of_files(tmp_path):
    texts = ("10:00:00:05", "10:00:01:00", "")
    paths = [write_clip(tmp_path / f"{k}.mov", timecode=t) for k, t in enumerate(texts)]
    found = read_timecode(paths, np.full(3, 25.0))
    np.testing.assert_allclose(found.against(0)[0], [0, 0.8, np.nan])
    assert found.std_s[0] == pytest.approx(0.04 / np.sqrt(12))
    assert read_timecode([paths[0], None, paths[2]], np.full(3, 25.0)) is None


@pytest.mark.parametrize(("fps", "rate"), [(24, 23.976), (30, 29.97), (60, 59.94), (30, 30.0)])
def test_timecode_that_drops_nothing_counts_frames(tmp_path, fps, rate):
    texts = (f"01:00:00:{fps - 1}", f"01:00:10:{fps - 1}")
    paths = [write_clip(tmp_path / f"{k}.mov", timecode=t, fps=fps) for k, t in enumerate(texts)]
    offset = read_timecode(paths, np.full(2, rate)).against(0)[0]
    # Ten seconds of timecode are ten times the whole rate in frames, whatever these last.
    assert offset[1] == pytest.approx(10.0 if rate == fps else 10.010, abs=1e-9)


def test_drop_frame_timecode_counts_real_seconds(tmp_path):
    texts = ("00:00:00;01", "01:00:00;00")
    paths = [write_clip(tmp_path / f"{k}.mov", timecode=t, fps=30) for k, t in enumerate(texts)]
    rate = 30000 / 1001
    found = read_timecode(paths, np.full(2, rate))
    # An hour of timecode is an hour: 107892 frames; the first file starts one frame in.
    assert found.against(0)[0][1] == pytest.approx((107892 - 1) / rate, abs=1e-6)


def claps(rng, rate, seconds=4.0):
    """Noise with claps in it, a function of time."""
    from scipy.interpolate import CubicSpline
    from scipy.signal import butter, sosfilt

    n = round(seconds * rate)
    sound = 0.02 * rng.normal(size=n)
    for at in rng.uniform(0.5, seconds - 0.5, 6):
        k = np.arange(round(0.05 * rate))
        sound[round(at * rate) + k] += np.exp(-k / (0.01 * rate)) * rng.normal(size=len(k))
    smooth = sosfilt(butter(4, 6000, fs=rate, output="sos"), sound)
    return CubicSpline(np.arange(n) / rate, smooth / np.abs(smooth).max())


def test_delay_between_the_samples():
    rng = np.random.default_rng(3)
    heard = claps(rng, 48000)
    rate, late = 16000.0, 0.1 + 0.3 / 16000
    times = np.arange(40000) / rate + 0.5
    first, second = (heard(times - d) + 0.005 * rng.normal(size=len(times)) for d in (0.0, late))
    seconds, certainty = delay(first, second, 1.0, rate)
    assert seconds == pytest.approx(late, abs=0.2 / rate)
    assert certainty > 10
    # Two rooms have nothing in common, silence neither.
    other = claps(np.random.default_rng(9), 48000)(times)
    assert delay(first, other, 1.0, rate)[1] < 5
    assert delay(first, np.zeros(100), 1.0, rate)[1] == 0


def test_sound_of_files(tmp_path):
    heard = claps(np.random.default_rng(5), 48000)
    begins = (0.5, 0.53, 0.45)
    paths = []
    for k, begin in enumerate(begins):
        times = begin + np.arange(2 * 48000) / 48000
        paths.append(write_clip(tmp_path / f"{k}.mov", sound=0.9 * heard(times), frames=50))
    paths.append(write_clip(tmp_path / "mute.mov"))
    sounds = [read_sound(p) for p in paths]
    assert len(sounds[3]) == 0
    centres = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [4, 4, 0.0]])
    found = offsets_from_sound(sounds, centres, 1.0)
    np.testing.assert_allclose(found.against(0)[0], [0, 0.03, -0.05, np.nan], atol=2e-4)
    assert (found.against(0)[1][1:3] > 4 / 343 / 4).all()  # sound needs 12 ms from one camera to the other
    assert offsets_from_sound([sounds[0], np.zeros(0)], centres[:2], 1.0) is None


def test_sources_count_by_their_certainty():
    nan = np.nan
    sure = ClockEvidence("motion", np.array([0, 0.100, nan]), np.array([0, 0.001, nan]))
    vague = ClockEvidence("timecode", np.array([7.0, 7.103, 7.5]), np.array([0.001, 0.002, 0.002]))
    found = combine((sure, vague), 0)
    assert 0.100 < found.offset_s[1] < 0.102
    assert found.std_s[1] < 0.001
    assert found.offset_s[2] == pytest.approx(0.5, abs=0.002)
    assert found.std_s[2] > 0.002
    assert found.contradicting == ()
    wrong = ClockEvidence("sound", np.array([0, 0.2, 0.5]), np.full(3, 0.003))
    found = combine((sure, vague, wrong), 0)
    assert found.contradicting == ((1, "sound"),)
    assert found.offset_s[1] == pytest.approx(0.1, abs=0.002)
    assert np.isnan(combine((sure,), 0).offset_s[2])


def test_time_stamps_decide_where_the_motion_does_not():
    rig = ring_rig(3, seed=2)
    points = truth_positions(procedural_motion(200, 50.0, 3, MotionKind.WALK))
    still = observe(
        np.repeat(points[:1], 200, 0), rig, NoiseSettings(sigma_px=2.0), joint_names=H36M_17.joints, fps=50.0
    )
    stamps = ClockEvidence("timestamps.csv", np.array([5.0, 5.1, 4.9]), np.full(3, 5e-4))
    found = times_from_motion(still, rig, SynchronisationSettings(search_s=0.5), None, Recorded((stamps,)))
    np.testing.assert_allclose(found.times.offset_s, [0, 0.1, -0.1], atol=2e-3)
    assert "timestamps.csv +100.00" in found.statements[1]
    assert "timestamps.csv" in found.times.method
