"""Video files in and out: what they hold, their frames in batches, and writing one.

This is the one place that decodes video (OpenCV's FFmpeg). Frames are uint8 BGR [H, W, 3], turned
upright as the file's rotation metadata asks.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Before FFmpeg starts: damaged files are reported by one VideoError, not by its stderr.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np
from numpy.typing import NDArray

from mocap.errors import VideoError
from mocap.video_container import Container, inspect

log = logging.getLogger(__name__)

# One being decoded, one waiting, one with the consumer.
_QUEUE_BATCHES = 1


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    Attributes
    ----------
    path : Path
    width, height : int
        Size of the decoded frames, px, after rotation metadata.
    fps : float
        Frames per second.
    n_frames : int
        Frames the file promises; counted by decoding its end where the container only estimates.
    codec : str
        FourCC, e.g. "h264", "avc1".
    """

    path: Path
    width: int
    height: int
    fps: float
    n_frames: int
    codec: str


def probe(path: Path | str) -> VideoInfo:
    """What a video holds, in milliseconds.

    Raises
    ------
    VideoError
        No such file, not a video, an unfinished recording (no index), cut off, no frames or no frame rate.
    """
    path = Path(path)
    container = inspect(path)
    capture = _open(path, container)
    try:
        first_ok, first = capture.read()
        if not first_ok:
            raise VideoError("the video has no frame that can be decoded", where=str(path), hint=_COPY_AGAIN)
        height, width = first.shape[:2]
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        if not (math.isfinite(fps) and 0 < fps <= 10000):
            raise VideoError("the video has no usable frame rate", found=f"{fps}", where=str(path), hint=_REENCODE)
        promised = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        if container is Container.TRUNCATED:
            raise _truncated(path, promised, _count(path))
        n_frames = promised if container is Container.EXACT else _count_end(capture, promised)
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
    finally:
        capture.release()
    codec = "".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\0 ")
    return VideoInfo(path, width, height, fps, n_frames, codec)


