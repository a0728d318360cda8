"""How results are shown."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mocap.errors import SettingsError


class Colouring(enum.StrEnum):
    """What the colour of a joint says: whose it is, or how certain it is."""

    PERSON = "person"
    CERTAINTY = "certainty"


@dataclass(frozen=True)
class ViewSettings:
    """How a result is drawn, in a window or a file."""

    width: int = 1280
    """Of the picture, px; even."""
    height: int = 720
    """Of the picture, px; even."""
    view: str = ""
    """Name of the camera through whose eyes the scene is seen; empty: from an orbit."""
    azimuth_deg: float = 0.0
    """From where the picture is taken: 0 is in front of the first person, 90 to that person's left."""
    elevation_deg: float = 14.0
    """How far above the horizontal the picture is taken from."""
    orbit_deg: float = 40.0
    """How far a video swings round the people, to and fro; 0: from one place."""
    field_of_view_deg: float = 38.0
    """Vertical opening of the picture."""
    joint_radius_m: float = 0.026
    """Radius of a joint."""
    bone_radius_m: float = 0.014
    """Radius of a bone."""
    colour: Colouring = Colouring.PERSON
    """What colours say: person, or certainty (bright and yellow: within millimetres; dark and blue: decimetres)."""
    trail_s: float = 0.0
    """How much of the past the trails of wrists and ankles show, s; 0: none."""
    show_cameras: bool = True
    """Whether the cameras of the rig are drawn where they are in sight."""
    show_text: bool = True
    """Whether frame number, person ids and the key of the drawing are written on the picture."""

    def __post_init__(self) -> None:
        self._require("width", 64 <= self.width <= 7680 and self.width % 2 == 0, "even, 64 to 7680")
        self._require("height", 64 <= self.height <= 4320 and self.height % 2 == 0, "even, 64 to 4320")
        self._require("elevation_deg", -85 <= self.elevation_deg <= 85, "-85 to 85")
        self._require("field_of_view_deg", 5 <= self.field_of_view_deg <= 85, "5 to 85")
        for name in ("azimuth_deg", "orbit_deg"):
            self._require(name, abs(getattr(self, name)) <= 3600, "-3600 to 3600")
        for name in ("joint_radius_m", "bone_radius_m"):
            self._require(name, 0 < getattr(self, name) <= 1, "above 0, up to 1")
        self._require("trail_s", 0 <= self.trail_s <= 60, "0 to 60")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            found = str(getattr(self, name))
            raise SettingsError("a setting is out of range", expected=expected, found=found, where=f"view.{name}")
