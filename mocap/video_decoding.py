"""Opening a video, and decoding a range of it frame by frame, damaged frames marked."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from mocap.errors import VideoError
from mocap.video_container import Container, inspect
from mocap.video_timing import Timing, even_grid

log = logging.getLogger(__name__)

COPY_AGAIN = "copy the file from the camera again, or take this camera out of the session"
_REENCODE = "re-encode it, e.g. ffmpeg -i IN -c:v libx264 OUT.mp4"
_QUARTER_TURNS = {0: 0, 90: 1, 180: 2, 270: 3}


@dataclass(frozen=True, eq=False)
class Opened:
    """What a file says of its frames.

    Attributes
    ----------
    path : Path
    width, height : int
        Upright, px.
    turns : int
        Quarter turns counterclockwise that set the stored picture upright.
    codec : str
    timing : Timing
    stamps : int64 [n] or None
        Timestamps of the stored frames, increasing, in the stream's ticks; None where the container keeps
        none: frames are counted then.
    keys : int64 [m]
        Timestamps of the frames that decoding can start from.
    """

    path: Path
    width: int
    height: int
    turns: int
    codec: str
    timing: Timing
    stamps: NDArray[np.int64] | None
    keys: NDArray[np.int64]


def open_video(path: Path) -> Opened:
    """Read a file's index and first frame; the last few files asked for are remembered.

    Raises
    ------
    VideoError
        See `mocap.video.probe`.
    """
    container = inspect(path)
    state = path.stat()
    return _open(path, container, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _open(path: Path, container: Container, size: int, changed: int) -> Opened:
    if container is Container.NO_INDEX:
        problem = "the video has no index (moov): the recording was not finished or the copy is cut off"
        raise VideoError(problem, where=str(path), hint=COPY_AGAIN)
    try:
        with av.open(str(path)) as file:
            if not file.streams.video:
                raise VideoError("the file holds no video", where=str(path), hint=_REENCODE)
            stream = file.streams.video[0]
            if container is Container.TRUNCATED:
                raise _truncated(path, stream.frames)
            stamps, keys, stored = _index(file, stream)
            if not stored:
                raise VideoError("the video has no frames", where=str(path), hint=COPY_AGAIN)
            nominal = float(stream.guessed_rate or stream.average_rate or 0)
            tick = float(stream.time_base or 0)
            codec = stream.codec_context.name
        turned = _first_frame(path)
    except FFmpegError as error:
        problem, found = "not a video that can be decoded", error.strerror or None
        raise VideoError(problem, found=found, where=str(path), hint=_REENCODE) from error
    if not (math.isfinite(nominal) and 0 < nominal <= 10000):
        raise VideoError("the video has no usable frame rate", found=f"{nominal}", where=str(path), hint=_REENCODE)
    times = np.asarray(np.arange(stored) / nominal if stamps is None else stamps * tick, dtype=np.float64)
    return Opened(path, *turned, codec, even_grid(times, nominal), stamps, keys)


def _index(
    file: av.container.InputContainer, stream: av.VideoStream
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64], int]:
    """Timestamps of all frames, of those decoding can start from, and the number of frames; nothing is decoded."""
    stamps, keys, untimed = [], [], 0
    for packet in _packets(file, stream):
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.pts is None:
            untimed += 1
            continue
        stamps.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
    count = len(stamps) + untimed
    unique = np.unique(np.array(stamps, np.int64))
    if untimed or len(unique) != count:
        return None, np.zeros(0, np.int64), count
    return unique, np.array(sorted(keys), np.int64), count


def _first_frame(path: Path) -> tuple[int, int, int]:
    """Upright width and height and the quarter turns of the first frame that decodes."""
    with av.open(str(path)) as file:
        for frame in _frames(file, file.streams.video[0]):
            turns = _QUARTER_TURNS.get(round(frame.rotation) % 360)
            if turns is None:
                raise VideoError(
                    "the video is turned by an angle that is no quarter turn", found=f"{frame.rotation} degrees",
                    where=str(path), hint=_REENCODE,
                )  # fmt: skip
            width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            return width, height, turns
    raise VideoError("the video has no frame that can be decoded", where=str(path), hint=COPY_AGAIN)


def _frames(file: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Frames in order of time; packets that cannot be decoded are passed over."""
    stream.thread_type = "AUTO"
    for packet in _packets(file, stream):
        try:
            yield from packet.decode()
        except FFmpegError as error:
            log.debug("a packet at %s cannot be decoded: %s", packet.pts, error)


