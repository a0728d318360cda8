"""Person finders that draw boxes (YOLOX, RT-DETR) and RTMO: decoding, geometry, loading, refusing.

The real weights cannot be had here: files of the same inputs and outputs are made in the test.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap import models  # noqa: E402
from mocap.detection import regions as rg  # noqa: E402
from mocap.detection.boxes import RTDETR, YOLOX, BoxFinder, box_regions, decode_grid, suppress  # noqa: E402
from mocap.detection.detector import check_weights, make_detector, person_finder, picture_network  # noqa: E402
from mocap.detection.rtmo import RTMO  # noqa: E402
from mocap.detection.settings import DetectionSettings, DetectorName, FinderName  # noqa: E402
from mocap.errors import SettingsError, WeightsError  # noqa: E402
from mocap.metrics.keypoints2d import COCO_SIGMAS  # noqa: E402

CPU = torch.device("cpu")
SIZE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2


def constant_network(path, outputs, size=SIZE):
    """An ONNX file that takes pictures and gives fixed outputs, plus the picture's mean colour in their corner."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    nodes, ends = [helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0)], []
    nodes += [helper.make_node("Mul", ["mean", "zero"], ["nothing"])]
    initial = [numpy_helper.from_array(np.array(0, np.float32), "zero")]
    for k, value in enumerate(outputs):
        initial.append(numpy_helper.from_array(value, f"value{k}"))
        if value.dtype == np.float32:
            nodes.append(helper.make_node("Add", [f"value{k}", "nothing"], [f"out{k}"]))
        else:
            nodes.append(helper.make_node("Identity", [f"value{k}"], [f"out{k}"]))
        kind = TensorProto.FLOAT if value.dtype == np.float32 else TensorProto.INT64
        ends.append(helper.make_tensor_value_info(f"out{k}", kind, list(value.shape)))
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, size, size])
    graph = helper.make_graph(nodes, "boxes", [entry], ends, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def raw_grid(boxes, scores, size=SIZE, cells=CELLS):
    """YOLOX's raw output [1, cells, 85] that says boxes [m, 4] with scores [m], each twice, written down by hand."""
    grid = np.zeros((1, cells, 85), np.float32)
    for k, ((left, top, right, bottom), score) in enumerate(zip(boxes, scores, strict=True)):
        for stride, first in ((8, 0), (16, (size // 8) ** 2)):
            n = size // stride
            x, y = int((left + right) / 2 // stride), int((top + bottom) / 2 // stride)
            cell = grid[0, first + y * n + x]
            cell[:2] = (left + right) / 2 / stride - x, (top + bottom) / 2 / stride - y
            cell[2:4] = np.log((right - left) / stride), np.log((bottom - top) / stride)
            cell[4], cell[5 + (60 if k == 2 else 0)] = score, 0.9 if stride == 8 else 0.8
    return grid


BOXES = np.array([[6.0, 5.0, 20.0, 50.0], [30.0, 20.0, 44.0, 60.0], [40.0, 2.0, 60.0, 22.0]])


def test_yoloxs_raw_grid_is_decoded():
    boxes, scores = decode_grid(raw_grid(BOXES, [1.0, 0.7, 1.0])[0].astype(float), SIZE)
    best = np.argsort(-scores, kind="stable")[:4]
    kept = best[suppress(boxes[best], scores[best], 0.45)]
    np.testing.assert_allclose(boxes[kept], BOXES[:2], atol=1e-5)  # the third is no person
    np.testing.assert_allclose(scores[kept], [0.9, 0.63], rtol=1e-6)


@pytest.mark.parametrize("kind", ["raw", "finished", "with labels"])
def test_yolox_files_of_every_kind(tmp_path, kind):
    dets = np.hstack([BOXES, [[0.9], [0.63], [0.9]]]).astype(np.float32)[None]
    outputs = {
        "raw": [raw_grid(BOXES, [1.0, 0.7, 1.0])],
        "finished": [dets[:, :2]],
        "with labels": [dets, np.array([[0, 0, 60]])],
    }[kind]
    network = YOLOX(constant_network(tmp_path / "y.onnx", outputs), CPU, SIZE, add_command="")
    people = network(np.zeros((2, SIZE, SIZE, 3), np.uint8), 0.5)
    assert len(people) == 2
    for boxes, scores in people:
        np.testing.assert_allclose(boxes, BOXES[:2], atol=1e-4)
        np.testing.assert_allclose(scores, [0.9, 0.63], rtol=1e-5)
    assert len(network(np.zeros((1, SIZE, SIZE, 3), np.uint8), 0.7)[0][0]) == 1


def test_onnx_files_of_other_networks_are_refused(tmp_path):
    wrong = constant_network(tmp_path / "w.onnx", [np.zeros((1, 10, 85), np.float32)])
    with pytest.raises(WeightsError, match="another network"):
        YOLOX(wrong, CPU, SIZE, add_command="")
    with pytest.raises(WeightsError, match="another network") as caught:
        RTMO(wrong, CPU, SIZE, add_command="mocap models add rtmo_m FILE")
    assert caught.value.hint == "mocap models add rtmo_m FILE"
    with pytest.raises(WeightsError, match="another network") as caught:
        YOLOX(wrong, CPU, 2 * SIZE, add_command="")
    assert "input [1, 3, 64, 64]" in caught.value.found


class Bright:
    """Stands for a trained network: a box round what is bright."""

    size, fill = 64, 0

    def __call__(self, crops, min_score):
        people = []
        for crop in crops:
            rows, columns = np.nonzero(crop[..., 0] > 100)
            box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else np.zeros((0, 4))
            people.append((np.array(box, float), np.full(len(box), 0.8)))
        return people


def test_boxes_come_back_to_raw_pixels_and_parts_of_people_are_left_to_other_windows():
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[100:400, 300:400] = 255  # in pixels: 300 .. 399, 100 .. 399
    finder = BoxFinder(Bright())
    whole = np.array([[319.5, 239.5, 640.0, 0.0]])
    regions, scores = finder.find(frame, whole, 0.5)
    assert scores.tolist() == [0.8]
    np.testing.assert_allclose(regions[0], [349.5, 249.5, 300 * 1.25, 0], atol=12)  # 10 px per crop pixel
    # A window that cuts the person says nothing, one more that has all of it nothing new.
    cut = np.array([[319.5, 100.0, 240.0, 0.0]])
    assert len(finder.find(frame, cut, 0.5)[0]) == 0
    assert len(finder.find(frame, np.concatenate([whole, cut, [[349.5, 249.5, 400.0, 0.0]]]), 0.5)[0]) == 1
    # Somebody whom the picture's edge cuts is all that is to be had.
    frame[:] = 0
    frame[300:480, 0:100] = 255
    assert len(finder.find(frame, whole, 0.5)[0]) == 1
    assert finder.find(np.zeros_like(frame), whole, 0.5)[0].shape == (0, 4)


class Fixed(Bright):
    """Finds one box, whatever the picture."""

    size = 640

    def __init__(self, box):
        self.box = np.array([box], float)

    def __call__(self, crops, min_score):
        return [(self.box, np.array([0.8]))] * len(crops)


@pytest.mark.parametrize("box", [[2, 200, 60, 400], [580, 200, 638, 400]], ids=["left", "right"])
def test_in_large_video_people_beside_the_pictures_border_are_found(box):
    finder, frame = BoxFinder(Fixed(box)), np.zeros((2160, 3840, 3), np.uint8)
    whole = np.array([1919.5, 1079.5, 3840.0, 0.0])  # 6 px per crop pixel: the box ends 12 px off the border
    assert len(finder.find(frame, whole[None], 0.5)[0]) == 1
    # The same box in a window whose edges are inside the picture is a part of somebody.
    assert len(finder.find(frame, np.array([[1919.5, 1079.5, 1920.0, 0.0]]), 0.5)[0]) == 0


def test_regions_round_boxes_hold_a_crop_of_three_by_four():
    regions = box_regions(np.array([[0.0, 0, 100, 200], [0, 0, 300, 100]]))
    np.testing.assert_allclose(regions, [[50, 100, 250, 0], [150, 50, 500, 0]])


def test_of_overlapping_boxes_the_best_stays():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10], [30, 30, 40, 40]])
    assert suppress(boxes, np.array([0.5, 0.9, 0.7, 0.1]), 0.45).tolist() == [1, 2, 3]
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.fixture(scope="module")
def rtdetr_folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrConfig(
        backbone_config=backbone, encoder_in_channels=[8, 16, 16], encoder_hidden_dim=16, d_model=16, num_queries=20,
        encoder_ffn_dim=32, decoder_ffn_dim=32, decoder_layers=1, encoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, decoder_in_channels=[16, 16, 16], num_denoising=0, num_labels=3,
        id2label={0: "chair", 1: "person", 2: "dog"}, label2id={"chair": 0, "person": 1, "dog": 2},
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.RTDetrForObjectDetection(config).eval()
    folder = tmp_path_factory.mktemp("rtdetr")
    network.save_pretrained(str(folder))
    return folder, network


def test_rtdetr_gives_what_transformers_own_processing_gives(rtdetr_folder):
    from transformers import RTDetrImageProcessorPil

    folder, reference = rtdetr_folder
    ours = RTDETR(folder, CPU, 128, add_command="")
    crops = np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), np.uint8)
    processor = RTDetrImageProcessorPil(size={"height": 128, "width": 128})
    inputs = processor(images=[c[..., ::-1] for c in crops], return_tensors="pt", input_data_format="channels_last")
    with torch.inference_mode():
        expected = processor.post_process_object_detection(
            reference(**inputs), threshold=0.0, target_sizes=[(128, 128)] * 2
        )
    for (boxes, scores), one in zip(ours(crops, 0.0), expected, strict=True):
        people = one["labels"] == 1
        told = scores > one["scores"].min().item() + 1e-4  # theirs keeps as many boxes as there are queries
        assert told.any()
        for box, score in zip(boxes[told], scores[told], strict=True):
            off = np.abs(one["boxes"][people].numpy() - box).max(1)
            assert off.min() < 1e-2
            assert abs(one["scores"][people].numpy()[off.argmin()] - score) < 1e-4


def test_rtdetr_folders_that_do_not_fit(rtdetr_folder, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    folder, network = rtdetr_folder
    with pytest.raises(WeightsError, match="not a folder of RTDetr"):
        RTDETR(tmp_path, CPU, 128, add_command="")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text().replace('"person"', '"cat"'))
    safetensors.save_file(dict(network.state_dict()), str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="does not find people"):
        RTDETR(tmp_path, CPU, 128, add_command="")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_rtdetr_folders_are_checked(rtdetr_folder):
    check_weights("rtdetr_r50", rtdetr_folder[0], CPU)


def test_finders_are_settings_and_their_files_are_checked(cache, tmp_path):
    settings = DetectionSettings(finder=FinderName.YOLOX_M)
    with pytest.raises(WeightsError, match="missing") as caught:
        person_finder(settings, CPU)
    assert "mocap models add yolox_m FILE" in caught.value.hint
    file = constant_network(tmp_path / "y.onnx", [np.array([[[10, 20, 110, 220, 0.9]]], np.float32)], 640)
    check_weights("yolox_m", file, CPU)
    models.add("yolox_m", file)
    regions, _ = person_finder(settings, CPU).find(
        np.zeros((640, 640, 3), np.uint8), np.array([[319.5, 319.5, 640.0, 0.0]]), 0.5
    )
    np.testing.assert_allclose(regions, [[59.5, 119.5, 250, 0]], atol=1e-3)
    with pytest.raises(SettingsError, match="unknown person finder"):
        DetectionSettings(finder="yolo")


def test_rtmo_gives_people_in_raw_pixels(cache, tmp_path):
    rng = np.random.default_rng(0)
    boxes = np.array([[[100, 50, 200, 350, 0.9], [102, 52, 201, 349, 0.6], [300, 100, 380, 340, 0.8]]], np.float32)
    joints = rng.uniform(50, 350, (1, 3, 17, 3)).astype(np.float32)
    joints[..., 2] = rng.uniform(0.5, 0.9, (1, 3, 17))
    file = constant_network(tmp_path / "r.onnx", [boxes, joints], 640)
    network = picture_network(DetectionSettings(detector=DetectorName.RTMO_M), CPU, file)
    found = network(np.zeros((2, 720, 1280, 3), np.uint8))  # scaled by a half
    assert found.points.shape == (2, 2, 17, 2)
    np.testing.assert_allclose(found.points[1], (joints[0, [0, 2], :, :2] + 0.5) * 2 - 0.5, rtol=1e-5)
    np.testing.assert_allclose(found.score[0], joints[0, [0, 2], :, 2])
    np.testing.assert_allclose(found.sigma[0, 0], 2 * np.sqrt(100 * 300) * COCO_SIGMAS)
    models.add("rtmo_m", file)
    people = make_detector(DetectionSettings(detector=DetectorName.RTMO_M), CPU).detect(
        np.zeros((1, 720, 1280, 3), np.uint8)
    )
    assert np.isfinite(people.keypoints[0, :2]).all()
    assert np.isnan(people.keypoints[0, 2:]).all()


def test_a_region_of_a_box_is_the_crop_a_pose_network_sees():
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[100:400, 300:400] = 255
    crop = rg.crop(frame, box_regions(np.array([[299.5, 99.5, 399.5, 399.5]]))[0], 256)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    assert (rows.min(), rows.max()) == pytest.approx((25.6, 229.4), abs=1)
    assert columns.max() - columns.min() == pytest.approx(256 / 1.25 / 3, abs=1.5)
