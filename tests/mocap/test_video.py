"""Video reading and writing: exact frames, bounded batches, and one clear message per kind of damage."""

import struct
import threading

import cv2
import numpy as np
import pytest

from mocap.errors import VideoError
from mocap.video import probe, read_frames, write_video
from mocap.video_container import Container, inspect

SIZE = (96, 64)
N = 40


def numbered(n=N, size=SIZE):
    """Frames whose number can be read back from twelve black or white blocks."""
    for k in range(n):
        frame = np.full((size[1], size[0], 3), 127, np.uint8)
        for bit in range(12):
            x, y = bit % 6 * 16, bit // 6 * 32
            frame[y : y + 32, x : x + 16] = 255 * (k >> bit & 1)
        yield frame


def number_of(frame):
    return sum(int(frame[bit // 6 * 32 + 16, bit % 6 * 16 + 8].mean() > 127) << bit for bit in range(12))


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "cam.mp4"
    assert write_video(path, numbered(), 59.94, SIZE) == N
    return path


def boxes(data):
    at = 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at : at + length]
        at += length


def index_first(data):
    """The same MP4 with the index before the frames, as cameras that stream write it."""
    parts = dict(boxes(data))
    moov = bytearray(parts[b"moov"])
    order = [parts[b"ftyp"], moov, *(b for k, b in boxes(data) if k not in (b"ftyp", b"moov"))]
    shift = data.index(b"mdat") - (len(parts[b"ftyp"]) + len(moov) + data[data.index(b"ftyp") :].index(b"mdat"))
    # Bytes in front of mdat before and after.
    before = data.index(b"mdat")
    after = b"".join(order).index(b"mdat")
    shift = after - before
    at = moov.index(b"stco")
    count = struct.unpack(">I", moov[at + 8 : at + 12])[0]
    for k in range(count):
        where = at + 12 + 4 * k
        offset = struct.unpack(">I", moov[where : where + 4])[0]
        moov[where : where + 4] = struct.pack(">I", offset + shift)
    return b"".join(bytes(b) for b in order)


def test_probe_says_what_the_file_holds(video):
    info = probe(video)
    assert (info.width, info.height, info.n_frames) == (*SIZE, N)
    assert info.fps == pytest.approx(59.94, abs=1e-3)
    assert info.codec


@pytest.mark.parametrize(("start", "stop", "batch"), [(0, None, 8), (0, 40, 7), (13, 29, 16), (39, 40, 1), (5, 5, 4)])
def test_every_frame_comes_once_and_in_order(video, start, stop, batch):
    parts = list(read_frames(video, start, stop, batch))
    assert all(p.dtype == np.uint8 and p.shape[1:] == (SIZE[1], SIZE[0], 3) and 1 <= len(p) <= batch for p in parts)
    numbers = [number_of(f) for p in parts for f in p]
    assert numbers == list(range(start, N if stop is None else stop))


def test_batches_do_not_share_memory(video):
    first, second, *_ = read_frames(video, batch=4)
    assert not np.shares_memory(first, second)
    assert [number_of(f) for f in first] == [0, 1, 2, 3]


def test_stopping_early_ends_the_decoder(video):
    before = threading.active_count()
    frames = read_frames(video, batch=2)
    next(frames)
    frames.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (3, 2), (0, N + 1)])
