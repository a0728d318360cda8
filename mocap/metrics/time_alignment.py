"""Frame numbers that count from different starts: the shift at which two takes fit best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.metrics.correspondence import common_rows
from mocap.metrics.pairing import align_take, matched_persons
from mocap.metrics.poses import Poses3D
from mocap.metrics.position_error import joint_errors
from mocap.metrics.settings import EvaluationSettings

Array = NDArray[np.float64]

# A shift that leaves less in common than this part of what the best covered one has is no candidate.
_LEAST_COMMON = 0.5


def best_offset(prediction: Poses3D, truth: Poses3D, mapped: Array, target: Array, settings: EvaluationSettings) -> int:
    """Frames to add to the prediction's numbers, within `search_offset` of `frame_offset`, for the least mean error.

    The error is the absolute one after the transform of the take that the settings ask for; of equally good
    shifts the smallest. Shifts that leave less than half of the frames in common do not count, so
    that nothing is gained by comparing a few still frames.

    Parameters
    ----------
    mapped, target : [T, P, J, 3], metres
        Positions of prediction and truth on the joints compared.

    Raises
    ------
    DataError
        No shift brings frames together.
    """
    tried = sorted(range(-settings.search_offset, settings.search_offset + 1), key=abs)
    found: list[tuple[int, int, float]] = []
    for shift in (settings.frame_offset + s for s in tried):
        try:
            rows_p, rows_t = common_rows(replace(prediction, fps=float("nan")), truth, shift)
        except DataError:
            continue
        actual = target[rows_t]
        matched, _ = matched_persons(mapped[rows_p], actual, settings.association)
        errors = joint_errors(align_take(matched, actual, settings.alignment), actual)
        known = errors[np.isfinite(errors)]
        if len(known):
            found.append((shift, len(known), float(known.mean())))
    if not found:
        raise DataError(
            "no shift brings frames of result and ground truth together",
            expected=f"common frames within {settings.search_offset} frames", found="none",
            where=prediction.origin or "prediction",
        )  # fmt: skip
    most = max(n for _, n, _ in found)
    return min((f for f in found if f[1] >= _LEAST_COMMON * most), key=lambda f: f[2])[0]
