"""What each network is trained for: its loss on a batch of crops, and how its crops are fed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mocap.detection import losses, targets
from mocap.detection.decoders import DecoderName, DecoderSettings
from mocap.detection.heatmap_pose import IMAGENET_MEAN, IMAGENET_STD
from mocap.detection.heatmaps import decode_heatmaps, soft_argmax
from mocap.detection.higher_hrnet import HigherHRNet
from mocap.detection.hrnet import HRNet
from mocap.detection.labelled import Crops
from mocap.detection.openpose import STRIDE, OpenPose
from mocap.detection.part_affinity import LIMBS
from mocap.detection.small import SMALL_CROP, SmallPose
from mocap.detection.training_settings import DetectorTraining, TrainedNetwork
from mocap.skeleton import COCO_17, OPENPOSE_18, Skeleton

_STRIDE = 4
_SIGMA = 2.0
_SIGMA_W48 = 3.0  # of HRNet's networks for 384x288
# As the authors of HigherHRNet weigh pull and push against the heatmaps.
_TAG_WEIGHT = 1e-3
# OpenPose: peaks 7 px wide, limbs 8 px half wide, at stride 8.
_OPENPOSE_SIGMA = 7 / STRIDE
_LIMB_WIDTH = 1.0
_TEMPERATURE = 0.07


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops on the device.

    Attributes
    ----------
    images : float [n, 3, H, W]
        As the network wants them.
    points : float [n, P, J, 2]
        Crop px; 0 where not labelled.
    labelled : bool [n, P, J]
    """

    images: torch.Tensor
    points: torch.Tensor
    labelled: torch.Tensor


class HeatmapObjective:
    """Networks that draw one heatmap per joint of the person in the crop."""

    whole = False
    skeleton: Skeleton = COCO_17

    def __init__(self, settings: DetectorTraining) -> None:
        published = _SIGMA_W48 if settings.network is TrainedNetwork.HRNET_W48 else _SIGMA
        self.settings, self.sigma = settings, settings.sigma or published
        self.crop_size = {
            TrainedNetwork.SMALL: SMALL_CROP,
            TrainedNetwork.HRNET_W32: (192, 256),
            TrainedNetwork.HRNET_W48: (288, 384),
        }[settings.network]

    def network(self) -> nn.Module:
        """The network with first weights."""
        if self.settings.network is TrainedNetwork.SMALL:
            return SmallPose(len(self.skeleton.joints))
        width = 32 if self.settings.network is TrainedNetwork.HRNET_W32 else 48
        return HRNet(width, len(self.skeleton.joints))

    def prepare(self, crops: Crops, device: torch.device) -> Batch:
        """Crops as the network wants them."""
        return _batch(crops, device, imagenet=True)

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Of a batch."""
        maps = network(batch.images).float()
        target, weight = targets.heatmap_targets(
            batch.points / _STRIDE, batch.labelled, (maps.shape[-2], maps.shape[-1]), self.sigma
        )
        total = losses.map_mse(maps, target, weight)
        if self.settings.coordinate_weight:
            found = soft_argmax(maps, _TEMPERATURE) * _STRIDE / self.crop_size[1]
            truth, known = batch.points[:, 0] / self.crop_size[1], batch.labelled[:, 0].float()
            # A joint beside the crop has no cell to be at.
            inside = (
                (truth >= 0).all(-1) & (truth[..., 0] < self.crop_size[0] / self.crop_size[1]) & (truth[..., 1] < 1)
            )
            share = self.settings.coordinate_weight
            total = total + share * losses.coordinate_loss(found, truth, known * inside, beta=1 / self.crop_size[1])
        return total

    def decode(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Joints [n, J, 2] in crop px."""
        settings = DecoderSettings(method=DecoderName.DARK, peak_sigma=self.sigma)
        return decode_heatmaps(network(batch.images).float(), settings).points * _STRIDE


