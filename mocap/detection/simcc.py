"""RTMPose from its ONNX file: joints as maxima along x and along y.

Sources: Y. Li et al., SimCC: a Simple Coordinate Classification Perspective (ECCV 2022); T. Jiang et al.,
RTMPose (2023), whose published files take RGB crops normalised by ImageNet's mean and deviation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mocap.detection.heatmap_pose import IMAGENET_MEAN, IMAGENET_STD
from mocap.detection.topdown import CropPoints
from mocap.errors import DependencyError, WeightsError
from mocap.skeleton import Skeleton

Floats = NDArray[np.float32]

_BINS_PER_PIXEL = 2
# Of a Gaussian: full width at half maximum over standard deviation.
_FWHM = 2.3548
# Width of the labels RTMPose is trained on, bins per 256 px of crop; no peak can tell more than a quarter of it.
_LABEL_SIGMA = 5.66
_LEAST_SIGMA = 0.25


def decode_simcc(
    x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Joints from classifications along the axes.

    Parameters
    ----------
    x, y : float [n, J, bins]
        Two bins per crop pixel.

    Returns
    -------
    points : float32 [n, J, 2]
        Crop px.
    score : float32 [n, J]
        The lesser of the two maxima.
    spread : float32 [n, J]
        Standard deviation of the wider of the two peaks, crop px, by its width at half of its height.
    """
    both = [np.asarray(a, dtype=np.float32) for a in (x, y)]
    top = [a.max(-1) for a in both]
    points = (np.stack([a.argmax(-1) for a in both], -1) / _BINS_PER_PIXEL).astype(np.float32)
    width = [(a >= m[..., None] / 2).sum(-1) for a, m in zip(both, top, strict=True)]
    spread = np.maximum(width[0], width[1]) / (_FWHM * _BINS_PER_PIXEL)
    return points, np.minimum(top[0], top[1]), spread.astype(np.float32)


class SimCCPose:
    """A `CropNetwork` that runs an RTMPose file with onnxruntime.

    Parameters
    ----------
    path : Path
        The ONNX file.
    device : torch.device
    crop_size : (int, int)
        Width and height it was made for, px.
    skeleton : Skeleton
    add_command : str
        The command that puts the right file in place, for messages.

    Raises
    ------
    DependencyError
        onnxruntime is not installed.
    WeightsError
        Not an ONNX network, or one with other inputs and outputs.
    """

    def __init__(
        self, path: Path, device: torch.device, crop_size: tuple[int, int], skeleton: Skeleton, *, add_command: str
    ) -> None:
        self.crop_size, self.skeleton = crop_size, skeleton
        self._session = _open(path, device, add_command)
        self._check(path, add_command)
        self._input = self._session.get_inputs()[0].name
        self._mean = np.array(IMAGENET_MEAN, np.float32) * 255
        self._std = np.array(IMAGENET_STD, np.float32) * 255

    def __call__(self, images: NDArray[np.uint8]) -> CropPoints:
        """Joints in crops [n, H, W, 3], RGB."""
        values = ((images.astype(np.float32) - self._mean) / self._std).transpose(0, 3, 1, 2)
        x, y = self._session.run(None, {self._input: np.ascontiguousarray(values)})
        points, score, spread = decode_simcc(x, y)
        trained = _LABEL_SIGMA / _BINS_PER_PIXEL * self.crop_size[1] / 256
        sigma = np.sqrt(np.maximum(spread**2 - trained**2, 0) + (_LEAST_SIGMA * trained) ** 2)
        return CropPoints(*(torch.from_numpy(a) for a in (points, score, sigma)))

    def _check(self, path: Path, add_command: str) -> None:
        width, height = self.crop_size
        joints = len(self.skeleton.joints)
        wanted = [[1, 3, height, width], *([1, joints, n * _BINS_PER_PIXEL] for n in (width, height))]
        ends = [*self._session.get_inputs(), *self._session.get_outputs()]
        fits = len(ends) == len(wanted) and all(_fits(e.shape, w) for e, w in zip(ends, wanted, strict=True))
        if fits:
            # Files may name their lengths instead of saying them: only a run tells.
            results = self._session.run(None, {ends[0].name: np.zeros(wanted[0], np.float32)})
            fits = [list(r.shape) for r in results] == wanted[1:]
        if not fits:
            raise WeightsError(
                "the file is of another network", expected=f"one input and two outputs of shapes {wanted}",
                found=", ".join(f"{end.name} {end.shape}" for end in ends), where=str(path), hint=add_command,
            )  # fmt: skip


def _fits(shape: list[int | str | None], wanted: list[int]) -> bool:
    """Whether a shape, some of whose lengths may be free, can be the wanted one."""
    return len(shape) == len(wanted) and all(
        a == b or not isinstance(a, int) for a, b in zip(shape, wanted, strict=True)
    )


def _open(path: Path, device: torch.device, add_command: str):  # type: ignore[no-untyped-def]
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
