"""Several looks at the same person made into one: other crops, the mirror image, other networks, dropout.

Each look is weighed by the inverse of its variance (Gauss-Markov); where the looks differ by more than their
variances allow, the result is told to be that much less certain (R. Birge, Phys. Rev. 40, 1932). Dropout:
Y. Gal, Z. Ghahramani, "Dropout as a Bayesian Approximation" (ICML 2016), eq. 7-9.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mocap.detection import regions as rg
from mocap.detection.poses import Poses, RegionNetwork
from mocap.detection.topdown import CropNetwork, CropPoints
from mocap.errors import SettingsError
from mocap.skeleton import Skeleton

Floats = NDArray[np.float64]

# Further crops of the same person: turned by this much, and of these sizes.
_TURN = 0.15
_SCALES = (1.08, 0.94)
_LEAST_VARIANCE = 1e-12
_SEED = 0


@dataclass(frozen=True, eq=False)
class Fused:
    """Several measurements of the same points made into one.

    Attributes
    ----------
    points : float64 [..., 2]
    sigma : float64 [...]
        Standard deviation per axis.
    weight : float64 [S, ...]
        Share of each measurement, sum 1.
    """

    points: Floats
    sigma: Floats
    weight: Floats


def fuse(points: Floats, sigma: Floats) -> Fused:
    """Mean weighted by inverse variance.

    Parameters
    ----------
    points : float [S, ..., 2]
        S measurements with errors that are independent; NaN where one has none.
    sigma : float [S, ...]
        Their standard deviation per axis.
    """
    known = np.isfinite(points).all(-1) & np.isfinite(sigma)
    precision = np.where(known, 1 / np.maximum(np.square(sigma), _LEAST_VARIANCE), 0.0)
    total = precision.sum(0)
    weight = precision / np.where(total > 0, total, 1.0)
    mean = (np.where(known[..., None], points, 0.0) * weight[..., None]).sum(0)
    squared = np.where(known, np.square(np.where(known[..., None], points, mean) - mean).sum(-1), 0.0)
    freedom = 2 * (known.sum(0) - 1)
    birge = np.sqrt((precision * squared).sum(0) / np.maximum(freedom, 1))
    fused = np.sqrt(1 / np.where(total > 0, total, np.nan)) * np.maximum(birge, 1.0)
    return Fused(np.where((total > 0)[..., None], mean, np.nan), fused, weight)


class SeveralLooks:
    """A `RegionNetwork` that looks more than once at each person.

    Parameters
    ----------
    networks : sequence of RegionNetwork
        Of the same joints. The first finds the people, and says whether a pose is one and where to look next.
    crops : int
        Per person and network: the given one, then ones turned and scaled a little.
    """

    def __init__(self, networks: Sequence[RegionNetwork], crops: int = 1) -> None:
        if len({n.skeleton.joints for n in networks}) != 1:
            raise SettingsError(
                "detectors of different joints cannot be fused", expected="one joint set",
                found=", ".join(sorted({n.skeleton.name for n in networks})), where="detect.fused_with",
            )  # fmt: skip
        self.networks, self.crops = list(networks), crops
        self.skeleton: Skeleton = networks[0].skeleton
        self.crop_size = max(n.crop_size for n in networks)

    def find(self, frame: NDArray[np.uint8], windows: Floats, min_score: float) -> tuple[Floats, Floats]:
        """People in windows of an image; see `RegionNetwork.find`."""
        return self.networks[0].find(frame, windows, min_score)

    def estimate(self, crops: NDArray[np.uint8], regions: Floats) -> Poses:
        """Poses in BGR crops that show the regions [n, 4]."""
        looks = []
        for network in self.networks:
            for k in range(self.crops):
                images, where = _varied(crops, regions, network.crop_size, k)
                looks.append(network.estimate(images, where))
        first = looks[0]
        fused = fuse(np.stack([p.keypoints for p in looks]), np.stack([p.uncertainty for p in looks]))
        confidence = (fused.weight * np.stack([p.confidence for p in looks])).sum(0)
        return Poses(fused.points, confidence, fused.sigma, first.score, first.sharpness, first.regions)


def _varied(crops: NDArray[np.uint8], regions: Floats, size: int, look: int) -> tuple[NDArray[np.uint8], Floats]:
    """Crops of a network's size and the regions they show; the k-th look is turned to alternating sides."""
    own = crops.shape[1]
    if look == 0:
        if own == size:
            return crops, regions
        shrunk = [cv2.resize(c, (size, size), interpolation=cv2.INTER_AREA) for c in crops]
        return np.stack(shrunk).astype(np.uint8), regions
    step = (look + 1) // 2
    turn = _TURN * step * (1 if look % 2 else -1)
    scale = _SCALES[look % 2]
    inner = np.array([(own - 1) / 2, (own - 1) / 2, own * scale, turn])
    varied = regions.copy()
    varied[:, 2] *= scale
    varied[:, 3] += turn
    return np.stack([rg.crop(c, inner, size) for c in crops]), varied


