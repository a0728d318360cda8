"""A calibration made to fit the session's videos."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from calibration.camera import Camera, CameraRig
from flows.config import CameraEntry
from flows.footage import Footage
from mocap.errors import CalibrationError

logger = logging.getLogger(__name__)


def fit_rig_to_images(
    rig: CameraRig, entries: Sequence[CameraEntry], footage: Mapping[str, Footage], crop_tolerance_px: int
) -> CameraRig:
    """The rig of the session's cameras, under their names, for images as they were filmed.

    Parameters
    ----------
    rig : CameraRig
        As calibrated.
    entries : sequence of CameraEntry
        Which calibrated camera each camera of the session is.
    footage : mapping
        The video of each camera that has one.
    crop_tolerance_px : int
        See `CalibrateSettings`.

    Raises
    ------
    CalibrationError
        A camera without calibration, or an image size that does not fit.
    """
    chosen = rig.select([e.calibration for e in entries])
    cameras = []
    for entry, camera in zip(entries, chosen.cameras, strict=True):
        video = footage.get(entry.name)
        fitted = camera if video is None else _fit(camera, entry.name, video, crop_tolerance_px)
        cameras.append(replace(fitted, name=entry.name))
    return CameraRig(tuple(cameras), chosen.covariance, chosen.world_source)


def _fit(camera: Camera, name: str, video: Footage, tolerance: int) -> Camera:
    (w0, h0), (w, h) = camera.size, (video.width, video.height)
    if (w, h) == (w0, h0):
        return camera
    known = f"camera {name}: calibrated at {w0}x{h0}, filmed at {w}x{h}"
    if abs(w / w0 - h / h0) < 0.002:
        logger.info("%s: scaled", known)
        return camera.resized((w, h))
    if (boxed := _letterboxed(camera, video)) is not None:
        logger.info("%s: scaled to fit between black bars", known)
        return boxed
    if abs(w - w0) <= tolerance and abs(h - h0) <= tolerance:
        logger.info("%s: cropped at the right and bottom", known)
        return replace(camera, size=(w, h))
    turned = " (it looks turned by 90 degrees)" if (w > h) != (w0 > h0) else ""
    raise CalibrationError(
        f"the calibration of camera {name} is for another image size",
        expected=f"{w0}x{h0}, a scaled copy of it, or at most {tolerance} px cropped at the right and bottom",
        found=f"a video of {w}x{h}{turned}",
        hint="use the calibration made with this video mode, or export the video unrotated and uncropped",
    )


def _letterboxed(camera: Camera, video: Footage) -> Camera | None:
    """The camera of a picture scaled to fit and centred between black bars, if the video shows such bars."""
    (w0, h0), (w, h) = camera.size, (video.width, video.height)
    scale = min(w / w0, h / h0)
    pad_x, pad_y = (w - scale * w0) / 2, (h - scale * h0) / 2
    left, top, right, bottom = video.bars
    # Codecs blur a bar's edge by a pixel or two.
    fits = all(abs(bar - pad) <= 2 for bar, pad in ((left, pad_x), (right, pad_x), (top, pad_y), (bottom, pad_y)))
    if not fits or max(left + right, top + bottom) == 0:
        return None
    K = camera.K.copy()
    K[:2] *= scale
    K[:2, 2] += 0.5 * (scale - 1) + np.array([pad_x, pad_y])
    return replace(camera, K=K, size=(w, h))
