"""Putting detections together: chunks in time, cameras side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.types import Keypoints2D


def merge_chunks(chunks: Sequence[Keypoints2D]) -> Keypoints2D:
    """Concatenate detections of the same cameras in time.

    Parameters
    ----------
    chunks : sequence of Keypoints2D
        In order of time; the number of person slots may differ.

    Raises
    ------
    DataError
        Nothing to merge; other cameras, joints or frame rate; frames that overlap or run backwards.
    """
    first = _first(chunks)
    for k, chunk in enumerate(chunks[1:], start=1):
        _same("cameras", first.cameras, chunk.cameras, f"chunk {k}")
        _same("joints", first.joint_names, chunk.joint_names, f"chunk {k}")
        _same("fps", first.fps, chunk.fps, f"chunk {k}")
    frames = np.concatenate([c.frames for c in chunks])
    return _joined(first, _padded(chunks), axis=1, cameras=first.cameras, frames=frames)


def merge_cameras(views: Sequence[Keypoints2D]) -> Keypoints2D:
    """Stack detections of different cameras.

    Parameters
    ----------
    views : sequence of Keypoints2D
        Over the same frames at the same rate; the number of person slots may differ.

    Raises
    ------
    DataError
        Nothing to merge; other joints, frames or frame rate; a camera twice.
    """
    first = _first(views)
    for view in views[1:]:
        where = f"camera {', '.join(view.cameras)}"
        _same("joints", first.joint_names, view.joint_names, where)
        _same("fps", first.fps, view.fps, where)
        if not np.array_equal(first.frames, view.frames):
            raise DataError(
                "the cameras do not have the same frames", expected=f"{_span(first)} as {', '.join(first.cameras)}",
                found=_span(view), where=where, hint="cut the videos to the same frames, or leave this camera out",
            )  # fmt: skip
    cameras = tuple(c for v in views for c in v.cameras)
    if len(set(cameras)) != len(cameras):
        raise DataError("a camera occurs twice", expected="different names", found=", ".join(cameras))
    return _joined(first, _padded(views), axis=0, cameras=cameras, frames=first.frames)


def free_running(views: Sequence[Keypoints2D], fps: float) -> list[Keypoints2D]:
    """Detections of cameras with lengths and rates of their own, ready for `merge_cameras`.

    Parameters
    ----------
    views : sequence of Keypoints2D
        Each of one camera, frames numbered as the camera counts them.
    fps : float
        Rate of the session, at which the result is counted (see `TimeModel.rate`).

    Returns
    -------
    list of Keypoints2D
        Same frame numbers in all: from the earliest to the latest any camera has, and enough of them
        to cover the longest recording at `fps`; what a camera did not film is missing.
    """
    first = min(int(v.frames[0]) for v in views)
    longest = max(float(v.frames[-1] - first + 1) / v.fps for v in views)
    count = max(round(longest * fps), *(int(v.frames[-1]) - first + 1 for v in views))
    frames = np.arange(first, first + count)
    out = []
    for view in views:
        rows = view.frames - first
        _, _, slots, joints = view.confidence.shape
        keypoints = np.full((1, count, slots, joints, 2), np.nan, np.float32)
        confidence = np.zeros((1, count, slots, joints), np.float32)
        uncertainty = np.full_like(confidence, np.nan)
        keypoints[:, rows], confidence[:, rows] = view.keypoints, view.confidence
        uncertainty[:, rows] = view.uncertainty
        appearance = np.full((1, count, slots, view.appearance.shape[3]), np.nan, np.float32)
        appearance[:, rows] = view.appearance
        arrays = (keypoints, confidence, uncertainty)
        out.append(Keypoints2D(*arrays, frames, view.cameras, view.joint_names, fps, appearance))
    return out


_Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def _first(parts: Sequence[Keypoints2D]) -> Keypoints2D:
    if not parts:
        raise DataError("no detections to merge", expected="at least one part", found="none")
    return parts[0]


def _padded(parts: Sequence[Keypoints2D]) -> list[_Arrays]:
    """Keypoints, confidence, uncertainty and appearance of each part with the most slots any part has.

    Parts that describe people differently cannot be compared: then nobody is described.
    """
    slots = max(p.keypoints.shape[2] for p in parts)
    alike = len({p.appearance.shape[3] for p in parts}) == 1
    padded = []
    for part in parts:
        extra = slots - part.keypoints.shape[2]
        pad = ((0, 0), (0, 0), (0, extra), (0, 0))
        padded.append(
            (
                np.pad(part.keypoints, (*pad, (0, 0)), constant_values=np.nan),
                np.pad(part.confidence, pad),
                np.pad(part.uncertainty, pad, constant_values=np.nan),
                np.pad(part.appearance if alike else part.appearance[..., :0], pad, constant_values=np.nan),
            )
        )
    return padded


def _joined(
    first: Keypoints2D, parts: list[_Arrays], *, axis: int, cameras: tuple[str, ...], frames: NDArray[np.int64]
) -> Keypoints2D:
    keypoints, confidence, uncertainty, appearance = (np.concatenate(a, axis=axis) for a in zip(*parts, strict=True))
    arrays = (keypoints, confidence, uncertainty)
    return Keypoints2D(*arrays, frames, cameras, first.joint_names, first.fps, appearance)


def _same(what: str, expected: object, found: object, where: str) -> None:
    if expected != found:
        raise DataError(f"{what} differ", expected=str(expected), found=str(found), where=where)


def _span(part: Keypoints2D) -> str:
    if len(part.frames) == 0:
        return "no frames"
    return f"{len(part.frames)} frames, {part.frames[0]}..{part.frames[-1]}"
