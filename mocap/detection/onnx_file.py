"""ONNX files run by onnxruntime, and whether they are what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mocap.errors import DependencyError, WeightsError

Floats = NDArray[np.float32]


class OnnxFile:
    """A network of one input, from a file.

    Parameters
    ----------
    path : Path
    device : torch.device
    shape : sequence of int
        Of the input, with a batch of one.
    add_command : str
        The command that puts the right file in place, for messages.

    Raises
    ------
    DependencyError
        onnxruntime is not installed.
    WeightsError
        Not an ONNX network, or one with another input.
    """

    def __init__(self, path: Path, device: torch.device, shape: Sequence[int], *, add_command: str) -> None:
        self.path, self.add_command = path, add_command
        self._session = _open(path, device, add_command)
        self._input = self._session.get_inputs()[0]
        self._require(len(self._session.get_inputs()) == 1 and _fits(self._input.shape, list(shape)), [list(shape)])
        # Files may name their lengths instead of saying them: only a run tells.
        self.example = self(np.zeros(shape, np.float32))

    def __call__(self, images: Floats) -> list[Floats]:
        """All outputs for a batch."""
        return [np.asarray(r) for r in self._session.run(None, {self._input.name: np.ascontiguousarray(images)})]

    def each(self, images: Floats) -> list[list[Floats]]:
        """The outputs for every image: some files take one at a time, or give as many boxes as there happen to be."""
        return [self(image[None]) for image in images]

    def require(self, wanted: Sequence[Sequence[int | None]]) -> None:
        """Refuse a file whose outputs are not of these shapes; None stands for any length.

        Raises
        ------
        WeightsError
        """
        found = [r.shape for r in self.example]
        fits = len(found) == len(wanted) and all(
            len(f) == len(w) and all(b in (None, a) for a, b in zip(f, w, strict=True))
            for f, w in zip(found, wanted, strict=True)
        )
        self._require(fits, [list(w) for w in wanted])

    def _require(self, fits: bool, wanted: list[list[Any]]) -> None:
        if fits:
            return
        ends = [*self._session.get_inputs(), *self._session.get_outputs()]
        raise WeightsError(
            "the file is of another network", expected=f"shapes {wanted}",
            found=", ".join(f"{end.name} {end.shape}" for end in ends), where=str(self.path), hint=self.add_command,
        )  # fmt: skip


def _fits(shape: list[int | str | None], wanted: list[int]) -> bool:
    """Whether a shape, some of whose lengths may be free, can be the wanted one."""
    return len(shape) == len(wanted) and all(
        a == b or not isinstance(a, int) for a, b in zip(shape, wanted, strict=True)
    )


def _open(path: Path, device: torch.device, add_command: str) -> Any:
    """An onnxruntime session for the file."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise DependencyError(
            "ONNX networks need onnxruntime, which is not installed", found=str(error),
            hint="pip install 'mocap[onnxruntime]'",
        ) from error  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    providers = [p for p in wanted if p in onnxruntime.get_available_providers()] + ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except (state.InvalidProtobuf, state.InvalidGraph, state.Fail, state.NotImplemented, state.NoSuchFile) as error:
        raise WeightsError(
            "not an ONNX network that can be run", found=str(error).splitlines()[0], where=str(path), hint=add_command
        ) from error
