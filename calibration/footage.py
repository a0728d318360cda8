"""Calibration footage on disk: which files are which camera, and which frames were taken at the same time.

A folder of footage holds one video per camera (`cam_0.mp4`), or one folder of images per camera
(`cam_0/0001.png`), or one image per camera (`cam_0.png`). Alternatively it holds `intrinsics/` and
`extrinsics/`, each laid out that way: frames of the first are used for one camera each, frames of the
second for all cameras together. Other files are ignored.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Before FFmpeg starts: damaged files are reported by an error of ours, not by its stderr.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.footage_times import OFFSETS, TIMESTAMPS, frame_times
from calibration.time_stamps import last_number

# Damaged files are reported by an error of ours; the variables above count only where cv2 was not imported yet.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mts", ".webm", ".mpg")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# A jump in a video decodes from the key frame before: rather go through where the next frame wanted is this near.
_WORTH_A_JUMP = 60
# Words of file names that say what the footage is for, not whose it is: int_cam01_img is camera cam01.
_NO_NAMES = {"int", "ext", "img", "imgs", "image", "images", "intrinsic", "intrinsics", "extrinsic", "extrinsics",
             "calib", "calibration", "video", "frames"}  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """What one camera filmed.

    Attributes
    ----------
    camera : str
    path : Path
        A video, or the folder of the images.
    images : tuple of Path
        In order; empty for a video.
    numbers : tuple of int
        Frame number of each image; equal numbers mean equal time. Empty for a video.
    size : (int, int)
        (width, height) as decoded, upright as the file's rotation metadata asks, px.
    fps : float
        0 for images.
    n_frames : int
    """

    camera: str
    path: Path
    images: tuple[Path, ...]
    numbers: tuple[int, ...]
    size: tuple[int, int]
    fps: float
    n_frames: int

    def frames(self, wanted: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The frames at rising positions `wanted`, BGR [H, W, 3].

        Raises
        ------
        CalibrationError
            A frame that cannot be decoded, or of another size.
        """
        for position, image in self._images(wanted) if self.images else self._video(wanted):
            if (image.shape[1], image.shape[0]) != self.size:
                raise CalibrationError(
                    f"camera {self.camera} has images of different sizes", expected=f"{self.size[0]}x{self.size[1]}",
                    found=f"{image.shape[1]}x{image.shape[0]}", where=str(self._file(position)),
                    hint="film intrinsics and extrinsics in the same video mode; take other images out",
                )  # fmt: skip
            yield image

    def glimpses(self, wanted: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Frames near the positions `wanted`: long videos are jumped through, which may miss by a few.

        What cannot be decoded is left out: `frames` will complain.
        """
        if self.images or self.n_frames < _WORTH_A_JUMP * len(wanted):
            with contextlib.suppress(CalibrationError):
                yield from self.frames(wanted)
            return
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        try:
            for position in wanted:
                capture.set(cv2.CAP_PROP_POS_FRAMES, float(position))
                ok, image = capture.read()
                if ok:
                    yield np.asarray(image, np.uint8)
        finally:
            capture.release()

    def _file(self, position: int) -> Path:
        return self.images[position] if self.images else self.path

    def _images(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for position in wanted:
            yield int(position), read_image(self.images[position], self.camera)

    def _video(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        at = 0
        try:
            for position in wanted:
                while at < position and capture.grab():
                    at += 1
                ok, image = capture.read()
                if not ok:
                    raise CalibrationError(
                        f"the video of camera {self.camera} is cut off", expected=f"{self.n_frames} frames",
                        found=f"{at} that can be decoded", where=str(self.path), hint="copy the file again",
                    )  # fmt: skip
                at += 1
                yield int(position), np.asarray(image, np.uint8)
        finally:
            capture.release()


@dataclass(frozen=True)
class Footage:
    """All calibration footage of a folder.

    Attributes
    ----------
    folder : Path
    shared : tuple of Clip
        Whose frames show the target to several cameras at a time; at most one per camera.
    alone : tuple of Clip
        Used for each camera by itself.
    frame_times : mapping of camera to float64 [n_frames]
        When each frame of a shared clip was taken (s); empty where equal frame numbers mean equal time.
    instants : mapping of camera to int64 [n_frames]
        Which frames belong together: equal numbers, equal instant; -1 takes a frame out.
    timing : str
        Where that comes from, in words.
    """

    folder: Path
    shared: tuple[Clip, ...]
    alone: tuple[Clip, ...]
    frame_times: Mapping[str, NDArray[np.float64]]
    instants: Mapping[str, NDArray[np.int64]]
    timing: str

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(sorted({c.camera for c in (*self.shared, *self.alone)}, key=_natural))

    def size(self, camera: str) -> tuple[int, int]:
        """Image (width, height) of a camera, px."""
        return next(c.size for c in (*self.shared, *self.alone) if c.camera == camera)

    def files(self) -> tuple[Path, ...]:
        """Every file that decides the result."""
        clips = [f for c in (*self.shared, *self.alone) for f in (c.images or (c.path,))]
        sides = [self.folder / n for n in (TIMESTAMPS, OFFSETS)]
        sides += [self.folder / "extrinsics" / n for n in (TIMESTAMPS, OFFSETS)]
        return (*clips, *(s for s in sides if s.is_file()))


def open_footage(folder: Path, *, intrinsics_only: bool = False) -> Footage:
    """Look through a folder of calibration footage.

    Parameters
    ----------
    folder : Path
    intrinsics_only : bool
        Use every frame for its own camera alone. Also so where the folder itself is called `intrinsics`.

    Raises
    ------
    CalibrationError
        No such folder, nothing in it that is footage, two clips of one camera, mixed resolutions, an
        empty or damaged file, or times that do not fit the frames.
    """
    if not folder.is_dir():
        raise CalibrationError("no such folder of calibration footage", where=str(folder))
    parts = {p.name.lower(): p for p in folder.iterdir() if p.is_dir()}
    alone_in, shared_in = parts.get("intrinsics"), parts.get("extrinsics")
    if alone_in is None and shared_in is None:
        alone_in, shared_in = (folder, None) if folder.name.lower() == "intrinsics" else (None, folder)
    if intrinsics_only and shared_in is not None and alone_in is None:
        alone_in, shared_in = shared_in, None
    alone = find_clips(alone_in) if alone_in else ()
    shared = find_clips(shared_in) if shared_in and not intrinsics_only else ()
    if not shared and not alone:
        raise CalibrationError(
            "no calibration footage in this folder", where=str(folder),
            expected="one video or one folder of images per camera, or intrinsics/ and extrinsics/ with those",
            found=", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "an empty folder",
        )  # fmt: skip
    if shared:
        alone = tuple(_renamed(c, [s.camera for s in shared]) for c in alone)
    _check_sizes((*shared, *alone))
    times, instants, timing = frame_times(shared_in or folder, shared)
    return Footage(folder, shared, alone, times, instants, timing)


def find_clips(folder: Path) -> tuple[Clip, ...]:
    """The clips of one folder, by camera name.

    Raises
    ------
    CalibrationError
        Two clips of one camera, or an unreadable one.
    """
    entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: _natural(p.name))
    found: dict[str, list[Path]] = {}
    for path in entries:
        suffix = path.suffix.lower()
        if suffix in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES) or (path.is_dir() and _footage_in(path)):
            found.setdefault(camera_name(path), []).append(path)
    clips = []
    for camera, paths in found.items():
        if len(paths) > 1:
            raise CalibrationError(
                f"two clips of camera {camera}", found=", ".join(p.name for p in paths), where=str(folder),
                expected="one video or one folder of images per camera", hint="rename one, or take it out",
            )  # fmt: skip
        clips.append(_open_clip(camera, paths[0]))
    return tuple(clips)


def camera_name(path: Path) -> str:
    """The camera that a file or folder is of: its name without words such as `int`, `ext`, `img`."""
    stem = path.name if path.is_dir() else path.stem
    words = [w for w in re.split(r"[_\-. ]+", stem) if w]
    kept = [w for w in words if w.lower() not in _NO_NAMES]
    return stem if len(kept) in (0, len(words)) else "_".join(kept)


def read_image(path: Path, camera: str) -> NDArray[np.uint8]:
    """An image, BGR, turned upright as its EXIF data asks; CalibrationError when it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise CalibrationError(f"an image of camera {camera} cannot be read", where=str(path), hint="take it out")
    return np.asarray(image, np.uint8)


def _footage_in(folder: Path) -> list[Path]:
    return sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)),
        key=lambda p: _natural(p.name),
    )


