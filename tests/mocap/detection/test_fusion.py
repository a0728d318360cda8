"""Several looks at the same person: better by as much as independent errors allow, and told so."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap.detection import regions as rg  # noqa: E402
from mocap.detection.decoders import DecoderSettings  # noqa: E402
from mocap.detection.detector import region_network  # noqa: E402
from mocap.detection.fusion import DropoutLooks, MirrorLook, SeveralLooks, fuse  # noqa: E402
from mocap.detection.heatmap_pose import HeatmapPose  # noqa: E402
from mocap.detection.poses import Poses  # noqa: E402
from mocap.detection.settings import DetectionSettings, DetectorName  # noqa: E402
from mocap.detection.small import SmallPose  # noqa: E402
from mocap.detection.topdown import CropPoints, TopDown  # noqa: E402
from mocap.errors import SettingsError  # noqa: E402
from mocap.skeleton import BLAZEPOSE_33, COCO_17, Skeleton  # noqa: E402

CPU = torch.device("cpu")
MARKS = Skeleton("marks", ("l_hand", "r_hand", "nose"), (), (("l_hand", "r_hand"),))


def rms(x):
    return float(np.sqrt(np.mean(np.square(x))))


@pytest.mark.parametrize("sigmas", [(1.0, 1.0, 1.0, 1.0), (1.0, 2.0), (0.5, 3.0, 3.0)])
def test_independent_errors_shrink_by_the_predicted_factor(sigmas):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (20000, 2))
    s = np.array(sigmas)
    points = truth + s[:, None, None] * rng.normal(size=(len(s), *truth.shape))
    fused = fuse(points, np.broadcast_to(s[:, None], points.shape[:2]))
    predicted = 1 / np.sqrt((1 / s**2).sum())
    assert rms(fused.points - truth) == pytest.approx(predicted, rel=0.02)
    assert rms(fused.points - truth) < 0.98 * s.min()
    # What is told is never less than predicted, and more only where the looks differ by chance.
    assert fused.sigma.min() >= predicted * (1 - 1e-12)
    assert np.median(fused.sigma) < 1.25 * predicted
    np.testing.assert_allclose(fused.weight.sum(0), 1)


def test_looks_that_disagree_make_it_less_certain_and_missing_ones_do_not_count():
    points = np.array([[[0.0, 0.0], [5.0, 5.0], [np.nan, np.nan]], [[30.0, 0.0], [np.nan, np.nan], [np.nan, np.nan]]])
    sigma = np.where(np.isnan(points[..., 0]), np.nan, 1.0)
    fused = fuse(points, sigma)
    np.testing.assert_allclose(fused.points[:2], [[15, 0], [5, 5]])
    assert fused.sigma[0] == pytest.approx(np.sqrt(0.5) * np.sqrt(2 * 15**2 / 2))
    assert fused.sigma[1] == 1
    assert np.isnan(fused.points[2]).all()
    assert np.isnan(fused.sigma[2])


class Channels(torch.nn.Module):
    """Stands for a trained network: heatmap j peaks where channel j of the picture does."""

    def forward(self, images):
        return (images * torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1) + 0.45)[..., ::4, ::4]


class NoFinder:
    def find(self, frame, windows, min_score):
        return windows, np.ones(len(windows))


TRUTH = np.array([[300.3, 180.7], [341.9, 250.2], [280.4, 310.6]])


def picture():
    y, x = np.mgrid[:480, :640]
    d2 = (x[..., None] - TRUTH[:, 0]) ** 2 + (y[..., None] - TRUTH[:, 1]) ** 2
    return np.round(250 * np.exp(-d2 / (2 * 8.0**2)))[..., ::-1].astype(np.uint8)


@pytest.mark.parametrize("crops", [1, 3, 5])
def test_further_crops_see_the_same_points(crops):
    one = TopDown(NoFinder(), HeatmapPose(Channels(), CPU, (192, 256), DecoderSettings(), flip=False, skeleton=MARKS))
    small = TopDown(NoFinder(), HeatmapPose(Channels(), CPU, (96, 128), DecoderSettings(), flip=False, skeleton=MARKS))
    network = SeveralLooks([one, small], crops)
    assert network.crop_size == 256
    regions = np.array([[310.0, 240.0, 256.0, 0.0], [305.0, 246.0, 280.0, 0.0]])
    images = np.stack([rg.crop(picture(), r, 256) for r in regions])
    poses = network.estimate(images, regions)
    assert np.abs(poses.keypoints - TRUTH).max() < 0.3
    alone = one.estimate(images, regions)
    np.testing.assert_array_equal(poses.regions, alone.regions)
    assert (poses.uncertainty < alone.uncertainty + 1e-9).all()


class Noisy:
    """A region network that is right but for independent noise of a known size."""

    skeleton, crop_size = COCO_17, 64

    def __init__(self, sigma, seed):
        self.sigma, self.rng = sigma, np.random.default_rng(seed)

    def find(self, frame, windows, min_score):
        return windows, np.ones(len(windows))

    def estimate(self, crops, regions):
        shape = (len(crops), 17)
        noise = self.sigma * self.rng.normal(size=(*shape, 2))
        one = np.ones(len(crops))
        return Poses(100 + noise, np.full(shape, 0.9), np.full(shape, self.sigma), one, one, regions)


def test_crops_and_detectors_with_independent_noise_are_better_by_the_predicted_factor():
    crops, regions = np.zeros((400, 64, 64, 3), np.uint8), np.tile([50.0, 50.0, 64.0, 0.0], (400, 1))
    for networks, count, precision in (
        ([Noisy(2.0, 0)], 4, 4 / 2.0**2),
        ([Noisy(2.0, 1), Noisy(1.0, 2)], 1, 1 / 2.0**2 + 1),
        ([Noisy(2.0, 3), Noisy(3.0, 4)], 3, 3 / 2.0**2 + 3 / 3.0**2),
    ):
        poses = SeveralLooks(networks, count).estimate(crops, regions)
        assert rms(poses.keypoints - 100) == pytest.approx(1 / np.sqrt(precision), rel=0.03)
        np.testing.assert_allclose(poses.confidence, 0.9)


class Line:
    """A crop network that says where the brightest pixel is; surer on the left half of the picture."""

    skeleton, crop_size = MARKS, (64, 48)

    def __call__(self, images):
        flat = images[..., 0].reshape(len(images), -1).argmax(1)
        x, y = flat % 64, flat // 64
        points = torch.from_numpy(np.stack([x, y], -1)).double()[:, None].repeat(1, 3, 1)
        points[:, 0, 0] += 4.0  # the left hand is seen too far right, in the mirror image the right one
        sigma = torch.from_numpy(np.where(x < 32, 1.0, 2.0))[:, None].repeat(1, 3)
        return CropPoints(points, torch.full((len(images), 3), 0.8), sigma)


def test_the_mirror_image_is_weighed_by_what_it_is_worth():
    image = np.zeros((1, 48, 64, 3), np.uint8)
    image[0, 20, 10] = 255
    found = MirrorLook(Line())(image)
    # Straight: x 10 (left hand 14), sigma 1; mirrored: 53 back to 10 (right hand 57 to 6), sigma 2: shares 0.8, 0.2.
    assert found.points[0, :, 0].tolist() == pytest.approx([10 + 0.8 * 4, 10 - 0.2 * 4, 10])
    assert found.points[0, :, 1].tolist() == pytest.approx([20, 20, 20])
    assert found.sigma[0, 2].item() == pytest.approx(np.sqrt(0.8))
    assert found.confidence[0].tolist() == pytest.approx([0.8] * 3)


class Jumping(torch.nn.Module):
    """Its peak lies 3 cells further right when a dropped value comes through (half of the time, doubled)."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, images):
        place = 20 + 3 * self.dropout(torch.ones(len(images), 1, 1, 1))
        x, y = torch.arange(48.0), torch.arange(64.0)[:, None]
        return torch.exp(-((x - place) ** 2 + (y - 30) ** 2) / 8).expand(-1, 3, -1, -1)


