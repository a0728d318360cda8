"""Scores of calibrations against a known one, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.score import Rows, aligned_text, millimetres, rounded, short_name
from mocap.metrics import RigError, rig_error


def score_rigs(paths: Sequence[Path], truth: Path, align: str) -> dict[str, RigError]:
    """Calibrations against a known one, up to the choice of the world (and of the scale with align = similarity).

    Raises
    ------
    MocapError
        Files that are no rigs, or cameras that are missing.
    """
    from calibration.formats import read_rig

    known = read_rig(truth)
    return {str(p): rig_error(read_rig(p), known, fit_scale=align == "similarity") for p in paths}


def describe_rigs(results: Mapping[str, RigError]) -> str:
    """Rotation, place and focal length of each camera, as text."""
    parts = []
    for name, e in results.items():
        rows: Rows = [(short_name(name, results), "rotation degrees", "centre mm", "focal length %")]
        columns = (np.degrees(e.rotation), 1000 * e.centre, 100 * e.focal)
        rows += [(c, *(f"{v[i]:.3f}" for v in columns)) for i, c in enumerate(e.cameras)]
        rows.append(("root mean square", *(f"{np.sqrt(np.mean(v**2)):.3f}" for v in columns)))
        parts.append(f"{aligned_text(rows)}\nscale {e.scale:.5f}")
    return "\n\n".join(parts)


def rigs_json(results: Mapping[str, RigError]) -> dict[str, dict[str, Any]]:
    """Errors of each camera; degrees, millimetres, shares."""
    return {
        name: {
            "scale": rounded(e.scale, 6),
            "cameras": {
                c: {"rotation_degrees": rounded(np.degrees(e.rotation[i]), 5), "centre_mm": millimetres(e.centre[i]),
                    "focal": rounded(e.focal[i], 6)}
                for i, c in enumerate(e.cameras)
            },
        }
        for name, e in results.items()
    }  # fmt: skip
