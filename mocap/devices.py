"""Which device the networks run on."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from mocap.errors import DependencyError

if TYPE_CHECKING:
    import torch


class DeviceChoice(enum.StrEnum):
    """What a user may ask for."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def resolve_device(choice: DeviceChoice) -> torch.device:
    """The torch device for a choice; AUTO takes the GPU when there is one.

    Raises
    ------
    DependencyError
        CUDA was asked for and is not there.
    """
    import torch

    if choice is DeviceChoice.CUDA and not torch.cuda.is_available():
        raise DependencyError(
            "no CUDA device is usable",
            found=f"torch {torch.__version__} without a GPU it can use",
            hint="use --device auto or cpu, or install the CUDA build of torch",
        )
    use_cuda = choice is DeviceChoice.CUDA or (choice is DeviceChoice.AUTO and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")
