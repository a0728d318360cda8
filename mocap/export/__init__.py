"""Results in the files that other programs open.

`settings` imports no SciPy; the rest is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mocap.export.settings import CsvLayout, ExportFormat, ExportSettings, LengthUnit, Preset, Rig

if TYPE_CHECKING:
    from mocap.export.dispatch import export_files, export_result

__all__ = [
    "CsvLayout", "ExportFormat", "ExportSettings", "LengthUnit", "Preset", "Rig", "export_files", "export_result",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("export_files", "export_result"):
        from mocap.export import dispatch

        return getattr(dispatch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
