"""The open 2D keypoint file: a NumPy .npz that other programs read and write.

Arrays: ``keypoints`` float [V,T,P,J,2] px, ``confidence`` float [V,T,P,J], ``cameras`` str [V],
``joint_names`` str [J], ``frames`` int [T], ``fps``; optionally ``uncertainty`` float [V,T,P,J] px
and ``appearance`` float [V,T,P,E], what each person looks like (NaN unknown).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.storage.atomic import atomic_path
from mocap.storage.npz import read_npz
from mocap.types import Keypoints2D

_HIGHEST_PEAK = 1.5
_REQUIRED = ("keypoints", "confidence", "cameras", "joint_names", "frames", "fps")


def read_keypoints(path: Path) -> Keypoints2D:
    """Read a 2D keypoint file.

    Raises
    ------
    DataError
        Missing or damaged file, missing arrays, axes that do not fit, confidence outside 0..1.
    """
    hint = "see the open interchange files in the README for the arrays and their axes"
    arrays = read_npz(path, ", ".join(_REQUIRED))
    missing = [n for n in _REQUIRED if n not in arrays]
    if missing:
        raise DataError(
            f"the file lacks {', '.join(missing)}", expected=", ".join(_REQUIRED), found=", ".join(arrays),
            where=str(path), hint=hint,
        )  # fmt: skip
    confidence = _confidence(arrays["confidence"], path)
    try:
        return Keypoints2D(
            keypoints=arrays["keypoints"],
            confidence=confidence,
            uncertainty=arrays.get("uncertainty", np.full(confidence.shape, np.nan, np.float32)),
            frames=arrays["frames"],
            cameras=tuple(np.atleast_1d(arrays["cameras"])),
            joint_names=tuple(np.atleast_1d(arrays["joint_names"])),
            fps=float(arrays["fps"]),
            appearance=arrays.get("appearance", np.zeros((*confidence.shape[:3], 0), np.float32)),
        )
    except DataError as error:
        raise DataError(error.problem, expected=error.expected, found=error.found,
                        where=f"{path}: {error.where}", hint=hint) from error  # fmt: skip
    except (TypeError, ValueError) as error:
        raise DataError("arrays of the wrong kind", found=str(error), where=str(path), hint=hint) from error


def _confidence(confidence: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    """Confidence without NaN and clipped to 1: heatmap peaks of real detectors go a little beyond."""
    clean = np.nan_to_num(confidence)
    if clean.size and not (clean.min() >= 0 and clean.max() <= _HIGHEST_PEAK):
        span = f"{clean.min():g} to {clean.max():g}"
        raise DataError("confidence out of range", expected="0..1", found=span, where=str(path))
    return np.minimum(clean, 1)


def write_keypoints(keypoints: Keypoints2D, path: Path) -> None:
    """Write a 2D keypoint file, whole or not at all; StorageError when it cannot be written."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {
            "keypoints": keypoints.keypoints,
            "confidence": keypoints.confidence,
            "uncertainty": keypoints.uncertainty,
            "cameras": np.array(keypoints.cameras),
            "joint_names": np.array(keypoints.joint_names),
            "frames": keypoints.frames,
            "fps": keypoints.fps,
        }
        if keypoints.appearance.shape[3]:
            arrays["appearance"] = keypoints.appearance
        np.savez_compressed(file, **arrays)
