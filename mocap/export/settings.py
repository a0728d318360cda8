"""What is exported and how."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mocap.errors import SettingsError
from mocap.skeleton import SKELETONS


class ExportFormat(enum.StrEnum):
    """Formats that can be written."""

    NPZ = "npz"
    CSV = "csv"
    BVH = "bvh"


class CsvLayout(enum.StrEnum):
    """LONG: one row per joint sample. WIDE: one row per frame and person."""

    LONG = "long"
    WIDE = "wide"


class LengthUnit(enum.StrEnum):
    """Unit of lengths in an animation file.

    METRES come in at the right size in Blender (its BVH import has scale 1 and a scene in metres);
    CENTIMETRES in Maya, MotionBuilder and Unreal.
    """

    METRES = "m"
    CENTIMETRES = "cm"

    @property
    def per_metre(self) -> float:
        """How many of the unit make a metre."""
        return 1.0 if self is LengthUnit.METRES else 100.0


@dataclass(frozen=True)
class ExportSettings:
    """What is exported and how."""

    format: ExportFormat = ExportFormat.NPZ
    """The file format."""
    skeleton: str = ""
    """Joint set of positions (npz, csv), e.g. h36m17; empty: the input's own."""
    person: int = -1
    """Id of the person to export; -1: everybody, or where a file holds one person the one seen most."""
    csv_layout: CsvLayout = CsvLayout.LONG
    """Rows of the CSV file."""
    bvh_unit: LengthUnit = LengthUnit.METRES
    """Unit of lengths in BVH."""

    def __post_init__(self) -> None:
        for name, kind in (("format", ExportFormat), ("csv_layout", CsvLayout), ("bvh_unit", LengthUnit)):
            value = getattr(self, name)
            if value not in list(kind):
                expected = " | ".join(kind)
                raise SettingsError("no such choice", expected=expected, found=f"{value}", where=f"export.{name}")
            object.__setattr__(self, name, kind(value))
        if self.skeleton and self.skeleton not in SKELETONS:
            expected = " | ".join(SKELETONS)
            raise SettingsError("no such skeleton", expected=expected, found=self.skeleton, where="export.skeleton")
