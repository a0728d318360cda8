"""Making networks faster where the hardware allows: half precision, compiled graphs, pinned memory.

With the default settings on a CPU nothing is changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mocap.detection.settings import DetectionSettings, Precision

_TYPES = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}


class MixedPrecision(nn.Module):
    """A network under autocast, whose outputs are float32 again.

    Parameters
    ----------
    network : nn.Module
    precision : Precision
    device : torch.device
    """

    def __init__(self, network: nn.Module, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.network, self.kind, self.numbers = network, device.type, _TYPES[precision]

    def forward(self, images: torch.Tensor) -> Any:
        """What the network gives, as float32."""
        with torch.autocast(self.kind, self.numbers):
            outputs = self.network(images)
        return outputs.float() if isinstance(outputs, torch.Tensor) else tuple(o.float() for o in outputs)


def accelerated(network: nn.Module, settings: DetectionSettings, device: torch.device) -> nn.Module:
    """The network as `precision` and `compile` ask; itself where they ask for nothing.

    On a GPU convolutions run in channels-last memory: weights here, pictures where they are made.
    """
    if device.type == "cuda":
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.compile:
        # Batches differ in size: one graph for all.
        network = torch.compile(network, dynamic=True)  # type: ignore[assignment]
    if settings.precision is not Precision.FLOAT32:
        network = MixedPrecision(network, settings.precision, device)
    return network


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device; to a GPU from pinned memory, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
