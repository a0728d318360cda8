"""The torch networks against the TFLite runtime, and the importer's pieces against NumPy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap.detection import blazepose, ssd  # noqa: E402
from mocap.detection import regions as rg  # noqa: E402
from mocap.detection.tflite_graph import Activation, Conv, Graph, Operator, Pad, read_graph  # noqa: E402
from mocap.detection.tflite_torch import TFLiteNetwork  # noqa: E402
from mocap.errors import WeightsError  # noqa: E402
from mocap.models import BLAZEPOSE_DETECTOR, BLAZEPOSE_LANDMARKS  # noqa: E402
from mocap.video import read_frames  # noqa: E402

CPU = torch.device("cpu")


def reference(path, images, outputs):
    """Outputs of the TFLite runtime, image by image."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    runtime = litert.Interpreter(str(path), num_threads=1)
    runtime.allocate_tensors()
    where = {d["name"]: d["index"] for d in runtime.get_output_details()}
    results = []
    for image in images:
        runtime.set_tensor(runtime.get_input_details()[0]["index"], image[None])
        runtime.invoke()
        results.append([runtime.get_tensor(where[name])[0].copy() for name in outputs])
    return [np.stack(r) for r in zip(*results, strict=True)]


def smooth_noise(n, size, seed=0):
    """Images with structure at every scale."""
    rng = np.random.default_rng(seed)
    image = np.zeros((n, size, size, 3), np.float32)
    for cells in (2, 8, 32, size // 2):
        coarse = rng.uniform(0, 1, (n, cells, cells, 3)).astype(np.float32)
        index = np.arange(size) * cells // size
        image += coarse[:, index][:, :, index] / 4
    return image


@pytest.fixture(scope="module")
def real_crops(capture):
    """Crops of the real capture round the person, with their regions."""
    crops, regions = [], []
    for k, path in enumerate(sorted(capture.glob("*.mp4"))):
        frame = next(read_frames(path, 10 * k, 10 * k + 1))[0]
        for size, angle in ((1100.0, 0.0), (1300.0, 0.2), (900.0, -0.3)):
            region = np.array([450.0 + 20 * k, 850.0, size, angle])
            crops.append(rg.crop(frame, region, 256))
            regions.append(region)
    return np.stack(crops), np.stack(regions)


def test_landmark_network_on_noise(blazepose_folder):
    names = ("Identity", "Identity_1", "Identity_3")
    path = blazepose_folder / BLAZEPOSE_LANDMARKS.name
    images = smooth_noise(3, 256)
    network = TFLiteNetwork(read_graph(path, names))
    with torch.inference_mode():
        outputs = [o.numpy() for o in network(torch.from_numpy(images))]
    for ours, theirs in zip(outputs, reference(path, images, names), strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-4 * max(1.0, np.abs(theirs).max())


def test_person_finder_on_noise(blazepose_folder):
    names = ("Identity", "Identity_1")
    path = blazepose_folder / BLAZEPOSE_DETECTOR.name
    images = smooth_noise(3, 224) * 2 - 1
    network = TFLiteNetwork(read_graph(path, names))
    with torch.inference_mode():
        ours = [o.numpy() for o in network(torch.from_numpy(images))]
    theirs = reference(path, images, names)
    points, scores = ssd.decode(*ours, ssd.anchors())
    their_points, their_scores = ssd.decode(*theirs, ssd.anchors())
    assert np.abs(scores - their_scores).max() < 1e-4
    assert np.abs(points - their_points).max() * 224 < 0.003


def test_real_crops_agree_to_thousandths_of_an_image_pixel(blazepose_folder, real_crops):
    crops, regions = real_crops
    path = blazepose_folder / BLAZEPOSE_LANDMARKS.name
    network = blazepose.BlazePose(blazepose_folder, CPU)
    poses = network.estimate(crops, regions)
    images = crops[..., ::-1].astype(np.float32) / 255
    theirs = reference(path, images, ("Identity", "Identity_1", "Identity_3"))

    class Runtime:
        def __call__(self, _):
            return tuple(torch.from_numpy(t) for t in theirs)

    network.landmarks = Runtime()
    other = network.estimate(crops, regions)
    assert (poses.score > 0.9).sum() >= 8
    good = poses.score > 0.5
    assert np.linalg.norm(poses.keypoints - other.keypoints, axis=-1)[good].max() < 0.003
    assert np.abs(poses.confidence - other.confidence).max() < 1e-4
    assert np.abs(poses.score - other.score).max() < 1e-4


def test_the_batch_does_not_matter(blazepose_folder):
    network = TFLiteNetwork(read_graph(blazepose_folder / BLAZEPOSE_LANDMARKS.name, ("Identity",)))
    images = torch.from_numpy(smooth_noise(5, 256, seed=2))
    with torch.inference_mode():
        together = network(images)[0]
        alone = torch.cat([network(images[k : k + 1])[0] for k in range(5)])
    assert (together - alone).abs().max() < 1e-3


def test_refinement_has_no_bias_between_left_and_right(blazepose_folder, real_crops):
    # On the mirrored crop the joints must come out mirrored: a wrong idea of where pixel centres are
    # would show as a shift of the same sign in both.
    crops, _ = real_crops
    network = blazepose.BlazePose(blazepose_folder, CPU)
    upright = np.tile([127.5, 127.5, 256.0, 0.0], (len(crops), 1))
    straight = network.estimate(crops, upright)
    mirrored = network.estimate(crops[:, :, ::-1], upright)
    partner = network.skeleton.mirror
    there = mirrored.keypoints[:, partner]
    same = (np.abs(straight.keypoints[..., 1] - there[..., 1]) < 4) & (straight.score > 0.9)[:, None]
    total = (straight.keypoints[..., 0] + there[..., 0])[same]
    close = np.abs(total - 255) < 8
    assert close.sum() > 100
    assert abs(np.median(total[close]) - 255) < 0.25


def conv(same, kernel, stride, depthwise, rng, channels=4):
    outputs = channels if depthwise else 6
    weight = rng.normal(size=(outputs, 1 if depthwise else channels, kernel, kernel)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    return Conv(weight, bias, (stride, stride), same, depthwise, Activation.RELU6)


def convolve(image, kind, padding):
    """Direct convolution of [H, W, C] in NumPy."""
    image = np.pad(image, (*padding, (0, 0)))
    kernel, stride = kind.weight.shape[2], kind.stride[0]
    rows, columns = ((n - kernel) // stride + 1 for n in image.shape[:2])
    out = np.zeros((rows, columns, len(kind.bias)))
    for y in range(rows):
        for x in range(columns):
            window = image[y * stride : y * stride + kernel, x * stride : x * stride + kernel]
            if kind.depthwise:
                out[y, x] = np.einsum("hwc,chw->c", window, kind.weight[:, 0]) + kind.bias
            else:
                out[y, x] = np.einsum("hwc,ochw->o", window, kind.weight) + kind.bias
    return np.clip(out, 0, 6)


@pytest.mark.parametrize("length", [7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (2, 2)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_same_padding_puts_the_odd_pixel_behind(length, kernel, stride, depthwise):
    rng = np.random.default_rng(kernel * 10 + stride)
    kind = conv(True, kernel, stride, depthwise, rng)
    image = rng.normal(size=(length, length, 4)).astype(np.float32)
    graph = Graph((Operator(kind, (0,), 1),), 0, (1, length, length, 4), (1,))
    ours = TFLiteNetwork(graph)(torch.from_numpy(image[None]))[0][0].numpy()
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    expected = convolve(image, kind, ((total // 2, total - total // 2),) * 2)
    assert np.allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("amounts", [((0, 0), (1, 1), (2, 2), (0, 0)), ((0, 0), (0, 1), (2, 0), (0, 0))])
def test_padding_in_front_of_a_convolution(amounts):
    rng = np.random.default_rng(5)
    kind = conv(False, 3, 2, False, rng)
    image = rng.normal(size=(8, 8, 4)).astype(np.float32)
    graph = Graph((Operator(Pad(amounts), (0,), 1), Operator(kind, (1,), 2)), 0, (1, 8, 8, 4), (2,))
    ours = TFLiteNetwork(graph)(torch.from_numpy(image[None]))[0][0].numpy()
    assert np.allclose(ours, convolve(image, kind, amounts[1:3]), atol=1e-4)


def test_files_that_are_no_networks(tmp_path):
    path = tmp_path / "x.tflite"
    with pytest.raises(WeightsError, match="cannot read"):
        read_graph(path, ("Identity",))
    path.write_bytes(b"something else entirely")
    with pytest.raises(WeightsError, match="not a TFLite"):
        read_graph(path, ("Identity",))


def test_unknown_outputs_are_named(blazepose_folder):
    with pytest.raises(WeightsError, match="lacks an output"):
        read_graph(blazepose_folder / BLAZEPOSE_DETECTOR.name, ("Nothing",))


def test_fused_convolutions_and_small_batches_change_nothing(blazepose_folder, monkeypatch):
    from mocap.detection import tflite_torch

    network = TFLiteNetwork(read_graph(blazepose_folder / BLAZEPOSE_LANDMARKS.name, ("Identity",)))
    images = torch.from_numpy(smooth_noise(6, 256, seed=3))
    with torch.inference_mode():
        fast = network(images)[0]
        monkeypatch.setattr(tflite_torch, "fused_convolutions", lambda: False)
        monkeypatch.setattr(tflite_torch, "_CPU_BATCH", 100)
        plain = network(images)[0]
    assert fast.shape == plain.shape
    # The first 39 x 5 values: x, y, z in crop px, two logits.
    assert (fast - plain).abs().reshape(6, -1, 5)[..., :2].max() < 1e-2


def test_turning_the_picture_turns_the_joints_within_the_stated_uncertainty(blazepose_folder, capture):
    # The same person in crops turned by ten degrees either way: in the picture the joints must stay.
    network = blazepose.BlazePose(blazepose_folder, CPU)
    ratios = []
    for path in sorted(capture.glob("*.mp4")):
        frame = next(read_frames(path, 45, 46))[0]
        found, _ = network.find(frame, rg.search_windows(*frame.shape[1::-1], 1), 0.5)
        first = network.estimate(rg.crop(frame, found[0], 256)[None], found[:1])
        regions = np.repeat(first.regions, 3, axis=0) + np.array([[0, 0, 0, a] for a in (-0.175, 0.0, 0.175)])
        poses = network.estimate(np.stack([rg.crop(frame, r, 256) for r in regions]), regions)
        assert (poses.score > 0.9).all()
        moved = np.linalg.norm(poses.keypoints[[0, 2]] - poses.keypoints[1], axis=-1)
        ratios.append((moved / np.sqrt(poses.uncertainty[[0, 2]] ** 2 + poses.uncertainty[1] ** 2)).ravel())
    # Errors of this size in two independent looks would give a median of sqrt(2 ln 2).
    assert np.median(np.concatenate(ratios)) < np.sqrt(2 * np.log(2))
