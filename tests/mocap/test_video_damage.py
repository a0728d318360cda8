"""Footage as cameras really hand it in: damaged frames, dropped frames, uneven times, odd formats."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from mocap.errors import VideoError
from mocap.video import probe, read_batches, spans
from mocap.video_timing import even_grid

SIZE = (192, 128)
N = 60
TICKS = 15360


def numbered(k, size=SIZE):
    """A frame whose number can be read back from twelve black or white blocks."""
    frame = np.full((size[1], size[0], 3), 127, np.uint8)
    w, h = size[0] // 6, size[1] // 2
    for bit in range(12):
        x, y = bit % 6 * w, bit // 6 * h
        frame[y : y + h, x : x + w] = 255 * (k >> bit & 1)
    return frame


def number_of(frame):
    h, w = frame.shape[0] // 2, frame.shape[1] // 6
    return sum(int(frame[bit // 6 * h + h // 2, bit % 6 * w + w // 2].mean() > 127) << bit for bit in range(12))


def write(path, times, codec="libx264", size=SIZE, pixels="yuv420p", b_frames=2):
    """A video whose frame k is shown at times[k], seconds."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size = 12
        stream.codec_context.time_base = Fraction(1, TICKS)
        if codec == "libx264":
            stream.options = {"bf": str(b_frames), "crf": "18"}
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(k, size), format="bgr24")
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def damage(path, wanted, how="random"):
    """Overwrite the coded bytes of the frames shown as numbers `wanted`."""
    with av.open(str(path)) as file:
        packets = [(p.pts, p.pos, p.size) for p in file.demux(file.streams.video[0]) if p.size]
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for _, at, length in [sorted(packets)[k] for k in wanted]:
        data[at : at + length] = bytes(length) if how == "zero" else rng.bytes(length)
    path.write_bytes(bytes(data))


def read(path, *args):
    batches = list(read_batches(path, *args))
    return np.concatenate([b.frames for b in batches]), np.concatenate([b.intact for b in batches])


EVEN = np.arange(N) / 30


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("how", ["random", "zero"])
def test_damaged_frames_are_passed_over_and_the_others_keep_their_numbers(tmp_path, caplog, codec, how):
    path = write(tmp_path / "cam.mp4", EVEN, codec)
    damage(path, [29, 30], how)
    assert probe(path).n_frames == N
    with caplog.at_level(logging.WARNING):
        frames, intact = read(path)
    broken = np.flatnonzero(~intact)
    assert {29, 30} <= set(broken.tolist())
    assert len(broken) <= 7  # at most those that refer to them, up to the next key frame at 36
    assert broken.max() < 36
    # Exact before the damage and from the next key frame on.
    sound = [k for k in range(N) if k < 27 or k >= 36]
    assert [number_of(frames[k]) for k in sound] == sound
    assert f"{len(broken)} damaged frames are skipped: {spans(broken)}" in caplog.text
    assert str(path) in caplog.text


def test_a_range_behind_the_damage_is_exact(tmp_path):
    path = write(tmp_path / "cam.mp4", EVEN)
    damage(path, [30])
    frames, intact = read(path, 37, 55, 5)
    assert intact.all()
    assert [number_of(f) for f in frames] == list(range(37, 55))


def test_a_video_that_is_mostly_damaged_is_refused(tmp_path):
    path = write(tmp_path / "cam.mp4", EVEN)
    damage(path, range(10, N))
    with pytest.raises(VideoError, match="cut off or damaged") as caught:
        read(path)
    assert 0 < int(str(caught.value.found).split()[0]) <= 10  # the last of the ten refers to what follows
    assert caught.value.hint


def test_a_container_without_frames(tmp_path):
    path = tmp_path / "cam.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        file.start_encoding()
    with pytest.raises(VideoError, match=r"no frames|no video|not a video") as caught:
        probe(path)
    assert caught.value.where == str(path)


