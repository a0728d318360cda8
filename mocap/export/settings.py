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
    GLB = "glb"
    FBX = "fbx"
    USD = "usd"
    C3D = "c3d"
    TRC = "trc"

    @property
    def animated(self) -> bool:
        """Whether the file holds a skeleton's motion (else joint positions)."""
        return self in (ExportFormat.BVH, ExportFormat.GLB, ExportFormat.FBX, ExportFormat.USD)


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


class Rig(enum.StrEnum):
    """Target skeletons: names, hierarchy and bone axes that programs know."""

    NATIVE = "native"
    HUMANIK = "humanik"
    MIXAMO = "mixamo"
    UNREAL = "unreal"
    UNITY = "unity"


class Preset(enum.StrEnum):
    """Programs that a file can be made for."""

    BLENDER = "blender"
    MAYA = "maya"
    MOTIONBUILDER = "motionbuilder"
    UNREAL = "unreal"
    UNITY = "unity"
    OPENSIM = "opensim"
    VISUAL3D = "visual3d"


@dataclass(frozen=True)
class ExportSettings:
    """What is exported and how. An empty text leaves the choice to the preset, else to the format."""

    format: ExportFormat = ExportFormat.NPZ
    """The file format."""
    preset: str = ""
    """The program the file is for: blender | maya | motionbuilder | unreal | unity | opensim | visual3d."""
    rig: str = ""
    """Target skeleton of animations: native | humanik | mixamo | unreal | unity."""
    skeleton: str = ""
    """Joint set of positions (npz, csv, c3d, trc), e.g. h36m17; empty: the input's own."""
    person: int = -1
    """Id of the person to export; -1: everybody (see `one_scene`)."""
    one_scene: bool = False
    """Everybody in one file (glb, fbx, usd) instead of one file per person."""
    fps: float = 0.0
    """Frame rate of the file; 0: that of the take, or the preset's."""
    trim_unreliable: bool = False
    """Whether head and tail of the take, where most of the body is not measured, are cut off."""
    csv_layout: CsvLayout = CsvLayout.LONG
    """Rows of the CSV file."""
    unit: str = ""
    """Unit of lengths in bvh, fbx and usd: m | cm."""

    def __post_init__(self) -> None:
        required = (("format", ExportFormat), ("csv_layout", CsvLayout))
        for name, kind in (*required, ("preset", Preset), ("rig", Rig), ("unit", LengthUnit)):
            value = getattr(self, name)
            if not value and (name, kind) not in required:
                continue
            if value not in list(kind):
                expected = " | ".join(kind)
                raise SettingsError("no such choice", expected=expected, found=f"{value}", where=f"export.{name}")
            object.__setattr__(self, name, kind(value))
        if self.skeleton and self.skeleton not in SKELETONS:
            expected = " | ".join(SKELETONS)
            raise SettingsError("no such skeleton", expected=expected, found=self.skeleton, where="export.skeleton")
        if not 0 <= self.fps < float("inf"):
            raise SettingsError("out of range", expected="frames per second", found=f"{self.fps}", where="export.fps")