def test_dropout_tells_how_much_the_answer_scatters():
    module = Jumping()
    pose = HeatmapPose(module, CPU, (192, 256), DecoderSettings(), flip=False, skeleton=MARKS)
    images = np.zeros((2, 256, 192, 3), np.uint8)
    plain, sampled = pose(images), DropoutLooks(pose, module, 20)(images)
    assert torch.equal(plain.points, sampled.points)
    assert not module.dropout.training
    # Along x by 12 px (3 cells) either way, along y not at all: per axis 12 / sqrt(2).
    scatter = (sampled.sigma**2 - plain.sigma**2).sqrt()
    assert scatter.tolist() == [pytest.approx([12 / np.sqrt(2)] * 3, rel=0.01)] * 2
    before = torch.random.get_rng_state()
    again = DropoutLooks(pose, module, 20)(images)
    assert torch.equal(again.sigma, sampled.sigma)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_small_network_has_dropout_and_says_more_doubt_with_it():
    torch.manual_seed(0)
    module = SmallPose(17)
    pose = HeatmapPose(module, CPU, (96, 128), DecoderSettings(), flip=False)
    images = np.random.default_rng(0).integers(0, 255, (2, 128, 96, 3), np.uint8)
    assert (DropoutLooks(pose, module, 4)(images).sigma >= pose(images).sigma).all()
    with pytest.raises(SettingsError, match="no dropout"):
        DropoutLooks(pose, SmallPose(17, dropout=0.0), 4)


def test_what_cannot_be_fused_is_refused(blazepose_folder):
    other = Noisy(1.0, 0)
    other.skeleton = BLAZEPOSE_33
    with pytest.raises(SettingsError, match="different joints"):
        SeveralLooks([Noisy(1.0, 0), other])
    settings = DetectionSettings(fused_with=(DetectorName.OPENPOSE,))
    with pytest.raises(SettingsError, match="whole pictures cannot be fused"):
        region_network(settings, CPU)
    assert isinstance(region_network(DetectionSettings(crops_per_person=2), CPU), SeveralLooks)
    with pytest.raises(SettingsError, match="out of range"):
        DetectionSettings(crops_per_person=0)