def _open_clip(camera: str, path: Path) -> Clip:
    if path.is_dir():
        files = _footage_in(path)
        videos = [f for f in files if f.suffix.lower() in VIDEO_SUFFIXES]
        if len(videos) > 1 or (videos and len(files) > len(videos)):
            raise CalibrationError(
                f"the folder of camera {camera} holds several recordings", where=str(path),
                expected="one video, or images only", found=", ".join(f.name for f in files[:6]),
            )  # fmt: skip
        if not videos:
            return _image_clip(camera, path, files)
        path = videos[0]
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _image_clip(camera, path, [path])
    return _video_clip(camera, path)


def _image_clip(camera: str, path: Path, files: list[Path]) -> Clip:
    first = read_image(files[0], camera)
    numbers = [int((re.findall(r"\d+", f.stem.replace(camera, "")) or ["0"])[-1]) for f in files]
    if len(set(numbers)) < len(numbers):
        numbers = list(range(len(files)))
    order = np.argsort(numbers, kind="stable")
    return Clip(
        camera, path, tuple(files[i] for i in order), tuple(int(numbers[i]) for i in order),
        (first.shape[1], first.shape[0]), 0.0, len(files),
    )  # fmt: skip


def _video_clip(camera: str, path: Path) -> Clip:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        ok, first = capture.read() if capture.isOpened() else (False, None)
        count, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), float(capture.get(cv2.CAP_PROP_FPS))
        if not ok or first is None:
            raise CalibrationError(
                f"the video of camera {camera} has no frame that can be decoded", where=str(path),
                found="an empty file" if path.stat().st_size == 0 else f"{path.stat().st_size} bytes",
                hint="copy the file from the camera again, or take this camera out",
            )  # fmt: skip
        if count < 1:  # the container does not say
            count = 1
            while capture.grab():
                count += 1
    finally:
        capture.release()
    return Clip(camera, path, (), (), (first.shape[1], first.shape[0]), fps if np.isfinite(fps) else 0.0, count)


