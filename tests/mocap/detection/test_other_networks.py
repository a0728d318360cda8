"""RTMPose from ONNX and ViTPose from transformers: decoding, loading, and refusing what does not fit.

The real weights cannot be had here: files of the same structure are made in the test.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap import models  # noqa: E402
from mocap.detection.decoders import DecoderSettings  # noqa: E402
from mocap.detection.detector import crop_network  # noqa: E402
from mocap.detection.heatmap_pose import HeatmapPose  # noqa: E402
from mocap.detection.settings import DetectionSettings, DetectorName  # noqa: E402
from mocap.detection.simcc import SimCCPose, decode_simcc  # noqa: E402
from mocap.errors import WeightsError  # noqa: E402
from mocap.skeleton import COCO_17, Skeleton  # noqa: E402

CPU = torch.device("cpu")
MARKS = Skeleton("marks", ("red", "green", "blue"), (), ())


def test_simcc_reads_half_pixels_and_the_lesser_score():
    bins_x, bins_y = np.arange(384), np.arange(512)
    x = 0.9 * np.exp(-((bins_x - 201) ** 2) / (2 * 5.66**2))[None, None]
    y = 0.6 * np.exp(-((bins_y - 300) ** 2) / (2 * 5.66**2))[None, None]
    points, score, spread = decode_simcc(x, y)
    assert points[0, 0].tolist() == [100.5, 150.0]
    assert score[0, 0] == pytest.approx(0.6)
    assert spread[0, 0] == pytest.approx(5.66 / 2, rel=0.08)


def rtmpose_like(path, joints, size=(192, 256), bins=2):
    """An ONNX file with RTMPose's inputs and outputs: joint j is where channel j sums up highest along an axis."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    width, height = size
    pick = np.arange(joints) % 3
    nodes, outputs = [], []
    for name, length in (("simcc_x", width), ("simcc_y", height)):
        nodes += [
            helper.make_node("ReduceMax", ["input", f"axis_{name}"], [f"max_{name}"], keepdims=0),
            helper.make_node("Gather", [f"max_{name}", "pick"], [f"joints_{name}"], axis=1),
            helper.make_node("Unsqueeze", [f"joints_{name}", "two"], [f"wide_{name}"]),
            helper.make_node("Resize", [f"wide_{name}", "", f"scale_{name}"], [f"fine_{name}"], mode="linear",
                             coordinate_transformation_mode="asymmetric"),
            helper.make_node("Squeeze", [f"fine_{name}", "two"], [name]),
        ]  # fmt: skip
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", joints, length * bins]))
    constants = [
        helper.make_tensor("pick", TensorProto.INT64, [joints], pick),
        helper.make_tensor("two", TensorProto.INT64, [1], [2]),
        *[helper.make_tensor(f"axis_{n}", TensorProto.INT64, [1], [a]) for n, a in (("simcc_x", 2), ("simcc_y", 3))],
        *[helper.make_tensor(f"scale_{n}", TensorProto.FLOAT, [4], [1, 1, 1, bins]) for n in ("simcc_x", "simcc_y")],
    ]
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, height, width])
    graph = helper.make_graph(nodes, "rtmpose", [entry], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path


@pytest.fixture
def onnx_file(tmp_path):
    pytest.importorskip("onnxruntime")
    return tmp_path / "download.onnx"


def test_points_of_an_onnx_network(onnx_file):
    rtmpose_like(onnx_file, 3)
    network = SimCCPose(onnx_file, CPU, (192, 256), MARKS, add_command="")
    pictures = np.zeros((2, 256, 192, 3), np.uint8)
    truth = np.array([[[40, 70], [100, 30], [150, 200]], [[10, 10], [180, 250], [90, 128]]])
    for n in range(2):
        for j, (x, y) in enumerate(truth[n]):
            pictures[n, y, x, j] = 255
    found = network(pictures)
    assert (found.points.numpy() == truth).all()
    assert torch.isfinite(found.sigma).all()
    assert network(pictures[1:]).points.numpy().tolist() == truth[1:].tolist()


def test_onnx_files_of_other_networks_are_refused(onnx_file):
    def opened():
        return SimCCPose(onnx_file, CPU, (192, 256), COCO_17, add_command="mocap models add rtmpose_m FILE")

    rtmpose_like(onnx_file, 26)
    with pytest.raises(WeightsError, match="another network") as caught:
        opened()
    assert "simcc_x ['N', 26, 384]" in caught.value.found
    onnx_file.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="not an ONNX network") as caught:
        opened()
    assert caught.value.hint == "mocap models add rtmpose_m FILE"


def test_rtmpose_is_a_registered_detector(onnx_file, tmp_path, monkeypatch):
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path / "cache"))
    models.add("rtmpose_m", rtmpose_like(onnx_file, 17))
    network = crop_network(DetectionSettings(detector=DetectorName.RTMPOSE_M), CPU)
    assert network(np.zeros((1, 256, 192, 3), np.uint8)).points.shape == (1, 17, 2)


@pytest.fixture(scope="module")
def vitpose_folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    backbone = transformers.VitPoseBackboneConfig(
        image_size=[256, 192], hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2
    )
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=17)
    torch.manual_seed(0)
    network = transformers.VitPoseForPoseEstimation(config).eval()
    folder = tmp_path_factory.mktemp("vitpose")
    network.save_pretrained(str(folder))
    return folder, network


def test_vitpose_from_a_folder(vitpose_folder, tmp_path, monkeypatch):
    folder, network = vitpose_folder
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path / "cache"))
    models.add("vitpose_b", folder)
    loaded = crop_network(DetectionSettings(detector=DetectorName.VITPOSE_B, flip_test=False), CPU)
    assert isinstance(loaded, HeatmapPose)
    assert loaded.unbiased
    values = torch.randn(2, 3, 256, 192, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(loaded.network(values), network(values).heatmaps, atol=1e-5)
    picture = np.random.default_rng(0).integers(0, 255, (2, 256, 192, 3), np.uint8)
    found = loaded(picture)
    assert found.points.shape == (2, 17, 2)
    assert torch.allclose(loaded(picture[:1]).points, found.points[:1], atol=1e-3)


def test_vitpose_folders_that_do_not_fit(vitpose_folder, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    from mocap.detection.vitpose import ViTPose

    folder, _ = vitpose_folder
    with pytest.raises(WeightsError, match="not a folder of VitPose"):
        ViTPose(tmp_path, (192, 256), 17, add_command="")
    with pytest.raises(WeightsError, match="other crops or joints"):
        ViTPose(folder, (288, 384), 17, add_command="")
    state = safetensors.load_file(folder / "model.safetensors")
    gone = sorted(state)[0]
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    safetensors.save_file({k: v for k, v in state.items() if k != gone}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="another network") as caught:
        ViTPose(tmp_path, (192, 256), 17, add_command="")
    assert f"1 missing: {gone}" in caught.value.found


def test_soft_decoding_is_passed_on(vitpose_folder):
    _, network = vitpose_folder

    class Heatmaps(torch.nn.Module):
        def forward(self, images):
            return network(images).heatmaps

    pictures = np.random.default_rng(1).integers(0, 255, (1, 256, 192, 3), np.uint8)
    results = {
        m: HeatmapPose(Heatmaps(), CPU, (192, 256), DecoderSettings(method=m), flip=True, unbiased=True)(pictures)
        for m in list(type(DecoderSettings().method))
    }
    assert len({tuple(r.points.flatten().tolist()) for r in results.values()}) == len(results)
