"""Videos that browsers, editors and telephones play: H.264 in MP4."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from mocap.errors import VideoError
from mocap.video import write_video

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]

# x264's own scale; 20 is not told from the original at arm's length. Its fastest preset takes half the time of the
# next and twice the space (7 Mbit/s for 1080p), which is the better bargain while somebody waits.
_QUALITY, _PRESET = "20", "ultrafast"
_QUEUED = 4
_LOOK_S = 0.2  # how often somebody who waits for the encoder looks whether it still lives


def write_h264(path: Path | str, frames: Iterable[Image], fps: float, size: tuple[int, int]) -> int:
    """Write an MP4 with H.264, 4:2:0, its index in front so that it plays while it loads.

    Pictures are encoded on a thread of their own while the next are drawn. Where this build of FFmpeg cannot
    encode H.264, MPEG-4 part 2 is written instead (most players open it, browsers do not) and a warning logged.

    Parameters
    ----------
    path : Path or str
        Ends in .mp4. Written under a temporary name and renamed when complete.
    frames : iterable of uint8 [height, width, 3]
        Blue green red. An odd last column or row is left out: 4:2:0 has none.
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
        No frames, a frame of another size, a size below 2 x 2, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise VideoError("unknown video format", expected="a name ending in .mp4", found=path.name, where=str(path))
    if not can_encode():
        log.warning("FFmpeg has no H.264 encoder here: writing MPEG-4 part 2, which browsers do not play")
        return write_video(path, frames, fps, size)
    if min(size) < 2:
        raise VideoError(
            "too small for a video", expected="2 x 2 px or more", found=f"{size[0]} x {size[1]}", where=str(path)
        )
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.mp4")
    try:
        written = _write(partial, path, frames, fps, size)
        os.replace(partial, path)
    except (FFmpegError, OSError) as error:
        raise VideoError(
            "the video cannot be written", found=str(error), where=str(path),
            hint="check that the folder exists, is writable and has space",
        ) from error  # fmt: skip
    finally:
        partial.unlink(missing_ok=True)
    return written


def can_encode() -> bool:
    """Whether FFmpeg, as PyAV brings it, encodes H.264 with x264."""
    return "libx264" in av.codecs_available


def _write(partial: Path, path: Path, frames: Iterable[Image], fps: float, size: tuple[int, int]) -> int:
    written = 0
    with _Encoder(partial, fps, size) as encoder:
        for frame in frames:
            if frame.shape != (size[1], size[0], 3) or frame.dtype != np.uint8:
                raise VideoError(
                    "a frame does not fit the video", expected=f"uint8 ({size[1]}, {size[0]}, 3)",
                    found=f"{frame.dtype} {frame.shape}", where=f"{path}, frame {written}",
                )  # fmt: skip
            encoder.put(frame)
            written += 1
        if written == 0:
            raise VideoError("no frames to write", where=str(path))
    return written


class _Encoder:
    """A thread that encodes what is put; what goes wrong in it is raised by `put` or at the end."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000))
        stream.width, stream.height = size[0] - size[0] % 2, size[1] - size[1] % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": _QUALITY, "preset": _PRESET}
        # As OpenCV converts (ITU-R BT.601, 16 to 235), said in the file.
        stream.codec_context.colorspace = Colorspace.SMPTE170M
        stream.codec_context.color_range = ColorRange.MPEG
        self._stream = stream
        self._frames: queue.Queue[Image | None] = queue.Queue(_QUEUED)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)

    def __enter__(self) -> _Encoder:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        handed = self._hand(None)
        self._thread.join()
        self._container.close()
        if kind is None and self._error is not None:
            raise self._error
        if kind is None and not handed:
            raise VideoError("the encoder has stopped")

    def put(self, frame: Image) -> None:
        if self._error is not None:
            raise self._error
        if not self._hand(frame):
            raise VideoError("the encoder has stopped")

    def _hand(self, item: Image | None) -> bool:
        """Wait for room in the queue; False where the thread ended before there was any."""
        while self._thread.is_alive():
            try:
                self._frames.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False

    def _run(self) -> None:
        number = 0
        while (frame := self._frames.get()) is not None:
            if self._error is not None:
                continue  # so that `put` never waits for room
            try:
                self._encode(frame, number)
            except Exception as error:  # noqa: BLE001 - raised where the caller can handle it, by `put`
                self._error = error
            number += 1
        if self._error is None:
            try:
                self._container.mux(self._stream.encode())
            except Exception as error:  # noqa: BLE001 - raised by `__exit__`
                self._error = error

    def _encode(self, frame: Image, number: int) -> None:
        even = frame[: self._stream.height, : self._stream.width]
        planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420), np.uint8)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts = number
        self._container.mux(self._stream.encode(picture))
