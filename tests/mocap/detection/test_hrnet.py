"""HRNet: the published checkpoints' keys, loading, and the way from crops back to raw pixels."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap import models  # noqa: E402
from mocap.detection import regions as rg  # noqa: E402
from mocap.detection.checkpoints import load_strictly  # noqa: E402
from mocap.detection.decoders import DecoderName, DecoderSettings  # noqa: E402
from mocap.detection.detector import check_weights, crop_network, make_detector  # noqa: E402
from mocap.detection.heatmap_pose import IMAGENET_MEAN, IMAGENET_STD, HeatmapPose  # noqa: E402
from mocap.detection.hrnet import HRNet  # noqa: E402
from mocap.detection.settings import DetectionSettings, DetectorName  # noqa: E402
from mocap.detection.stage import detect_video  # noqa: E402
from mocap.detection.topdown import TopDown, following_regions  # noqa: E402
from mocap.errors import WeightsError  # noqa: E402
from mocap.skeleton import COCO_17, Skeleton  # noqa: E402
from mocap.video import write_video  # noqa: E402

CPU = torch.device("cpu")


@pytest.mark.parametrize(("width", "millions"), [(32, 28.54), (48, 63.60)])
def test_keys_and_shapes_are_those_of_the_published_checkpoint(shared, width, millions):
    published = json.loads((shared / "facts" / f"hrnet_w{width}_keys.json").read_text())
    with torch.device("meta"):
        network = HRNet(width, 17)
    assert {k: list(v.shape) for k, v in network.state_dict().items()} == published
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HRNet(32, 17).eval()


def test_heatmaps_have_a_quarter_of_the_crops_size(network):
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 128, 96)).shape == (1, 17, 32, 24)


def test_every_branch_reaches_the_output(network):
    # A branch wired to nowhere would leave its weights without influence.
    torch.manual_seed(1)
    trained = HRNet(32, 3).train()
    trained(torch.randn(2, 3, 64, 64)).square().mean().backward()
    still = [name for name, p in trained.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "downloaded.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch, blazepose_folder):
    """An empty cache but for BlazePose, which finds the people."""
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "blazepose").symlink_to(blazepose_folder)
    return tmp_path / "cache"


SETTINGS = DetectionSettings(detector=DetectorName.HRNET_W32, batch_frames=4, tile_levels=0)


def test_missing_weights_are_one_message_with_the_command(cache):
    with pytest.raises(WeightsError, match="weights are missing") as caught:
        make_detector(SETTINGS, CPU)
    assert "mocap models add hrnet_w32 FILE" in caught.value.hint
    assert "pose_hrnet_w32_256x192.pth" in caught.value.hint
    assert "https://" in caught.value.hint


def test_a_file_that_was_added_is_loaded_and_runs_on_a_video(cache, checkpoint, network, tmp_path):
    before = models.digest("hrnet_w32")
    check_weights("hrnet_w32", checkpoint, CPU)
    models.add("hrnet_w32", checkpoint)
    assert models.digest("hrnet_w32") != before
    loaded = crop_network(SETTINGS, CPU)
    state = network.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in loaded.network.state_dict().items())
    frame = np.full((240, 320, 3), 90, np.uint8)
    write_video(tmp_path / "cam.mp4", [frame] * 4, 30, (320, 240))
    found = detect_video(tmp_path / "cam.mp4", SETTINGS, CPU)
    assert found.joint_names == COCO_17.joints
    assert found.keypoints.shape == (1, 4, 1, 17, 2)


def test_changed_weights_are_noticed(cache, checkpoint):
    folder = models.add("hrnet_w32", checkpoint)
    file = folder / "pose_hrnet_w32_256x192.pth"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="damaged"):
        models.model_path("hrnet_w32")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("final_layer.weight"), ["1 missing: final_layer.weight"]),
        (lambda s: s.update({"head.weight": torch.zeros(1)}), ["1 unknown: head.weight"]),
        (
            lambda s: s.update({"conv1.weight": torch.zeros(64, 1, 3, 3)}),
            ["1 of another shape: conv1.weight (64, 1, 3, 3) instead of (64, 3, 3, 3)"],
        ),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_a_wrong_checkpoint_names_the_keys(network, tmp_path, change, named):
    state = dict(network.state_dict())
    change(state)
    torch.save(state, tmp_path / "x.pth")
    with torch.device("meta"):
        other = HRNet(32, 17)
    with pytest.raises(WeightsError, match="another network") as caught:
        load_strictly(other, tmp_path / "x.pth", add_command="mocap models add ...")
    assert all(n in caught.value.found for n in named)


def test_wrapped_checkpoints_and_files_that_are_none(network, tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}, "epoch": 3}, path)
    other = HRNet(32, 17)
    load_strictly(other, path, add_command="")
    assert torch.equal(other.conv1.weight, network.conv1.weight)
    path.write_bytes(b"<html>sign in to download</html>")
    with pytest.raises(WeightsError, match="not a PyTorch checkpoint"):
        load_strictly(other, path, add_command="")
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds no weights"):
        load_strictly(other, path, add_command="")


class Dots(torch.nn.Module):
    """Stands for a trained network: heatmap j peaks where channel j of the picture does."""

    def __init__(self, *, unbiased=False):
        super().__init__()
        self.unbiased = unbiased

    def forward(self, images):
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        pictures = images * std + mean
        if not self.unbiased:
            return pictures[..., ::4, ::4]
        size = (images.shape[2] // 4, images.shape[3] // 4)
        return torch.nn.functional.interpolate(pictures, size, mode="bilinear", align_corners=True)


MARKS = Skeleton("marks", ("red", "green", "blue"), (), ())


def dots(points, size=(480, 640), sigma=8.0):
    """A BGR picture with a soft red, green and blue dot at points [3, 2]."""
    y, x = np.mgrid[: size[0], : size[1]]
    d2 = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    return np.round(250 * np.exp(-d2 / (2 * sigma**2)))[..., ::-1].astype(np.uint8)


class NoFinder:
    def find(self, frame, windows, min_score):
        return windows, np.ones(len(windows))


@pytest.mark.parametrize("flip", [False, True], ids=["plain", "flip"])
@pytest.mark.parametrize("unbiased", [False, True], ids=["stride", "unbiased"])
def test_points_come_back_to_raw_pixels(flip, unbiased):
    truth = np.array([[300.3, 180.7], [341.9, 250.2], [280.4, 310.6]])
    network = HeatmapPose(
        Dots(unbiased=unbiased), CPU, (192, 256), DecoderSettings(), flip=flip, unbiased=unbiased, skeleton=MARKS
    )
    pipeline = TopDown(NoFinder(), network)
    region = np.array([[310.0, 240.0, 256.0, 0.0], [315.0, 236.0, 280.0, 0.0], [310.0, 240.0, 260.0, 0.12]])
    crops = np.stack([rg.crop(dots(truth), r, pipeline.crop_size) for r in region])
    poses = pipeline.estimate(crops, region)
    assert np.abs(poses.keypoints - truth).max() < 0.1
    assert (poses.confidence > 0.9).all()
    # A peak of the trained width is as sure as labels are: a quarter of it.
    assert (poses.uncertainty[0] < 4.0).all()


def test_every_decoder_works_in_the_pipeline():
    truth = np.array([[300.3, 180.7], [341.9, 250.2], [280.4, 310.6]])
    region = np.array([[310.0, 240.0, 256.0, 0.0]])
    for method in DecoderName:
        network = HeatmapPose(Dots(), CPU, (192, 256), DecoderSettings(method=method), flip=False, skeleton=MARKS)
        pipeline = TopDown(NoFinder(), network)
        poses = pipeline.estimate(rg.crop(dots(truth), region[0], 256)[None], region)
        assert np.abs(poses.keypoints[0] - truth).max() <= 2.6  # 0.5 of a cell of 4 px, and its rounding


def test_the_next_region_holds_the_person_with_a_margin():
    joints = np.array([[[100.0, 50.0], [140.0, 250.0], [120.0, 150.0], [400.0, 10.0]]])
    seen = np.array([[0.9, 0.8, 0.7, 0.05]])
    region = following_regions(joints, seen, np.array([[0, 0, 300.0, 0.3]]))[0]
    assert region[:2].tolist() == [120.0, 150.0]
    assert region[2] == pytest.approx(200 * 1.1 * 1.25)
    assert region[3] == 0
    lying = following_regions(joints[..., ::-1], seen, np.array([[0, 0, 300.0, 0.0]]))[0]
    assert lying[2] == pytest.approx(200 * 1.1 * 1.25 / 0.75)
    assert np.isnan(following_regions(joints, 0 * seen, np.array([[0, 0, 300.0, 0.0]]))).all()