class MirrorLook:
    """A `CropNetwork` that looks at each crop and its mirror image, and fuses the points.

    For networks without heatmaps; heatmaps are better averaged themselves.
    """

    def __init__(self, network: CropNetwork) -> None:
        self.network, self.skeleton, self.crop_size = network, network.skeleton, network.crop_size

    def __call__(self, images: NDArray[np.uint8]) -> CropPoints:
        """Joints in crops [n, H, W, 3], RGB."""
        mirror = np.array(self.skeleton.mirror)
        straight, turned = self.network(images), self.network(np.ascontiguousarray(images[:, :, ::-1]))
        points = turned.points[:, mirror].clone()
        points[..., 0] = self.crop_size[0] - 1 - points[..., 0]
        sigma = torch.stack([straight.sigma, turned.sigma[:, mirror]])
        confidence = torch.stack([straight.confidence, turned.confidence[:, mirror]])
        fused = fuse(torch.stack([straight.points, points]).double().cpu().numpy(), sigma.double().cpu().numpy())
        return CropPoints(*(torch.from_numpy(a) for a in (
            fused.points, (fused.weight * confidence.double().cpu().numpy()).sum(0), fused.sigma,
        )))  # fmt: skip


class DropoutLooks:
    """A `CropNetwork` that also tells how much its answers scatter when parts of the network are left out.

    Parameters
    ----------
    network : CropNetwork
    module : nn.Module
        The network's own module, whose dropout layers are switched on.
    samples : int

    Notes
    -----
    Points and confidence are those without dropout; the variance is the network's own plus that of the samples.
    Random numbers start from the same seed for every batch, so the same batch gives the same result.

    Raises
    ------
    SettingsError
        The network has no dropout.
    """

    def __init__(self, network: CropNetwork, module: nn.Module, samples: int) -> None:
        self.network, self.skeleton, self.crop_size = network, network.skeleton, network.crop_size
        self.samples = samples
        self._layers = [m for m in module.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
        if not self._layers:
            raise SettingsError(
                "the network has no dropout to sample", expected="0, or a detector with dropout (small)",
                found=f"{samples}", where="detect.dropout_samples",
            )  # fmt: skip

    def __call__(self, images: NDArray[np.uint8]) -> CropPoints:
        """Joints in crops [n, H, W, 3], RGB."""
        plain = self.network(images)
        with _switched_on(self._layers), torch.random.fork_rng():
            torch.manual_seed(_SEED)
            points = torch.stack([self.network(images).points for _ in range(self.samples)])
        scatter = (points - plain.points).square().mean((0, -1))
        return CropPoints(plain.points, plain.confidence, (plain.sigma.square() + scatter).sqrt())


@contextlib.contextmanager
def _switched_on(layers: Sequence[nn.Module]) -> Iterator[None]:
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
