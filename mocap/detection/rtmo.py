"""RTMO from its ONNX file: everybody in a picture at once, boxes and joints together.

Source: P. Lu et al., "RTMO: Towards High-Performance One-Stage Real-Time Multi-Person Pose Estimation" (CVPR 2024).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mocap.detection.boxes import LETTERBOX_FILL, suppress
from mocap.detection.onnx_file import OnnxFile
from mocap.detection.peaks import Assembled
from mocap.metrics.keypoints2d import COCO_SIGMAS
from mocap.skeleton import COCO_17, Skeleton

_BOX_OVERLAP = 0.65
_LEAST_BOX = 0.3


class RTMO:
    """A `mocap.detection.slots.PictureNetwork` that runs an RTMO file with onnxruntime.

    Parameters
    ----------
    path : Path
    device : torch.device
    size : int
        Side of its input, px.
    add_command : str
        For messages.

    Raises
    ------
    DependencyError, WeightsError
        As `OnnxFile`.
    """

    skeleton: Skeleton = COCO_17

    def __init__(self, path: Path, device: torch.device, size: int, *, add_command: str) -> None:
        self.size = size
        self._file = OnnxFile(path, device, (1, 3, size, size), add_command=add_command)
        self._file.require([(1, None, 5), (1, None, len(COCO_17.joints), 3)])

    def __call__(self, frames: NDArray[np.uint8]) -> Assembled:
        """People in BGR frames [n, H, W, 3]; the uncertainty is what annotators of this joint differ by.

        The network says nothing of its own doubt.
        """
        scale = self.size / max(frames.shape[1:3])
        width, height = (max(1, round(n * scale)) for n in (frames.shape[2], frames.shape[1]))
        images = np.full((len(frames), self.size, self.size, 3), LETTERBOX_FILL, np.uint8)
        for image, frame in zip(images, frames, strict=True):
            image[:height, :width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        outputs = self._file.each(images.transpose(0, 3, 1, 2).astype(np.float32))
        people = [self._kept(boxes[0], joints[0]) for boxes, joints in outputs]
        most = max(1, *(len(p) for p in people))
        found = np.full((len(frames), most, len(COCO_17.joints), 4), np.nan)
        for row, some in zip(found, people, strict=True):
            row[: len(some)] = some
        points = (found[..., :2] + 0.5) / scale - 0.5
        return Assembled(points, np.nan_to_num(found[..., 2]), found[..., 3] / scale)

    @staticmethod
    def _kept(boxes: NDArray[np.float32], joints: NDArray[np.float32]) -> NDArray[np.float64]:
        """Points, score and uncertainty [m, 17, 4] of the people in a picture, best first, in its px."""
        good = boxes[:, 4] >= _LEAST_BOX
        some, points = np.asarray(boxes[good], np.float64), np.asarray(joints[good], np.float64)
        kept = suppress(some[:, :4], some[:, 4], _BOX_OVERLAP)
        area = (some[kept, 2:4] - some[kept, :2]).clip(1).prod(-1)
        sigma = np.sqrt(area)[:, None] * COCO_SIGMAS
        return np.concatenate([points[kept], sigma[..., None]], -1)