def _packets(file: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The file's packets as far as its container can be read."""
    packets = file.demux(stream)
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except FFmpegError as error:
            log.info("%s: the container ends in damage: %s", file.name, error)
            return


def _truncated(path: Path, promised: int) -> VideoError:
    with av.open(str(path)) as file:
        count = sum(1 for _ in _frames(file, file.streams.video[0]))
    return VideoError(
        "the video is cut off", expected=f"{promised} frames, as its header says", found=f"{count} decodable frames",
        where=str(path), hint=COPY_AGAIN,
    )  # fmt: skip


def frame_batches(
    opened: Opened, start: int, stop: int, batch: int
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Decode the frame numbers [start, stop): (first number, frames [n, H, W, 3] BGR, intact [n]) per batch.

    Raises
    ------
    VideoError
        The frame size changes within the video.
    """
    decoded = _numbered(opened, start, stop)
    waiting = next(decoded, None)
    for first in range(start, stop, batch):
        count = min(batch, stop - first)
        frames = np.zeros((count, opened.height, opened.width, 3), np.uint8)
        intact = np.zeros(count, dtype=bool)
        while waiting is not None and waiting[0] < first + count:
            number, frame = waiting
            frames[number - first] = _picture(opened, frame, number)
            intact[number - first] = not frame.is_corrupt
            waiting = next(decoded, None)
        yield first, frames, intact


def _picture(opened: Opened, frame: av.VideoFrame, number: int) -> NDArray[np.uint8]:
    # Bicubic also for the colours, as OpenCV does it: the same pixels to the bit.
    stored = np.asarray(frame.to_ndarray(format="bgr24", interpolation="BICUBIC"), dtype=np.uint8)
    upright = np.rot90(stored, opened.turns)
    if upright.shape[:2] != (opened.height, opened.width):
        raise VideoError(
            "the frame size changes within the video", expected=f"{opened.width}x{opened.height}",
            found=f"{upright.shape[1]}x{upright.shape[0]}", where=f"{opened.path}, frame {number}", hint=_REENCODE,
        )  # fmt: skip
    return upright


def _numbered(opened: Opened, start: int, stop: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """The decodable frames among the numbers [start, stop), with their numbers, increasing."""
    numbers = opened.timing.numbers
    rows = np.flatnonzero((numbers >= start) & (numbers < stop))
    if not len(rows):
        return
    with av.open(str(opened.path)) as file:
        stream = file.streams.video[0]
        if opened.stamps is None:
            for k, frame in enumerate(_frames(file, stream)):
                if k >= stop:
                    return
                if k >= start:
                    yield k, frame
            return
        first, last = opened.stamps[rows[0]], opened.stamps[rows[-1]]
        done = start - 1
        for frame in _from(opened, file, stream, int(first)):
            if frame.pts is None or frame.pts < first:
                continue
            if frame.pts > last:
                return
            row = int(np.searchsorted(opened.stamps, frame.pts))
            if opened.stamps[row] == frame.pts and numbers[row] > done:
                done = int(numbers[row])
                yield done, frame


def _from(
    opened: Opened, file: av.container.InputContainer, stream: av.VideoStream, stamp: int
) -> Iterator[av.VideoFrame]:
    """Frames from one at or before the timestamp; from the file's first where its seeking is not exact."""
    keys = opened.keys[opened.keys <= stamp]
    if len(keys) > 1:
        file.seek(int(keys[-1]), stream=stream)
        frames = _frames(file, stream)
        first = next(frames, None)
        if first is not None and first.pts is not None and first.pts <= stamp:
            yield first
            yield from frames
            return
        log.info("%s: seeking is not exact, decoding from the first frame", opened.path)
        with av.open(str(opened.path)) as again:
            yield from _frames(again, again.streams.video[0])
        return
    yield from _frames(file, stream)
