"""Finding people as boxes: YOLOX from ONNX files and RT-DETR through transformers, as finders for top-down networks.

Sources: Z. Ge et al., "YOLOX: Exceeding YOLO Series in 2021"; Y. Zhao et al., "DETRs Beat YOLOs on Real-time Object
Detection" (CVPR 2024).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mocap.detection import regions as rg
from mocap.detection.acceleration import to_device
from mocap.detection.onnx_file import OnnxFile
from mocap.detection.transformers_folder import load_folder
from mocap.errors import WeightsError

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]

LETTERBOX_FILL = 114
_STRIDES = (8, 16, 32)
_BOX_OVERLAP = 0.45
_BOX_MARGIN = 1.25
_ASPECT = 3 / 4
_PERSON = 0
_COCO_CLASSES = 80
# A box that ends here, and not at the picture's own edge, shows a part of somebody: another window has the rest.
_CUT_OFF = 0.01


class BoxNetwork(Protocol):
    """A network that draws boxes round people in square pictures."""

    size: int
    """Side of the pictures, px."""
    fill: int
    """Grey outside of the picture."""

    def __call__(self, crops: Images, min_score: float) -> list[tuple[Floats, Floats]]:
        """Boxes [m, 4] (left, top, right, bottom; crop px from its corner) and scores [m], for each BGR crop."""


class BoxFinder:
    """A `mocap.detection.topdown.Finder` from a network that draws boxes.

    Parameters
    ----------
    network : BoxNetwork
    """

    def __init__(self, network: BoxNetwork) -> None:
        self.network = network

    def find(self, frame: Images, windows: Floats, min_score: float) -> tuple[Floats, Floats]:
        """Upright square regions [m, 4] of people in windows [n, 4] of a BGR image, and scores [m], best first."""
        size = self.network.size
        crops = np.stack([rg.crop(frame, w, size, fill=self.network.fill) for w in windows])
        boxes, scores = [], []
        for window, (found, score) in zip(windows, self.network(crops, min_score), strict=True):
            affine = rg.image_from_crop(window, size)
            raw = rg.apply(affine, found.reshape(-1, 2, 2) - 0.5).reshape(-1, 4)
            whole = ~_cut_off(found, raw, size, frame.shape, window[2] / size)
            boxes.append(raw[whole])
            scores.append(score[whole])
        every, certain = np.concatenate(boxes), np.concatenate(scores)
        kept = suppress(every, certain, _BOX_OVERLAP)
        return box_regions(every[kept]), certain[kept]


def _cut_off(boxes: Floats, raw: Floats, size: int, shape: tuple[int, ...], scale: float) -> NDArray[np.bool_]:
    """Boxes that end at the window's edge inside the picture; `scale` is picture px per crop px."""
    edge = _CUT_OFF * size
    near = np.column_stack([boxes[:, :2] < edge, boxes[:, 2:] > size - edge])
    margin = edge * scale
    inside = np.column_stack(
        [raw[:, :2] > margin, raw[:, 2] < shape[1] - 1 - margin, raw[:, 3] < shape[0] - 1 - margin]
    )
    return np.asarray((near & inside).any(1))


def box_regions(boxes: Floats) -> Floats:
    """Upright square regions [m, 4] round boxes [m, 4], 1.25 times as large, as pose networks are trained."""
    extent = boxes[:, 2:] - boxes[:, :2]
    size = np.maximum(extent[:, 1], extent[:, 0] / _ASPECT) * _BOX_MARGIN
    return np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, size, np.zeros(len(boxes))])


def suppress(boxes: Floats, scores: Floats, overlap: float) -> NDArray[np.int64]:
    """Which boxes stay, best first, when of two that overlap by more (intersection over union) the better stays."""
    order = np.argsort(-scores, kind="stable")
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    alike = shared > overlap * (area[:, None] + area[None] - shared)
    kept: list[int] = []
    gone = np.zeros(len(boxes), bool)
    for k in order:
        if not gone[k]:
            kept.append(int(k))
            gone |= alike[k]
    return np.array(kept, int)