def test_a_range_outside_is_refused(video, start, stop):
    with pytest.raises(VideoError, match="does not have"):
        next(read_frames(video, start, stop))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(VideoError, match="No such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="folder"):
        probe(tmp_path)


def test_an_empty_file_and_text(tmp_path):
    path = tmp_path / "cam.mp4"
    path.write_bytes(b"")
    with pytest.raises(VideoError, match="empty"):
        probe(path)
    path.write_text("not a video at all, but long enough to have a header")
    with pytest.raises(VideoError, match="not a video"):
        probe(path)


def test_an_unfinished_recording(video):
    data = video.read_bytes()
    video.write_bytes(data[: data.index(b"moov") - 4])
    assert inspect(video) is Container.NO_INDEX
    with pytest.raises(VideoError, match="moov"):
        probe(video)


def test_moving_the_index_changes_nothing(video):
    video.write_bytes(index_first(video.read_bytes()))
    assert inspect(video) is Container.EXACT
    assert [number_of(f) for p in read_frames(video) for f in p] == list(range(N))


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_file_cut_off_names_both_counts(video, share):
    data = index_first(video.read_bytes())
    start = data.index(b"mdat")
    video.write_bytes(data[: start + int(share * (len(data) - start))])
    assert inspect(video) is Container.TRUNCATED
    with pytest.raises(VideoError, match="cut off") as caught:
        probe(video)
    assert caught.value.where == str(video)
    assert f"{N} frames" in str(caught.value.expected)
    found = int(str(caught.value.found).split()[0])
    assert 0 < found < N


def test_frames_that_an_edit_list_hides_are_not_promised(video):
    # A trimmed copy: the index counts all frames, the edit starts at the sixth.
    data = bytearray(video.read_bytes())
    at = data.index(b"elst") + 4
    assert struct.unpack(">I", data[at + 4 : at + 8])[0] == 1
    mdhd = data.index(b"mdhd") + 4
    ticks = struct.unpack(">I", data[mdhd + 16 : mdhd + 20])[0] // N
    data[at + 12 : at + 16] = struct.pack(">i", 5 * ticks)
    video.write_bytes(bytes(data))
    assert inspect(video) is Container.ESTIMATED
    numbers = [number_of(f) for p in read_frames(video) for f in p]
    assert len(numbers) == probe(video).n_frames < N
    assert numbers == list(range(N - len(numbers), N))


def test_a_turned_recording_comes_upright(video):
    before = next(read_frames(video, 20, 21))[0]
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, SIZE[1] * one, 0, 1 << 30)
    video.write_bytes(bytes(data))
    info = probe(video)
    assert (info.width, info.height) == SIZE[::-1]
    after = next(read_frames(video, 20, 21))[0]
    assert after.shape == (SIZE[0], SIZE[1], 3)
    assert (after == np.rot90(before, -1)).all()


def test_damage_inside_is_found_while_reading(video):
    data = bytearray(index_first(video.read_bytes()))
    start = data.index(b"mdat")
    middle = start + (len(data) - start) // 2
    data[middle:] = bytes(len(data) - middle)
    video.write_bytes(bytes(data))
    with pytest.raises(VideoError, match="cut off"):
        list(read_frames(video))


@pytest.mark.parametrize(("name", "code"), [("cam.avi", "MJPG"), ("cam.mkv", "MJPG")])
def test_containers_that_estimate_are_counted(tmp_path, name, code):
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 30, SIZE)
    for frame in numbered():
        writer.write(frame)
    writer.release()
    assert inspect(path) is Container.ESTIMATED
    assert probe(path).n_frames == N
    assert [number_of(f) for p in read_frames(path, 11, 33) for f in p] == list(range(11, 33))


def test_writing_refuses_what_opencv_would_drop(tmp_path):
    path = tmp_path / "out.mp4"
    with pytest.raises(VideoError, match="does not fit"):
        write_video(path, [np.zeros((10, 10, 3), np.uint8)], 30, SIZE)
    with pytest.raises(VideoError, match="no frames"):
        write_video(path, [], 30, SIZE)
    with pytest.raises(VideoError, match="format"):
        write_video(tmp_path / "out.xyz", numbered(), 30, SIZE)
    with pytest.raises(VideoError, match="cannot be written"):
        write_video(tmp_path / "no" / "out.mp4", numbered(), 30, SIZE)
    assert list(tmp_path.iterdir()) == []


def test_the_same_frames_give_the_same_bytes(tmp_path, video):
    again = tmp_path / "again.mp4"
    write_video(again, numbered(), 59.94, SIZE)
    assert again.read_bytes() == video.read_bytes()
