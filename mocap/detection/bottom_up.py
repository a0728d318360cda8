"""Whole pictures to people with the bottom-up networks: scaling, network, grouping, back to raw-image pixels."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mocap.detection import associative, openpose, part_affinity
from mocap.detection.acceleration import to_device
from mocap.detection.heatmap_pose import IMAGENET_MEAN, IMAGENET_STD
from mocap.detection.peaks import Assembled
from mocap.skeleton import COCO_17, OPENPOSE_18, Skeleton

_CELL = 2  # input pixels per cell of HigherHRNet's finer heatmaps
_MULTIPLE = 64
_OPENPOSE_FILL = 128
# No peak tells more than a quarter of its width: labels are not finer.
_LEAST_SIGMA = 0.25


class TagPeople:
    """A `PictureNetwork` from a module that gives heatmaps and tags (HigherHRNet).

    Parameters
    ----------
    network : nn.Module
        Images [n, 3, H, W] to heatmaps and tags, both [n, J, H/2, W/2].
    device : torch.device
    side : int
        The picture's shorter side is scaled to this, px.
    flip : bool
        Look at the mirror image too.
    grouping : TagGrouping
    skeleton : Skeleton
    """

    def __init__(
        self, network: torch.nn.Module, device: torch.device, side: int, *, flip: bool = True,
        grouping: associative.TagGrouping | None = None, skeleton: Skeleton = COCO_17,
    ) -> None:  # fmt: skip
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.side, self.flip, self.skeleton = device, side, flip, skeleton
        self.grouping = grouping or associative.TagGrouping()
        self._mean = 255 * torch.tensor(IMAGENET_MEAN, device=device).reshape(1, 3, 1, 1)
        self._std = 255 * torch.tensor(IMAGENET_STD, device=device).reshape(1, 3, 1, 1)
        self._mirror = torch.from_numpy(np.array(skeleton.mirror)).to(device)

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.uint8]) -> Assembled:
        """People in BGR frames [n, H, W, 3]."""
        scale = self.side / min(frames.shape[1:3])
        images = padded(frames, scale, _MULTIPLE, fill=0)
        values = to_device(images, self.device).permute(0, 3, 1, 2).flip(1).float()
        values = ((values - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        heatmaps, tags = (x.float() for x in self.network(values))
        every_tag, shift = [tags], 0.0
        if self.flip:
            mirrored, mirrored_tags = (x.float().flip(-1)[:, self._mirror] for x in self.network(values.flip(-1)))
            heatmaps, every_tag = (heatmaps + mirrored) / 2, [tags, mirrored_tags]
            # A cell lies at pixel 2 * i, so the mirror image's lie half a cell further left; the mean a quarter.
            shift = (_CELL - 1) / _CELL / 2
        found = associative.group_by_tags(heatmaps, torch.stack(every_tag, 1), self.skeleton, self.grouping)
        return to_raw(found, (found.points + np.array([shift, 0.0])) * _CELL, _CELL, scale, self.grouping.peak_sigma)


class FieldPeople:
    """A `PictureNetwork` from OpenPose's network.

    Parameters
    ----------
    network : nn.Module
        Images [n, 3, H, W] to heatmaps [n, 18, H/8, W/8] and fields [n, 38, H/8, W/8].
    device : torch.device
    side : int
        The picture's height is scaled to this, px.
    assembly : FieldAssembly
    """

    skeleton: Skeleton = OPENPOSE_18

    def __init__(
        self, network: torch.nn.Module, device: torch.device, side: int = 368, *,
        assembly: part_affinity.FieldAssembly | None = None,
    ) -> None:  # fmt: skip
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.side = device, side
        self.assembly = assembly or part_affinity.FieldAssembly()

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.uint8]) -> Assembled:
        """People in BGR frames [n, H, W, 3]."""
        scale = self.side / frames.shape[1]
        images = padded(frames, scale, openpose.STRIDE, fill=_OPENPOSE_FILL)
        values = to_device(images, self.device).permute(0, 3, 1, 2).float() / 256 - 0.5
        heatmaps, fields = self.network(values.contiguous(memory_format=torch.channels_last))
        found = part_affinity.assemble(heatmaps, fields, part_affinity.LIMBS, self.assembly)
        # A cell is the middle of its 8 x 8 pixels. Peaks are trained 7 px wide.
        points = (found.points + 0.5) * openpose.STRIDE - 0.5
        return to_raw(found, points, openpose.STRIDE, scale, 7 / openpose.STRIDE)


def padded(frames: NDArray[np.uint8], scale: float, multiple: int, fill: int) -> NDArray[np.uint8]:
    """Frames [n, H, W, 3] scaled, with a border at the right and bottom up to multiples of a length."""
    width, height = (max(1, round(scale * n)) for n in (frames.shape[2], frames.shape[1]))
    full = [-(-n // multiple) * multiple for n in (height, width)]
    images = np.full((len(frames), *full, 3), fill, np.uint8)
    for image, frame in zip(images, frames, strict=True):
        image[:height, :width] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    return images


def to_raw(found: Assembled, points: NDArray[np.float64], cell: int, scale: float, trained: float) -> Assembled:
    """People with their points [n, P, J, 2] in scaled px, and their peaks in cells of `cell` px, in raw-image px.

    The uncertainty is what a peak is wider than trained (cells), at least a quarter of that.
    """
    doubt = np.sqrt(np.maximum(found.sigma**2 - trained**2, 0) + (_LEAST_SIGMA * trained) ** 2)
    return Assembled((points + 0.5) / scale - 0.5, found.score, doubt * cell / scale)
