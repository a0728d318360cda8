"""The detection stage: one view's video to 2D keypoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mocap.detection.appearance import describe_people
from mocap.detection.detector import Detector, make_detector
from mocap.detection.poses import People
from mocap.detection.settings import DetectionSettings
from mocap.errors import VideoError
from mocap.types import Keypoints2D
from mocap.video import FrameBatch, probe, read_batches

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

log = logging.getLogger(__name__)


def detect_video(
    path: Path | str,
    settings: DetectionSettings,
    device: torch.device,
    frames: range | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    camera: str | None = None,
    detector: Detector | None = None,
) -> Keypoints2D:
    """Find the people in a video or a part of it.

    Parameters
    ----------
    path : Path or str
    settings : DetectionSettings
    device : torch.device
        Where the networks run (`mocap.devices.resolve_device`).
    frames : range, optional
        Consecutive frame numbers; all frames of the video by default.
    progress : callable, optional
        Called with the number of frames just done.
    camera : str, optional
        Name of the view; the file's name without extension by default.
    detector : Detector, optional
        One made before by `make_detector` with these settings, to load the networks only once.

    Returns
    -------
    Keypoints2D
        One view, with as many person slots as were needed (at least one, all NaN when nobody was found).
        Frames that are damaged or missing in the video are NaN, and logged.

    Raises
    ------
    VideoError
        The video is missing, does not have these frames, or more than half of them are damaged.
    WeightsError
        The network's weights are missing and cannot be fetched.
    """
    info = probe(path)
    frames = range(info.n_frames) if frames is None else frames
    _require_consecutive(frames, path)
    detector = make_detector(settings, device) if detector is None else detector
    detector.start(info.fps)
    if info.timing_note:
        log.warning("%s: %s", path, info.timing_note)
    parts, looks = [], []
    for batch in read_batches(path, frames.start, frames.stop, settings.batch_frames):
        people = _detect_intact(detector, batch, settings.max_people)
        looks.append(describe_people(batch.frames, people.keypoints, people.confidence, detector.skeleton))
        parts.append(people)
        if progress is not None:
            progress(len(batch.intact))
    found = _one_view(parts, looks, frames, camera or Path(path).stem, detector.skeleton.joints, info.fps)
    if not np.isfinite(found.keypoints).any():
        log.warning("%s: nobody was found in frames %d..%d", path, frames.start, frames.stop - 1)
    return found


def _require_consecutive(frames: range, path: Path | str) -> None:
    if frames.step != 1 or len(frames) == 0:
        found = f"{frames}"
        raise VideoError(
            "frames to detect in are not consecutive", expected="range(a, b)", found=found, where=str(path)
        )


def _one_view(
    parts: list[People], looks: list[Floats], frames: range, camera: str, joints: tuple[str, ...], fps: float
) -> Keypoints2D:
    """Batches put together, with the slots that are used."""
    keypoints = np.concatenate([p.keypoints for p in parts])
    people = _slots_used(keypoints)
    return Keypoints2D(
        keypoints=keypoints[None, :, :people],
        confidence=np.concatenate([p.confidence for p in parts])[None, :, :people],
        uncertainty=np.concatenate([p.uncertainty for p in parts])[None, :, :people],
        frames=np.arange(frames.start, frames.stop),
        cameras=(camera,),
        joint_names=joints,
        fps=fps,
        appearance=np.concatenate(looks)[None, :, :people],
    )


def _detect_intact(detector: Detector, batch: FrameBatch, slots: int) -> People:
    """People in a batch; nobody in frames that are damaged or missing."""
    if batch.intact.all():
        return detector.detect(batch.frames)
    n, joints = len(batch.intact), len(detector.skeleton.joints)
    keypoints = np.full((n, slots, joints, 2), np.nan, np.float32)
    confidence = np.zeros((n, slots, joints), np.float32)
    uncertainty = np.full((n, slots, joints), np.nan, np.float32)
    if batch.intact.any():
        found = detector.detect(batch.frames[batch.intact])
        keypoints[batch.intact], confidence[batch.intact] = found.keypoints, found.confidence
        uncertainty[batch.intact] = found.uncertainty
    return People(keypoints, confidence, uncertainty)


def _slots_used(keypoints: np.ndarray) -> int:
    """Number of slots up to the last one with anybody in it, at least one; keypoints [T, P, J, 2]."""
    used = np.flatnonzero(np.isfinite(keypoints).any((0, 2, 3)))
    return int(used[-1]) + 1 if len(used) else 1
