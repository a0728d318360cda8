"""Settings of the lifting stage, its network and its training; nothing heavy is imported here."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mocap.devices import DeviceChoice
from mocap.errors import SettingsError


class Architecture(enum.StrEnum):
    """Which network: a strided temporal convolution, or Martinez' single-frame residual net."""

    TEMPORAL = "temporal"
    MARTINEZ = "martinez"


def _check(stage: str, field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(
            f"{field} is out of range",
            expected=f"{low:g} to {high:g}", found=f"{value:g}", where=f"{stage}.{field}",
        )  # fmt: skip


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of a lifting network; stored with its weights."""

    architecture: Architecture = Architecture.TEMPORAL
    """temporal or martinez."""
    window: int = 27
    """Frames the network reads (temporal: 27; martinez: 1)."""
    width: int = 512
    """Features per layer."""
    blocks: int = 2
    """Residual blocks behind the temporal part."""
    dropout: float = 0.1
    """Share of features dropped while training."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", Architecture(self.architecture))
        wanted = 27 if self.architecture is Architecture.TEMPORAL else 1
        _check("network", "window", self.window, wanted, wanted)
        _check("network", "width", self.width, 16, 4096)
        _check("network", "blocks", self.blocks, 0, 16)
        _check("network", "dropout", self.dropout, 0, 0.9)


@dataclass(frozen=True)
class TrainingSettings:
    """How LiftNet is trained."""

    architecture: Architecture = Architecture.TEMPORAL
    """temporal or martinez."""
    width: int = 320
    """Features per layer."""
    blocks: int = 2
    """Residual blocks behind the temporal part."""
    dropout: float = 0.0
    """Share of features dropped; worth it only when training goes on for many hours."""
    steps: int = 60_000
    """Optimiser steps."""
    batch: int = 512
    """Windows per step: half of them drawn, half their mirror images."""
    learning_rate: float = 1e-3
    """Peak of the cosine schedule (AdamW)."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay."""
    average: float = 0.999
    """Decay per step of the running mean of the weights that is evaluated and kept."""
    seed: int = 0
    """Seed of initialisation and of every random draw."""
    validation_subjects: str = "05 07 127"
    """Subjects kept for validation, separated by spaces: dance, walking, running and jumping."""
    real_cameras: float = 0.75
    """Share of windows seen by real cameras, when camera parameters are given."""
    mix: float = 0.25
    """Share of windows whose upper body, and of those of which each arm, comes from another recording."""
    perturb: float = 0.5
    """Share of windows whose limbs and whole body are turned by small angles."""
    evaluate_every: int = 1000
    """Steps between evaluations, log lines and checkpoints."""
    minutes: float = 0.0
    """Wall-clock limit; the schedule is fitted to it. 0: none (then runs repeat exactly)."""
    device: DeviceChoice = DeviceChoice.AUTO
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", Architecture(self.architecture))
        object.__setattr__(self, "device", DeviceChoice(self.device))
        for field, low, high in (
            ("steps", 1, 1e9), ("batch", 4, 1e6), ("learning_rate", 1e-8, 1), ("weight_decay", 0, 1),
            ("average", 0, 1), ("real_cameras", 0, 1), ("mix", 0, 1), ("perturb", 0, 1), ("evaluate_every", 1, 1e9),
            ("minutes", 0, 1e6),
        ):  # fmt: skip
            _check("training", field, getattr(self, field), low, high)

    @property
    def network(self) -> NetworkSettings:
        """The network these settings train."""
        window = 27 if self.architecture is Architecture.TEMPORAL else 1
        return NetworkSettings(self.architecture, window, self.width, self.blocks, self.dropout)


@dataclass(frozen=True)
class LiftingSettings:
    """The fallback that fills what too few views saw."""

    enabled: bool = True
    """Whether missing joints are lifted at all."""
    max_std: float = 0.25
    """Largest standard deviation (m) per joint, relative to the pelvis, that is still accepted."""
    worse_than: float = 3.0
    """A triangulated joint counts as missing when its standard deviation is more than this many times
    LiftNet's; large values keep every triangulation."""
    min_joints: int = 6
    """Fewest H36M-17 joints seen in the middle frame of a view for it to be lifted."""
    min_confidence: float = 0.2
    """2D joints below this confidence count as not seen."""
    stature: float = 1.70
    """Body height (m) assumed when the person's own bones were never measured."""
    max_gap: int = 2
    """Missing frame numbers after which the recording counts as parted; nothing reaches across."""
    batch: int = 4096
    """Windows given to the network at once."""
    device: DeviceChoice = DeviceChoice.AUTO
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", DeviceChoice(self.device))
        for field, low, high in (
            ("max_std", 0, 10), ("worse_than", 1, 1e9), ("min_joints", 3, 17), ("min_confidence", 0, 1),
            ("stature", 0.5, 2.5), ("max_gap", 0, 1e6), ("batch", 1, 1e6),
        ):  # fmt: skip
            _check("lift", field, getattr(self, field), low, high)
