"""Whether positions can be metres."""

from __future__ import annotations

import numpy as np

from mocap.errors import DataError
from mocap.metrics.poses import Poses3D


def check_unit(poses: Poses3D) -> None:
    """Refuse poses of another size than people's: between 0.1 and 10 m across.

    Raises
    ------
    DataError
        No poses, or another unit than metres.
    """
    known = np.asarray(np.isfinite(poses.positions).all(-1))
    clean = np.where(known[..., None], poses.positions, np.nan)[known.sum(-1) >= 2]
    if not len(clean):
        raise DataError("no poses in it", expected="positions of at least two joints", where=poses.origin or "poses")
    size = float(np.median(np.linalg.norm(np.nanmax(clean, -2) - np.nanmin(clean, -2), axis=-1)))
    if not 0.1 < size < 10:
        unit = "millimetres" if 100 < size < 10000 else "centimetres" if size >= 10 else "another unit"
        raise DataError(
            "positions are not in metres",
            expected="people about 1.7 m tall",
            found=f"poses {size:.4g} across: {unit}?",
            where=poses.origin or "poses",
            hint="convert positions to metres",
        )
