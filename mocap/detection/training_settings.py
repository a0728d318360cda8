"""Settings of the training of detectors; importing this loads no network library."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mocap.errors import SettingsError


class TrainedNetwork(enum.StrEnum):
    """Networks that can be trained."""

    SMALL = "small"
    """A small network of our own for crops of 96x128 px: trains on a CPU."""
    HRNET_W32 = "hrnet_w32"
    HRNET_W48 = "hrnet_w48"
    HIGHERHRNET_W32 = "higherhrnet_w32"
    HIGHERHRNET_W48 = "higherhrnet_w48"
    OPENPOSE = "openpose"


WHOLE_PICTURE = (TrainedNetwork.HIGHERHRNET_W32, TrainedNetwork.HIGHERHRNET_W48, TrainedNetwork.OPENPOSE)
"""Networks that see everybody in a picture at once; the others see one crop per person."""


@dataclass(frozen=True)
class DetectorTraining:
    """How a detector is trained."""

    network: TrainedNetwork = TrainedNetwork.SMALL
    """small, hrnet_w32, hrnet_w48: one person per crop; higherhrnet_w32, higherhrnet_w48, openpose: whole pictures."""
    steps: int = 20000
    """Batches to see."""
    batch: int = 32
    """Crops or pictures per batch."""
    learning_rate: float = 1e-3
    """Highest of the schedule: up for 3 % of the steps, then half a cosine down to 0."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    sigma: float = 0.0
    """Standard deviation of the peaks to be drawn, cells; 0: as the network's authors had it."""
    coordinate_weight: float = 0.0
    """Share of the loss on the coordinates themselves (soft-argmax), next to that on the heatmaps."""
    rotation_degrees: float = 30.0
    """Crops are turned by up to this either way."""
    scale: float = 0.3
    """Crops are larger or smaller by up to this share."""
    shift: float = 0.08
    """Crops are moved by up to this share of their side."""
    colour: float = 0.2
    """Each colour's gain varies by up to this share."""
    flip: bool = True
    """Every second picture is mirrored."""
    validation_share: float = 0.1
    """Share of the pictures that is not trained on but scored."""
    evaluate_every: int = 500
    """Steps between scores; a checkpoint is written with each."""
    seed: int = 0
    """Of the first weights, the crops and their order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", TrainedNetwork(self.network))
        for name, low, high in (
            ("steps", 1, 1e8), ("batch", 1, 4096), ("learning_rate", 1e-8, 1), ("weight_decay", 0, 1),
            ("sigma", 0, 20), ("coordinate_weight", 0, 100), ("rotation_degrees", 0, 180), ("scale", 0, 0.9),
            ("shift", 0, 0.5), ("colour", 0, 0.9), ("validation_share", 0.01, 0.9), ("evaluate_every", 1, 1e8),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise SettingsError(
                    f"{name} is out of range", expected=f"{low:g} to {high:g}", found=f"{getattr(self, name):g}",
                    where=f"train-detector.{name}",
                )  # fmt: skip