class TagObjective:
    """HigherHRNet: heatmaps of two resolutions, and tags."""

    whole = True
    skeleton: Skeleton = COCO_17

    def __init__(self, settings: DetectorTraining) -> None:
        self.settings, self.sigma = settings, settings.sigma or _SIGMA
        wide = settings.network is TrainedNetwork.HIGHERHRNET_W48
        self.width, self.crop_size = (48, (640, 640)) if wide else (32, (512, 512))

    def network(self) -> nn.Module:
        """The network with first weights."""
        return HigherHRNet(self.width, len(self.skeleton.joints))

    def prepare(self, crops: Crops, device: torch.device) -> Batch:
        """Crops as the network wants them."""
        return _batch(crops, device, imagenet=True)

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Of a batch."""
        coarse, fine = (m.float() for m in network.both(batch.images))  # type: ignore[operator]
        joints = len(self.skeleton.joints)
        maps, strides = [coarse[:, :joints], fine], [4.0, 2.0]
        sizes = [(m.shape[-2], m.shape[-1]) for m in maps]
        wanted = targets.multi_scale_targets(batch.points, batch.labelled, sizes, strides, self.sigma)
        total = torch.stack([losses.map_mse(m, *t) for m, t in zip(maps, wanted, strict=True)]).sum()
        pull, push = losses.tag_loss(coarse[:, joints:], batch.points / strides[0], batch.labelled)
        return total + _TAG_WEIGHT * (pull + push)


class FieldObjective:
    """OpenPose: heatmaps, background and part affinity fields after each of its stages."""

    whole = True
    skeleton: Skeleton = OPENPOSE_18
    crop_size = (368, 368)

    def __init__(self, settings: DetectorTraining) -> None:
        self.settings, self.sigma = settings, settings.sigma or _OPENPOSE_SIGMA

    def network(self) -> nn.Module:
        """The network with first weights."""
        return OpenPose()

    def prepare(self, crops: Crops, device: torch.device) -> Batch:
        """Crops as the network wants them."""
        return _batch(crops, device, imagenet=False)

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Of a batch."""
        stages = network.stages(batch.images)  # type: ignore[operator]
        size = (stages[0][0].shape[-2], stages[0][0].shape[-1])
        points = (batch.points + 0.5) / STRIDE - 0.5
        maps, weight = targets.heatmap_targets(points, batch.labelled, size, self.sigma)
        fields, field_weight = targets.field_targets(points, batch.labelled, LIMBS, size, _LIMB_WIDTH)
        background = 1 - maps.amax(1, keepdim=True)
        maps, weight = torch.cat([maps, background], 1), torch.cat([weight, weight.amin(1, keepdim=True)], 1)
        each = [
            losses.map_mse(m.float(), maps, weight) + losses.map_mse(f.float(), fields, field_weight)
            for m, f in stages
        ]  # fmt: skip
        return torch.stack(each).sum()


Objective = HeatmapObjective | TagObjective | FieldObjective


def objective(settings: DetectorTraining) -> Objective:
    """What the settings' network is trained for."""
    match settings.network:
        case TrainedNetwork.OPENPOSE:
            return FieldObjective(settings)
        case TrainedNetwork.HIGHERHRNET_W32 | TrainedNetwork.HIGHERHRNET_W48:
            return TagObjective(settings)
        case _:
            return HeatmapObjective(settings)


def _batch(crops: Crops, device: torch.device, *, imagenet: bool) -> Batch:
    """Crops on the device: RGB normalised by ImageNet's mean and deviation, or BGR as OpenPose wants it."""
    images = torch.from_numpy(crops.images)
    points, labelled = torch.from_numpy(crops.points).nan_to_num(0.0), torch.from_numpy(crops.labelled)
    if device.type == "cuda":
        images, points, labelled = (t.pin_memory() for t in (images, points, labelled))
    values = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float()
    if imagenet:
        mean, std = (torch.tensor(v, device=device).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        values = (values / 255 - mean) / std
    else:
        values = values.flip(1) / 256 - 0.5
    values = values.contiguous(memory_format=torch.channels_last)
    return Batch(values, points.to(device, non_blocking=True), labelled.to(device, non_blocking=True))
