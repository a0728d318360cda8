"""2D people of several views to identities over views and time, with left/right flips repaired.

`settings` imports neither torch nor numba; the rest is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mocap.matching.settings import MatchingSettings

if TYPE_CHECKING:
    from mocap.matching.match import match_people

__all__ = ["MatchingSettings", "match_people"]


def __getattr__(name: str) -> Any:
    if name == "match_people":
        from mocap.matching.match import match_people

        return match_people
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