def test_frames_that_the_camera_dropped_leave_gaps(tmp_path):
    kept = np.setdiff1d(np.arange(N), [20, 21, 40])
    path = write(tmp_path / "cam.mp4", kept / 30)
    info = probe(path)
    assert (info.n_frames, info.dropped, info.surplus) == (N, 3, 0)
    assert info.fps == pytest.approx(30, rel=1e-3)
    assert "3 of 60 numbers have no frame (20-21, 40)" in info.timing_note
    frames, intact = read(path)
    assert np.flatnonzero(~intact).tolist() == [20, 21, 40]
    assert [number_of(f) for f in frames[intact]] == list(range(len(kept)))
    # The same numbers wherever reading starts.
    frames, intact = read(path, 39, 50)
    assert np.flatnonzero(~intact).tolist() == [1]
    assert [number_of(f) for f in frames[intact]] == [kept.tolist().index(k) for k in range(39, 50) if k != 40]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_rate_is_numbered_by_timestamps(tmp_path, suffix):
    rng = np.random.default_rng(3)
    # A telephone's 29.2 fps with jitter of a third of a period, as one in low light records.
    times = np.arange(120) / 29.2 + rng.uniform(-0.33, 0.33, 120) / 29.2
    times -= times[0]
    path = write(tmp_path / f"cam.{suffix}", times)
    info = probe(path)
    assert info.variable_rate
    assert info.fps == pytest.approx(29.2, rel=5e-3)
    frames, intact = read(path)
    assert len(frames) == info.n_frames
    off = np.array([times[number_of(frames[k])] - k / info.fps for k in np.flatnonzero(intact)])
    assert np.ptp(off) < 1.01 / info.fps  # half a period either way of an even grid
    assert intact.mean() > 0.9


@pytest.mark.parametrize("fps", [24.0, 29.97, 60.0, 119.88])
@pytest.mark.parametrize("clock", [1e-3, 1 / 90000])
def test_rounded_clocks_of_even_footage_are_even(fps, clock):
    times = np.round(np.arange(1000) / fps / clock) * clock
    timing = even_grid(times, fps)
    assert timing.even
    assert timing.fps == fps
    assert timing.numbers.tolist() == list(range(1000))


def test_a_wrong_stated_rate_gives_way_to_the_timestamps():
    timing = even_grid(np.arange(200) / 50, 30.0)
    assert timing.even
    assert timing.fps == pytest.approx(50)


def test_a_rate_that_changes_midway_keeps_time():
    times = np.concatenate([np.arange(60) / 60, 1 + np.arange(30) / 30])
    timing = even_grid(times, 45.0)
    kept = timing.numbers >= 0
    assert np.abs(times[kept] - timing.numbers[kept] / timing.fps).max() <= 0.5 / timing.fps + 1e-9
    assert (np.diff(timing.numbers[kept]) > 0).all()


@pytest.mark.parametrize(
    ("codec", "pixels", "size", "suffix"),
    [("mjpeg", "yuvj420p", (192, 128), "mkv"), ("ffv1", "gray", (192, 128), "mkv"), ("libx264", "gray", SIZE, "mp4"),
     ("libx264", "yuv420p10le", SIZE, "mp4"), ("mpeg4", "yuv420p", (3840, 2160), "mp4")],
    ids=["mjpeg", "grey ffv1", "grey h264", "10 bit", "4K"],
)  # fmt: skip
def test_formats(tmp_path, codec, pixels, size, suffix):
    n = 2 if size[0] > 2000 else 6
    path = write(tmp_path / f"cam.{suffix}", np.arange(n) / 30, codec, size, pixels)
    frames, intact = read(path)
    assert frames.shape == (n, size[1], size[0], 3)
    assert intact.all()
    assert [number_of(f) for f in frames] == list(range(n))
    if "gray" in pixels:
        assert np.ptp(frames.astype(int), axis=-1).max() <= 2


def test_a_video_turned_sideways_by_metadata(tmp_path):
    path = write(tmp_path / "cam.mp4", np.arange(4) / 30)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    turn = np.array([0, -one, 0, one, 0, 0, 0, SIZE[0] * one, 1 << 30], ">i4")  # 90 degrees counterclockwise
    data[at : at + 36] = turn.tobytes()
    path.write_bytes(bytes(data))
    info = probe(path)
    assert (info.width, info.height) == SIZE[::-1]
    frames, _ = read(path)
    assert [number_of(np.rot90(f, -1)) for f in frames] == list(range(4))


def test_spans():
    assert spans([3, 7, 8, 9, 12]) == "3, 7-9, 12"
    assert spans(range(0, 20, 2)).endswith("14 and 2 more spans")
    assert spans([]) == ""
