"""Digits that mean something: measurements are kept as finely as they are known, which packs and reads faster.

A detector knows a keypoint to some tenths of a pixel at best; 1/64 px adds an error of 1/64/sqrt(12)
= 0.005 px (uniform rounding), which does not show beside it. Confidence and uncertainty keep 8 binary
digits, a relative step of 2^-8. What is rounded stays a plain float32 whose last bits are zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mocap.types import Keypoints2D

PIXEL_STEP = 1 / 64
_DROPPED_BITS = 16


def rounded(keypoints: Keypoints2D) -> Keypoints2D:
    """Keypoints to 1/64 px, confidence and uncertainty to 8 binary digits; what is missing stays so."""
    return replace(
        keypoints,
        keypoints=np.round(keypoints.keypoints / np.float32(PIXEL_STEP)) * np.float32(PIXEL_STEP),
        confidence=_leading_bits(keypoints.confidence),
        uncertainty=_leading_bits(keypoints.uncertainty),
    )


def _leading_bits(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest float32 whose lower 16 bits are zero (halves go up); no number > 0 becomes 0 and none <= 1 more."""
    bits = values.view(np.uint32)
    half = np.uint32(1 << (_DROPPED_BITS - 1))
    near = (bits + half) & np.uint32(~((1 << _DROPPED_BITS) - 1) & 0xFFFFFFFF)
    return np.where(np.isfinite(values) & (values != 0), near.view(np.float32), values)