class YOLOX:
    """A `BoxNetwork` from an ONNX file, whether it gives its raw grid or finished boxes.

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

    fill = LETTERBOX_FILL

    def __init__(self, path: Path, device: torch.device, size: int, *, add_command: str) -> None:
        self.size = size
        self._file = OnnxFile(path, device, (1, 3, size, size), add_command=add_command)
        cells = sum((size // s) ** 2 for s in _STRIDES)
        self._raw = self._file.example[0].shape[-1] != 5
        labels = [(1, None)] * min(len(self._file.example) - 1, 1)
        self._file.require([(1, cells, 5 + _COCO_CLASSES)] if self._raw else [(1, None, 5), *labels])

    def __call__(self, crops: Images, min_score: float) -> list[tuple[Floats, Floats]]:
        """Boxes and scores of the people in each crop [n, size, size, 3] (BGR)."""
        outputs = self._file.each(crops.transpose(0, 3, 1, 2).astype(np.float32))
        return [self._people([np.asarray(o[0], np.float64) for o in one], min_score) for one in outputs]

    def _people(self, outputs: list[Floats], min_score: float) -> tuple[Floats, Floats]:
        if self._raw:
            boxes, scores = decode_grid(outputs[0], self.size)
        else:
            boxes, scores = outputs[0][:, :4], outputs[0][:, 4]
            if len(outputs) > 1:
                scores = np.where(outputs[1] == _PERSON, scores, 0.0)
        good = scores >= min_score
        boxes, scores = boxes[good], scores[good]
        kept = suppress(boxes, scores, _BOX_OVERLAP)
        return boxes[kept], scores[kept]


def decode_grid(grid: Floats, size: int) -> tuple[Floats, Floats]:
    """YOLOX's raw output for one picture to boxes of people.

    Parameters
    ----------
    grid : float [cells, 5 + classes]
        Offset from the cell and logarithm of the size, both in strides; objectness and class scores.
    size : int
        Side of the picture, px.

    Returns
    -------
    boxes : float64 [cells, 4]
    scores : float64 [cells]
    """
    corners, strides = [], []
    for stride in _STRIDES:
        n = size // stride
        y, x = np.mgrid[:n, :n]
        corners.append(np.stack([x.ravel(), y.ravel()], -1))
        strides.append(np.full(n * n, stride))
    length = np.concatenate(strides)[:, None]
    centre, extent = (grid[:, :2] + np.concatenate(corners)) * length, np.exp(grid[:, 2:4]) * length
    return np.hstack([centre - extent / 2, centre + extent / 2]), grid[:, 4] * grid[:, 5 + _PERSON]


class RTDETR:
    """A `BoxNetwork` from a folder of the transformers library.

    Parameters
    ----------
    folder : Path
        config.json and model.safetensors.
    device : torch.device
    size : int
        Side of its input, px.
    add_command : str
        For messages.

    Raises
    ------
    DependencyError, WeightsError
        As `load_folder`; a network that does not know people.
    """

    fill = LETTERBOX_FILL

    def __init__(self, folder: Path, device: torch.device, size: int, *, add_command: str) -> None:
        self.size, self.device = size, device
        self._network: Any = load_folder("RTDetrForObjectDetection", folder, add_command=add_command)
        self._network = self._network.eval().to(device)
        names = {str(v): int(k) for k, v in self._network.config.id2label.items()}
        if "person" not in names:
            raise WeightsError(
                "the network does not find people", expected='a class "person"', found=", ".join(list(names)[:5]),
                where=str(folder), hint=add_command,
            )  # fmt: skip
        self._person = names["person"]

    @torch.inference_mode()
    def __call__(self, crops: Images, min_score: float) -> list[tuple[Floats, Floats]]:
        """Boxes and scores of the people in each crop [n, size, size, 3] (BGR)."""
        values = to_device(crops[..., ::-1], self.device)
        found = self._network(pixel_values=values.permute(0, 3, 1, 2).float() / 255)
        scores = found.logits[..., self._person].sigmoid().double().cpu().numpy()
        centre, extent = np.split(found.pred_boxes.double().cpu().numpy() * self.size, 2, axis=-1)
        boxes = np.concatenate([centre - extent / 2, centre + extent / 2], -1)
        people = []
        for box, score in zip(boxes, scores, strict=True):
            good = score >= min_score
            kept = suppress(box[good], score[good], _BOX_OVERLAP)
            people.append((box[good][kept], score[good][kept]))
        return people
