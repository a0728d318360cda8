"""Video files in and out: what they hold, their frames in batches, and writing one.

Frames are uint8 BGR [H, W, 3], turned upright as the file's rotation metadata asks. FFmpeg decodes
them (through PyAV, which unlike OpenCV says which frame is damaged and when each was taken).
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Before OpenCV's own FFmpeg, which writes videos, starts: no chatter on stderr.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from mocap.errors import VideoError
from mocap.video_decoding import COPY_AGAIN, Opened, frame_batches, open_video

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
        Frame numbers per second: frame k was taken k / fps after the first.
    n_frames : int
        Frame numbers, those included that no frame was stored for.
    codec : str
        E.g. "h264", "vp9".
    variable_rate : bool
        The stored frames do not come evenly; each is numbered by its own timestamp.
    dropped : int
        Frame numbers that no stored frame belongs to.
    surplus : int
        Stored frames left out because another is nearer to their frame number's time.
    deviation_s : float
        Largest distance of a timestamp from that of its frame number, seconds.
    missing : str
        The dropped numbers as text: "3, 7-9".
    """

    path: Path
    width: int
    height: int
    fps: float
    n_frames: int
    codec: str
    variable_rate: bool = False
    dropped: int = 0
    surplus: int = 0
    deviation_s: float = 0.0
    missing: str = ""

    @property
    def timing_note(self) -> str:
        """One sentence on how uneven frame times are dealt with; empty when they are even."""
        if not self.variable_rate:
            return ""
        where = f" ({self.missing})" if self.missing else ""
        return (
            f"uneven frame times (variable frame rate or dropped frames): frames are numbered by their timestamps at "
            f"{self.fps:.6g} per second; {self.dropped} of {self.n_frames} numbers have no frame{where}, "
            f"{self.surplus} frames are left out, timestamps are up to {1e3 * self.deviation_s:.1f} ms off"
        )


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Consecutive frames of a video.

    Attributes
    ----------
    first : int
        Number of the first.
    frames : uint8 [n, H, W, 3]
        BGR. Where not intact: what could be decoded, else black.
    intact : bool [n]
        False where the video has no frame, or a damaged one.
    """

    first: int
    frames: NDArray[np.uint8]
    intact: NDArray[np.bool_]


def probe(path: Path | str) -> VideoInfo:
    """What a video holds; no frame but the first is decoded.

    Raises
    ------
    VideoError
        No such file, not a video, an unfinished recording (no index), cut off, no frames or no frame rate.
    """
    return _info(open_video(Path(path)))


def _info(opened: Opened) -> VideoInfo:
    timing = opened.timing
    return VideoInfo(
        opened.path, opened.width, opened.height, timing.fps, timing.n_frames, opened.codec, not timing.even,
        timing.dropped, timing.surplus, timing.deviation_s,
        spans(np.setdiff1d(np.arange(timing.n_frames), timing.numbers).tolist()),
    )  # fmt: skip


def read_frames(
    path: Path | str, start: int = 0, stop: int | None = None, batch: int = 8
) -> Iterator[NDArray[np.uint8]]:
    """Frames [start, stop) of a video in batches, decoded on a thread ahead of the consumer.

    As `read_batches`, without saying which frames are intact.

    Yields
    ------
    uint8 [n, H, W, 3]
        BGR, n <= batch. The caller owns the array. Frames that cannot be decoded are black.
    """
    for part in read_batches(path, start, stop, batch):
        yield part.frames


def read_batches(path: Path | str, start: int = 0, stop: int | None = None, batch: int = 8) -> Iterator[FrameBatch]:
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
    FrameBatch
        The caller owns the arrays. Damaged frames are logged in one warning when all have been read.

    Raises
    ------
    VideoError
        As `probe`; or more than half of the frames cannot be decoded; or a range outside the video.
    """
    opened = open_video(Path(path))
    n_frames = opened.timing.n_frames
    stop = n_frames if stop is None else stop
    if not 0 <= start <= stop <= n_frames or batch < 1:
        raise VideoError(
            "frames asked for that the video does not have", expected=f"a range within 0..{n_frames}",
            found=f"{start}..{stop} in batches of {batch}", where=str(path),
        )  # fmt: skip
    results: queue.Queue[FrameBatch | BaseException | None] = queue.Queue(_QUEUE_BATCHES)
    stopped = threading.Event()
    worker = threading.Thread(
        target=_decode, args=(opened, start, stop, batch, results, stopped), name="decode", daemon=True
    )
    worker.start()
    damaged: list[int] = []
    try:
        while (item := results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            damaged += [int(k) for k in item.first + np.flatnonzero(~item.intact)]
            yield item
    finally:
        stopped.set()
        while worker.is_alive():  # the decoder may wait for room in the queue
            _drain(results)
            worker.join(0.01)
    _report(opened, damaged, start, stop)


def _report(opened: Opened, damaged: list[int], start: int, stop: int) -> None:
    """Say which frames are missing; refuse a range that mostly is."""
    stored = set(opened.timing.numbers.tolist())
    broken = [k for k in damaged if k in stored]
    if 2 * len(broken) > stop - start:
        raise VideoError(
            "the video is cut off or damaged", expected=f"{stop - start} frames, as its header says",
            found=f"{stop - start - len(broken)} decodable frames", where=f"{opened.path}, frames {start}..{stop - 1}",
            hint=COPY_AGAIN,
        )  # fmt: skip
    if broken:
        log.warning("%s: %d damaged frames are skipped: %s", opened.path, len(broken), spans(broken))


def spans(numbers: Iterable[int]) -> str:
    """Increasing frame numbers as text: "3, 7-9, 12"; at most eight spans."""
    runs: list[list[int]] = []
    for k in numbers:
        if runs and k == runs[-1][1] + 1:
            runs[-1][1] = k
        else:
            runs.append([k, k])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:8])
    return text + (f" and {len(runs) - 8} more spans" if len(runs) > 8 else "")


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


def _quiet() -> None:
    # The environment variable comes too late where something else has imported cv2 first.
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)


def _decode(
    opened: Opened, start: int, stop: int, batch: int,
    results: queue.Queue[FrameBatch | BaseException | None], stopped: threading.Event,
) -> None:  # fmt: skip
    """Thread body: put batches, then None, or the error that ended it."""
    try:
        for first, frames, intact in frame_batches(opened, start, stop, batch):
            if stopped.is_set():
                return
            results.put(FrameBatch(first, frames, intact))
        results.put(None)
    except (VideoError, FFmpegError, OSError, MemoryError) as error:
        results.put(error)


def _drain(results: queue.Queue[FrameBatch | BaseException | None]) -> None:
    try:
        while True:
            results.get_nowait()
    except queue.Empty:
        return
