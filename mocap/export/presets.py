"""What each program expects of a file: axes, unit, target skeleton, frame rate."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.export.settings import ExportFormat, ExportSettings, LengthUnit, Preset, Rig

_log = logging.getLogger(__name__)

Array = NDArray[np.float64]


class Axes(enum.Enum):
    """A file's axes. In the rest pose a person faces +z (Y_UP), -y (Z_UP) or +x (OPENSIM, y up)."""

    Y_UP = "y up"
    Z_UP = "z up"
    OPENSIM = "y up, x forward"

    @property
    def file_from_world(self) -> Array:
        """Rotation from our world (z up) to the file's axes: float64 [3, 3]."""
        return np.array(_ROTATIONS[self], np.float64)

    @property
    def up(self) -> str:
        """The letter of the axis that points up."""
        return "Z" if self is Axes.Z_UP else "Y"


_ROTATIONS = {
    Axes.Y_UP: [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    Axes.Z_UP: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    Axes.OPENSIM: [[0, -1, 0], [0, 0, 1], [-1, 0, 0]],
}

STANDARD_RATES: tuple[float, ...] = (
    24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 72, 90, 100, 120000 / 1001, 120, 240,
)  # fmt: skip
"""Frame rates that animation programs have a time mode for."""


@dataclass(frozen=True)
class Conventions:
    """What a file is written in.

    Attributes
    ----------
    axes : Axes
    unit : LengthUnit
        Of animations; positions in C3D and TRC are millimetres, in npz and CSV metres, always.
    rig : Rig
    standard_rate : bool
        Whether a rate that the program has no time mode for is brought to the next lower one it has.
    """

    axes: Axes = Axes.Y_UP
    unit: LengthUnit = LengthUnit.METRES
    rig: Rig = Rig.NATIVE
    standard_rate: bool = False


_CM = LengthUnit.CENTIMETRES

PRESETS: dict[Preset, Conventions] = {
    Preset.BLENDER: Conventions(),
    Preset.MAYA: Conventions(unit=_CM, rig=Rig.HUMANIK, standard_rate=True),
    Preset.MOTIONBUILDER: Conventions(unit=_CM, rig=Rig.HUMANIK, standard_rate=True),
    Preset.UNREAL: Conventions(axes=Axes.Z_UP, unit=_CM, rig=Rig.UNREAL, standard_rate=True),
    Preset.UNITY: Conventions(rig=Rig.UNITY, standard_rate=True),
    Preset.OPENSIM: Conventions(axes=Axes.OPENSIM),
    Preset.VISUAL3D: Conventions(axes=Axes.Z_UP),
}

_SAME_RATE = 1e-4


def conventions(settings: ExportSettings) -> Conventions:
    """The conventions of a file: what its format fixes, else what is set, else the preset's."""
    base = PRESETS[Preset(settings.preset)] if settings.preset else Conventions()
    axes, unit = base.axes, LengthUnit(settings.unit) if settings.unit else base.unit
    kind = settings.format
    if kind in (ExportFormat.BVH, ExportFormat.GLB):
        axes = Axes.Y_UP  # glTF 2.0, section 3.4; of BVH every importer's default
    elif kind is ExportFormat.TRC and not settings.preset:
        axes = Axes.OPENSIM
    elif kind is ExportFormat.C3D and not settings.preset:
        axes = Axes.Z_UP
    elif kind.animated and axes is Axes.OPENSIM:
        axes = Axes.Y_UP
    if kind is ExportFormat.GLB:
        unit = LengthUnit.METRES
    rig = Rig(settings.rig) if settings.rig else base.rig
    return Conventions(axes, unit, rig, base.standard_rate)


def frame_rate(settings: ExportSettings, fps: float) -> float:
    """The file's frame rate where it is not the take's; 0 where it is."""
    if settings.fps:
        return 0.0 if abs(settings.fps - fps) < _SAME_RATE * fps else settings.fps
    if not conventions(settings).standard_rate or not settings.format.animated:
        return 0.0
    if min(abs(fps - r) / r for r in STANDARD_RATES) < _SAME_RATE:
        return 0.0
    lower = [r for r in STANDARD_RATES if r < fps]
    rate = float(max(lower)) if lower else float(min(STANDARD_RATES))
    _log.warning(
        "%s has no time mode of %g frames per second: resampled to %g (another rate: --fps)",
        settings.preset, fps, rate,
    )  # fmt: skip
    return rate