def read_frames(
    path: Path | str, start: int = 0, stop: int | None = None, batch: int = 8
) -> Iterator[NDArray[np.uint8]]:
    """Frames [start, stop) of a video in batches, decoded on a thread ahead of the consumer.

    Parameters
    ----------
    path : Path or str
    start, stop : int
        Frame numbers from 0; `stop` None means to the end.
    batch : int
        Frames per batch; at most three batches are in memory at a time.

    Yields
    ------
    uint8 [n, H, W, 3]
        BGR, n <= batch. The caller owns the array.

    Raises
    ------
    VideoError
        As `probe`; or fewer frames could be decoded than the file promises; or a range outside the video.
    """
    info = probe(path)
    stop = info.n_frames if stop is None else stop
    if not 0 <= start <= stop <= info.n_frames or batch < 1:
        raise VideoError(
            "frames asked for that the video does not have", expected=f"a range within 0..{info.n_frames}",
            found=f"{start}..{stop} in batches of {batch}", where=str(path),
        )  # fmt: skip
    results: queue.Queue[NDArray[np.uint8] | BaseException | None] = queue.Queue(_QUEUE_BATCHES)
    stopped = threading.Event()
    worker = threading.Thread(
        target=_decode, args=(info, start, stop, batch, results, stopped), name="decode", daemon=True
    )
    worker.start()
    try:
        while (item := results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        while worker.is_alive():  # the decoder may wait for room in the queue
            _drain(results)
            worker.join(0.01)


def write_video(path: Path | str, frames: Iterable[NDArray[np.uint8]], fps: float, size: tuple[int, int]) -> int:
    """Write an MP4 (MPEG-4 part 2, the widest-playing codec that OpenCV's wheels can encode).

    Parameters
    ----------
    path : Path or str
        Ends in .mp4. Written under a temporary name and renamed when complete.
    frames : iterable of uint8 [H, W, 3]
        BGR.
    fps : float
    size : (int, int)
        (width, height), px.

    Returns
    -------
    int
        Frames written.

    Raises
    ------
    VideoError
        No frames, a frame of another size, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise VideoError("unknown video format", expected="a name ending in .mp4", found=path.name, where=str(path))
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.mp4")
    _quiet()
    writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    try:
        if not writer.isOpened():
            raise VideoError(
                "the video cannot be written", where=str(path), found=f"{size[0]}x{size[1]} at {fps} fps",
                hint="check that the folder exists, is writable and has space",
            )  # fmt: skip
        written = 0
        for frame in frames:
            # OpenCV drops frames of a wrong size or type without a word.
            if frame.shape != (size[1], size[0], 3) or frame.dtype != np.uint8:
                raise VideoError(
                    "a frame does not fit the video", expected=f"uint8 ({size[1]}, {size[0]}, 3)",
                    found=f"{frame.dtype} {frame.shape}", where=f"{path}, frame {written}",
                )  # fmt: skip
            writer.write(frame)
            written += 1
        writer.release()
        if written == 0:
            raise VideoError("no frames to write", where=str(path))
        os.replace(partial, path)
    finally:
        writer.release()
        partial.unlink(missing_ok=True)
    return written


_COPY_AGAIN = "copy the file from the camera again, or take this camera out of the session"
_REENCODE = "re-encode it, e.g. ffmpeg -i IN -c:v libx264 OUT.mp4"


def _quiet() -> None:
    # The environment variable comes too late where something else has imported cv2 first.
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)


def _open(path: Path, container: Container) -> cv2.VideoCapture:
    _quiet()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if capture.isOpened():
        return capture
    capture.release()
    if container is Container.NO_INDEX:
        raise VideoError(
            "the video has no index (moov): the recording was not finished or the copy is cut off",
            where=str(path),
            hint=_COPY_AGAIN,
        )
    raise VideoError("not a video that can be decoded", where=str(path), hint=_REENCODE)


def _truncated(path: Path, expected: int, found: int) -> VideoError:
    return VideoError(
        "the video is cut off", expected=f"{expected} frames, as its header says", found=f"{found} decodable frames",
        where=str(path), hint=_COPY_AGAIN,
    )  # fmt: skip


def _count(path: Path) -> int:
    """Frames that decode, counted."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _count_end(capture: cv2.VideoCapture, promised: int) -> int:
    """Frame count of a container that only estimates it: go near the end and see where it is."""
    at = 1
    if promised > 2:
        capture.set(cv2.CAP_PROP_POS_FRAMES, max(promised - 3, 1))
        at = max(int(capture.get(cv2.CAP_PROP_POS_FRAMES)), 1)
    while capture.grab():
        at += 1
    return at


def _decode(
    info: VideoInfo, start: int, stop: int, batch: int,
    results: queue.Queue[NDArray[np.uint8] | BaseException | None], stopped: threading.Event,
) -> None:  # fmt: skip
    """Thread body: put batches, then None, or the error that ended it."""
    capture = cv2.VideoCapture(str(info.path), cv2.CAP_FFMPEG)
    try:
        if start:
            _seek(capture, info, start)
        for first in range(start, stop, batch):
            frames = np.empty((min(batch, stop - first), info.height, info.width, 3), np.uint8)
            for k, frame in enumerate(frames):
                ok, image = capture.read(frame)
                if not ok:
                    raise _truncated(info.path, info.n_frames, first + k)
                if image.shape != frame.shape:
                    raise VideoError(
                        "the frame size changes within the video", expected=f"{frame.shape[1]}x{frame.shape[0]}",
                        found=f"{image.shape[1]}x{image.shape[0]}", where=f"{info.path}, frame {first + k}",
                        hint=_REENCODE,
                    )  # fmt: skip
                if image is not frame and not np.shares_memory(image, frame):
                    frame[...] = image
            if stopped.is_set():
                return
            results.put(frames)
        results.put(None)
    except (VideoError, cv2.error, MemoryError) as error:
        results.put(error)
    finally:
        capture.release()


def _seek(capture: cv2.VideoCapture, info: VideoInfo, start: int) -> None:
    """Go to a frame; by decoding from the beginning where the file's own seeking is not exact."""
    capture.set(cv2.CAP_PROP_POS_FRAMES, start)
    if round(capture.get(cv2.CAP_PROP_POS_FRAMES)) == start:
        return
    log.info("%s: seeking is not exact, decoding from the first frame", info.path)
    capture.open(str(info.path), cv2.CAP_FFMPEG)
    for at in range(start):
        if not capture.grab():
            raise _truncated(info.path, info.n_frames, at)


def _drain(results: queue.Queue[NDArray[np.uint8] | BaseException | None]) -> None:
    try:
        while True:
            results.get_nowait()
    except queue.Empty:
        return
