"""Offsets between cameras from a flash of light that several of them filmed.

A flash, or a lamp switched on, makes the whole picture brighter from one frame to the next; people who
move and exposure that adapts take longer. The first brighter frame of each camera holds the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.synchronisation import Gap
from calibration.time_evidence import ClockEvidence

Array = NDArray[np.float64]

# Every so many pixels of a frame count, in either direction.
_THIN = 16
# A rise is one that exceeds the usual differences between frames by so much (standard deviations by the
# median) and this many grey levels of 255, and every other rise of the take by this factor.
_CLEAR, _LEAST_LEVELS, _ABOVE_OTHERS = 12.0, 4.0, 2.5
# Rises so near the largest one are the same event: flashes that come in pairs, pictures of several frames' light.
_EVENT_S = 0.3
_LEAST_FRAMES = 10
# Of a frame's length. A frame is lit that ends behind the moment: its middle is late by half a frame less half the
# exposure on average, uniformly within a frame; the exposure, not known, is uniform between nothing and a frame.
_LATE_FRAMES = 0.25
_STD_FRAMES = float(np.sqrt(1 / 12 + 1 / 48))


def read_brightness(path: Path) -> Array:
    """Mean grey level [N] (0 to 255) of each frame of a video; NaN where it has none or a damaged one.

    Raises
    ------
    VideoError
        As `mocap.video.read_batches`.
    """
    from mocap.video import read_batches

    levels: list[Array] = []
    for batch in read_batches(path):
        thin = batch.frames[:, ::_THIN, ::_THIN].reshape(len(batch.frames), -1)
        levels.append(np.where(batch.intact, thin.mean(1, dtype=np.float64), np.nan))
    return np.concatenate(levels) if levels else np.zeros(0)


def flash_frame(levels: Array, fps: float) -> int | None:
    """First frame that one flash lit, None where there is none or several, or only as the camera starts.

    Parameters
    ----------
    levels : float64 [N]
        Grey level of each frame; NaN where not known.
    fps : float
        Frames per second.
    """
    if len(levels) < _LEAST_FRAMES:
        return None
    rise = np.diff(levels)
    known = np.isfinite(rise)
    if known.sum() < _LEAST_FRAMES - 1:
        return None
    rise = np.where(known, rise, 0.0)
    usual = 1.4826 * float(np.median(np.abs(rise[known] - np.median(rise[known]))))
    least = max(_CLEAR * usual, _LEAST_LEVELS)
    top = int(np.argmax(rise))
    reach = max(round(_EVENT_S * fps), 2)
    far = np.abs(np.arange(len(rise)) - top) > reach
    rival = float(rise[far].max(initial=0.0))
    if rise[top] < least or rise[top] < _ABOVE_OTHERS * rival or top < reach:  # cameras brighten as they start
        return None
    # The light may have gone on within an exposure: the frame before the largest rise is a little brighter then.
    first = top
    while first > 0 and top - first < reach and rise[first - 1] > max(least / 2, 0.1 * rise[top]):
        first -= 1
    # Nothing is said where the frame in which it may have begun is missing.
    return first + 1 if first > 0 and known[first - 1] else None


def offsets_from_flash(
    levels: Sequence[Array], fps: Array, search_s: float, gaps: Sequence[Gap] = ()
) -> ClockEvidence | None:
    """Offsets of the cameras that filmed the same flash.

    Parameters
    ----------
    levels : sequence of float64 [N]
        Per camera, see `read_brightness`.
    fps : float64 [V]
    search_s : float
        Largest offset; cameras whose flash lies further from most others' saw another one.
    gaps : sequence of Gap, optional
        Frames that are known to be lost: those behind count as later.

    Returns
    -------
    ClockEvidence or None
        None where fewer than two cameras filmed one clear flash. A camera that lost the frame in which it may have
        begun is silent.
        To a frame: the standard deviation is 0.32 of its length.
    """
    fps = np.asarray(fps, np.float64)
    found = [flash_frame(np.asarray(one, np.float64), float(f)) for one, f in zip(levels, fps, strict=True)]
    counts = np.array([_counted(k, [g for g in gaps if g.camera == v]) for v, k in enumerate(found)])
    seen = (counts - _LATE_FRAMES) / fps
    if np.isfinite(seen).sum() < 2:
        return None
    alike = np.abs(seen[:, None] - seen) <= search_s
    seen = np.where(alike[int(alike.sum(1).argmax())], seen, np.nan)
    # Seen later in the file: the file began earlier.
    return ClockEvidence("flash", -seen, _STD_FRAMES / fps) if np.isfinite(seen).sum() >= 2 else None


def _counted(frame: int | None, gaps: Sequence[Gap]) -> float:
    """What a frame's number would be had the camera lost none; NaN where the light may have gone on in a gap."""
    if frame is None or any(g.frame == frame for g in gaps):
        return np.nan
    return float(frame + sum(g.missing for g in gaps if g.frame < frame))
