"""2D people of several calibrated views to 3D joints, with covariance and consistency.

`settings` imports neither torch nor numba; the rest is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mocap.triangulation.settings import TriangulationSettings

if TYPE_CHECKING:
    from mocap.triangulation.estimate import triangulate

__all__ = ["TriangulationSettings", "triangulate"]


def __getattr__(name: str) -> Any:
    if name == "triangulate":
        from mocap.triangulation.estimate import triangulate

        return triangulate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
