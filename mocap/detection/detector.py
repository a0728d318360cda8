"""What every detector looks like to the rest of the product, and how one is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mocap import models
from mocap.detection.decoders import DecoderSettings
from mocap.detection.poses import People, RegionNetwork
from mocap.detection.settings import DetectionSettings, DetectorName, FinderName
from mocap.errors import SettingsError
from mocap.skeleton import SKELETONS, Skeleton

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mocap.detection.blazepose import BlazePose
    from mocap.detection.slots import PictureNetwork
    from mocap.detection.topdown import CropNetwork, Finder
    from mocap.models import ModelEntry

WHOLE_PICTURE = (DetectorName.HIGHERHRNET_W32, DetectorName.HIGHERHRNET_W48, DetectorName.OPENPOSE, DetectorName.RTMO_M)
"""Detectors that find everybody in a picture at once; the others look at one crop per person."""

_WIDTHS = {
    DetectorName.HRNET_W32: 32, DetectorName.HRNET_W48: 48,
    DetectorName.HIGHERHRNET_W32: 32, DetectorName.HIGHERHRNET_W48: 48,
}  # fmt: skip

# Width of the peaks that a network was trained to draw, cells, where it is not the usual two: HRNet's for 384x288.
_PEAK_SIGMA = {DetectorName.HRNET_W48: 3.0}


class Detector(Protocol):
    """Finds people in consecutive frames of one view."""

    skeleton: Skeleton
    """Joint set of the results."""

    def start(self, fps: float) -> None:
        """Begin another recording: forget everybody."""

    def detect(self, frames: NDArray[np.uint8]) -> People:
        """People in the next frames [n, H, W, 3] (BGR) of the recording; as many slots as `max_people`."""


def make_detector(settings: DetectionSettings, device: torch.device) -> Detector:
    """The detector that the settings name, with its networks on the device.

    Raises
    ------
    WeightsError
        The weights are missing and cannot be fetched, or are of another network.
    """
    from mocap.detection.tracking import RegionTracker

    if settings.detector in WHOLE_PICTURE:
        from mocap.detection.slots import PictureDetector

        return PictureDetector(picture_network(settings, device), settings)
    return RegionTracker(region_network(settings, device), settings)


def region_network(settings: DetectionSettings, device: torch.device) -> RegionNetwork:
    """What the settings say about one person's crop: a network, or several looks at it."""
    names = (settings.detector, *settings.fused_with)
    networks = [_one_network(replace(settings, detector=name), device) for name in names]
    if len(networks) == 1 and settings.crops_per_person == 1:
        return networks[0]
    from mocap.detection.fusion import SeveralLooks

    return SeveralLooks(networks, settings.crops_per_person)


def _one_network(settings: DetectionSettings, device: torch.device) -> RegionNetwork:
    if settings.detector is DetectorName.BLAZEPOSE:
        return _blazepose(settings, device)
    if settings.detector in WHOLE_PICTURE:
        raise SettingsError(
            "a detector of whole pictures cannot be fused", expected="detectors of one crop per person",
            found=settings.detector.value, where="detect.fused_with",
        )  # fmt: skip
    from mocap.detection.topdown import TopDown

    return TopDown(person_finder(settings, device), crop_network(settings, device))


def _blazepose(settings: DetectionSettings, device: torch.device) -> BlazePose:
    from mocap.detection.acceleration import accelerated
    from mocap.detection.blazepose import BlazePose

    blazepose = BlazePose(models.ensure("blazepose"), device, refine=settings.refine)
    blazepose.finder = accelerated(blazepose.finder, settings, device)
    blazepose.landmarks = accelerated(blazepose.landmarks, settings, device)
    return blazepose


def person_finder(settings: DetectionSettings, device: torch.device, path: Path | None = None) -> Finder:
    """What finds people for the settings' top-down network; see `crop_network`."""
    if settings.finder is FinderName.BLAZEPOSE:
        return _blazepose(settings, device)
    from mocap.detection.boxes import RTDETR, YOLOX, BoxFinder

    model = models.entry(settings.finder.value)
    path = _file(model) if path is None else path
    kind = YOLOX if settings.finder is FinderName.YOLOX_M else RTDETR
    return BoxFinder(kind(path, device, model.input_size[0], add_command=model.add_command))


