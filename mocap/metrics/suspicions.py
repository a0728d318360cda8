"""What makes one doubt that two files speak of the same thing: sizes, worlds, rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.metrics.pairing import align_take
from mocap.metrics.poses import Poses3D
from mocap.metrics.position_error import joint_errors, pa_joint_errors
from mocap.metrics.settings import Alignment, EvaluationSettings

Array = NDArray[np.float64]

# Metres per unit of length, where not metres.
_UNITS = {"feet": 0.3048, "inches": 0.0254, "centimetres": 0.01, "decimetres": 0.1, "millimetres": 0.001}

# A unit is meant when sizes differ by it within this part, and the shapes agree to this part of the size.
_NEAR, _ALIKE = 0.08, 0.15

# Sizes farther apart than this, worlds that differ by more than this (m), are worth a word.
_SIZE, _WORLD_M, _WORLD_RATIO = 1.25, 0.1, 3.0


def check_sizes(matched: Array, actual: Array, prediction: Poses3D, alignment: Alignment) -> None:
    """Refuse poses [T, A, J, 3] of the truth's shape but another unit's size; a similarity takes sizes off anyway.

    Raises
    ------
    DataError
        Sizes that differ by the ratio of two units of length.
    """
    scale, size = _scale(matched, actual)
    if alignment is Alignment.SIMILARITY or not np.isfinite(scale):
        return
    misfit = np.nanmedian(pa_joint_errors(matched, actual)) / size
    for unit, metres in _UNITS.items():
        for factor, what in ((metres, f"{unit} where the truth has metres"), (1 / metres, f"metres, the truth {unit}")):
            if abs(np.log(scale / factor)) < _NEAR and misfit < _ALIKE:
                raise DataError(
                    "result and ground truth differ in their unit of length", expected="both in metres",
                    found=f"poses {1 / scale:.3g} times as large as the truth's: {what}?",
                    where=prediction.origin or "prediction", hint="convert one of them, or use --align similarity",
                )  # fmt: skip


def notes_on(
    prediction: Poses3D, truth: Poses3D, matched: Array, actual: Array, settings: EvaluationSettings
) -> tuple[str, ...]:
    """Sentences about what was compared; empty where nothing is odd."""
    notes = []
    unknown = [p.origin or what for p, what in ((prediction, "the result"), (truth, "the truth"))
               if not np.isfinite(p.fps)]  # fmt: skip
    if unknown:
        notes.append(f"{' and '.join(unknown)} does not state a frame rate: frames are paired by number alone")
    scale, _ = _scale(matched, actual)
    if np.isfinite(scale) and not 1 / _SIZE < scale < _SIZE and settings.alignment is not Alignment.SIMILARITY:
        notes.append(f"the result's poses are {1 / scale:.2f} times as large as the truth's")
    if settings.alignment is Alignment.NONE:
        notes += _another_world(matched, actual)
    else:
        notes.append(f"one {settings.alignment} transform of the whole take was taken off first")
    return tuple(notes)


def _another_world(matched: Array, actual: Array) -> list[str]:
    errors = joint_errors(matched, actual)
    if np.isfinite(errors).sum() < 3:
        return []
    before = float(np.nanmean(errors))
    after = float(np.nanmean(joint_errors(align_take(matched, actual, Alignment.RIGID), actual)))
    if before < _WORLD_M or before < _WORLD_RATIO * after:
        return []
    return [f"one rotation and shift of the whole take would bring {1000 * before:.0f} mm to {1000 * after:.0f} mm: "
            "do the worlds differ? --align rigid takes it off"]  # fmt: skip


def _scale(matched: Array, actual: Array) -> tuple[float, float]:
    """Median over poses of the truth's size / the prediction's, and of the truth's size, m; NaN: nothing in common.

    The size of a pose is the root mean square distance of its joints from their middle.
    """
    X, Y = (a.reshape(-1, *a.shape[-2:]) for a in (matched, actual))
    valid = np.asarray(np.isfinite(X).all(-1) & np.isfinite(Y).all(-1))
    some = np.flatnonzero(valid.sum(-1) >= 3)
    if not len(some):
        return float("nan"), float("nan")
    sizes = []
    for poses in (np.where(valid[some][..., None], a[some], np.nan) for a in (X, Y)):
        away = poses - np.nanmean(poses, -2, keepdims=True)
        sizes.append(np.sqrt(np.nanmean((away**2).sum(-1), -1)))
    return float(np.median(sizes[1] / np.maximum(sizes[0], 1e-12))), float(np.median(sizes[1]))
