"""Smooth trajectories from noisy 3D joints: outliers removed, short gaps filled and flagged.

`settings` imports no SciPy; the rest is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mocap.filtering.settings import FilterMethod, FilterSettings

if TYPE_CHECKING:
    from mocap.filtering.fixed_lag import FixedLagSmoother, LiveFrame
    from mocap.filtering.stage import filter_trajectories

__all__ = ["FilterMethod", "FilterSettings", "FixedLagSmoother", "LiveFrame", "filter_trajectories"]


def __getattr__(name: str) -> Any:
    if name == "filter_trajectories":
        from mocap.filtering.stage import filter_trajectories

        return filter_trajectories
    if name in ("FixedLagSmoother", "LiveFrame"):
        from mocap.filtering import fixed_lag

        return getattr(fixed_lag, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