def check_weights(name: str, path: Path, device: torch.device) -> None:
    """Load a file that is to become a model's weights (a detector's or a person finder's); nothing is kept.

    Raises
    ------
    WeightsError
        It is of another network.
    """
    models.entry(name)
    if name not in list(DetectorName):
        person_finder(DetectionSettings(finder=FinderName(name)), device, path)
        return
    settings = DetectionSettings(detector=DetectorName(name))
    if settings.detector in WHOLE_PICTURE:
        picture_network(settings, device, path)
    elif settings.detector is not DetectorName.BLAZEPOSE:  # whose files are checked by digest
        crop_network(settings, device, path)


def picture_network(settings: DetectionSettings, device: torch.device, path: Path | None = None) -> PictureNetwork:
    """The network for whole pictures that the settings name; see `crop_network`."""
    import torch

    from mocap.detection.acceleration import accelerated
    from mocap.detection.bottom_up import FieldPeople, TagPeople
    from mocap.detection.checkpoints import load_strictly

    model = models.entry(settings.detector.value)
    path = _file(model) if path is None else path
    if settings.detector is DetectorName.RTMO_M:
        from mocap.detection.rtmo import RTMO

        return RTMO(path, device, model.input_size[0], add_command=model.add_command)
    if settings.detector is DetectorName.OPENPOSE:
        from mocap.detection.openpose import OpenPose

        with torch.device("meta"):
            body = OpenPose()
        load_strictly(body, path, add_command=model.add_command)
        return FieldPeople(accelerated(body, settings, device), device, model.input_size[1])
    from mocap.detection.higher_hrnet import HigherHRNet

    with torch.device("meta"):
        network = HigherHRNet(_WIDTHS[settings.detector], len(SKELETONS[model.skeleton].joints))
    load_strictly(network, path, add_command=model.add_command)
    return TagPeople(accelerated(network, settings, device), device, model.input_size[1], flip=settings.flip_test)


def crop_network(settings: DetectionSettings, device: torch.device, path: Path | None = None) -> CropNetwork:
    """The network for crops that the settings name.

    Parameters
    ----------
    settings : DetectionSettings
    device : torch.device
    path : Path, optional
        Weights (for ViTPose their folder); those in the user's cache by default.

    Raises
    ------
    WeightsError
        The weights are missing or of another network.
    """
    from mocap.detection.acceleration import accelerated
    from mocap.detection.fusion import DropoutLooks, MirrorLook
    from mocap.detection.heatmap_pose import HeatmapPose

    model = models.entry(settings.detector.value)
    skeleton = SKELETONS[model.skeleton]
    path = _file(model) if path is None else path
    if settings.detector is DetectorName.RTMPOSE_M:
        from mocap.detection.simcc import SimCCPose

        simcc = SimCCPose(path, device, model.input_size, skeleton, add_command=model.add_command)
        return MirrorLook(simcc) if settings.flip_test else simcc
    network, unbiased = _heatmap_network(settings.detector, model, len(skeleton.joints), path)
    peak_sigma = _PEAK_SIGMA.get(settings.detector, DecoderSettings.peak_sigma)
    decoder = DecoderSettings(method=settings.decoder, peak_sigma=peak_sigma)
    pose = HeatmapPose(
        accelerated(network, settings, device),
        device,
        model.input_size,
        decoder,
        flip=settings.flip_test,
        unbiased=unbiased,
        skeleton=skeleton,
    )
    return DropoutLooks(pose, network, settings.dropout_samples) if settings.dropout_samples else pose


def _heatmap_network(name: DetectorName, model: ModelEntry, joints: int, path: Path) -> tuple[nn.Module, bool]:
    """A network that draws heatmaps, with its weights, and whether it was trained on unbiased labels."""
    if name is DetectorName.VITPOSE_B:
        from mocap.detection.vitpose import ViTPose

        return ViTPose(path, model.input_size, joints, add_command=model.add_command), True
    import torch

    from mocap.detection.checkpoints import load_strictly
    from mocap.detection.hrnet import HRNet
    from mocap.detection.small import SmallPose

    with torch.device("meta"):
        network = SmallPose(joints) if name is DetectorName.SMALL else HRNet(_WIDTHS[name], joints)
    load_strictly(network, path, add_command=model.add_command)
    return network, False


def _file(model: ModelEntry) -> Path:
    """A model's one file in the cache, or the folder of several."""
    folder = models.model_path(model.name)
    return folder if len(model.files) > 1 else folder / model.files[0].name


def joint_names(detector: DetectorName) -> tuple[str, ...]:
    """Names of the joints that a detector gives, without loading it."""
    return SKELETONS[models.entry(detector.value).skeleton].joints


def weights_digest(detector: DetectorName) -> str:
    """Digest of the detector's weights, for cache keys; needs no download."""
    return models.digest(detector.value)