def _renamed(clip: Clip, names: list[str]) -> Clip:
    """The intrinsic clip under its camera's name in the extrinsic footage: the same name, else the same number."""
    if clip.camera in names:
        return clip
    same = [n for n in names if last_number(n) == last_number(clip.camera) is not None]
    if len(same) != 1:
        raise CalibrationError(
            f"the intrinsic footage of camera {clip.camera} has no extrinsic counterpart", where=str(clip.path),
            expected=f"one of {', '.join(names)}", hint="name the clips of a camera alike in both folders",
        )  # fmt: skip
    return Clip(same[0], clip.path, clip.images, clip.numbers, clip.size, clip.fps, clip.n_frames)


def _check_sizes(clips: tuple[Clip, ...]) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        other = seen.setdefault(clip.camera, clip)
        if other.size != clip.size:
            turned = " (turned by 90 degrees)" if other.size == clip.size[::-1] else ""
            raise CalibrationError(
                f"camera {clip.camera} was filmed in two resolutions{turned}",
                expected=f"{other.size[0]}x{other.size[1]} as {other.path.name}",
                found=f"{clip.size[0]}x{clip.size[1]}", where=str(clip.path),
                hint="film intrinsics and extrinsics in the same video mode",
            )  # fmt: skip


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that takes numbers as numbers: cam_2 before cam_10."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p.lower()) for p in re.split(r"(\d+)", name) if p]
