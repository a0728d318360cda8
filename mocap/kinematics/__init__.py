"""From joint positions to a skeleton with constant bones, rotations and root motion.

`settings` imports no SciPy; the rest is loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mocap.kinematics.settings import SolveSettings

if TYPE_CHECKING:
    from mocap.kinematics.forward import joint_positions, joint_rotations
    from mocap.kinematics.stage import fit_error, solve_motion

__all__ = ["SolveSettings", "fit_error", "joint_positions", "joint_rotations", "solve_motion"]

_HOMES = {"joint_positions": "forward", "joint_rotations": "forward", "fit_error": "stage", "solve_motion": "stage"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
