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
from mocap.detection.onnx_file import OnnxFile
from mocap.detection.topdown import CropPoints
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
        width, height = crop_size
        self._file = OnnxFile(path, device, (1, 3, height, width), add_command=add_command)
        self._file.require([(1, len(skeleton.joints), n * _BINS_PER_PIXEL) for n in crop_size])
        self._mean = np.array(IMAGENET_MEAN, np.float32) * 255
        self._std = np.array(IMAGENET_STD, np.float32) * 255

    def __call__(self, images: NDArray[np.uint8]) -> CropPoints:
        """Joints in crops [n, H, W, 3], RGB."""
        values = ((images.astype(np.float32) - self._mean) / self._std).transpose(0, 3, 1, 2)
        x, y = self._file(values)
        points, score, spread = decode_simcc(x, y)
        trained = _LABEL_SIGMA / _BINS_PER_PIXEL * self.crop_size[1] / 256
        sigma = np.sqrt(np.maximum(spread**2 - trained**2, 0) + (_LEAST_SIGMA * trained) ** 2)
        return CropPoints(*(torch.from_numpy(a) for a in (points, score, sigma)))
