"""The detection stage on real footage and on videos without people."""

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mocap.detection.detector import joint_names, make_detector, weights_digest  # noqa: E402
from mocap.detection.merge import merge_cameras, merge_chunks  # noqa: E402
from mocap.detection.settings import DetectionSettings, DetectorName  # noqa: E402
from mocap.detection.stage import detect_video  # noqa: E402
from mocap.errors import SettingsError, VideoError  # noqa: E402
from mocap.skeleton import BLAZEPOSE_33  # noqa: E402
from mocap.video import read_frames, write_video  # noqa: E402

CPU = torch.device("cpu")
SETTINGS = DetectionSettings()


@pytest.fixture(scope="module")
def detector(blazepose_folder):
    return make_detector(SETTINGS, CPU)


@pytest.fixture(scope="module")
def views(capture, detector):
    paths = sorted(capture.glob("*.mp4"))
    return [detect_video(p, SETTINGS, CPU, range(40, 60), detector=detector) for p in paths]


def test_the_person_is_found_in_every_frame_of_every_view(views):
    # A bystander stands far back in two of the views: the first slot is the largest person's.
    merged = merge_cameras(views)
    assert merged.keypoints.shape[0] == 4
    assert merged.keypoints.shape[1] == 20
    actor = merged.keypoints[:, :, 0]
    assert np.isfinite(actor).all()
    assert (merged.confidence[:, :, 0] > 0).all()
    height = np.ptp(actor[..., 1], axis=2)
    assert (height > 500).all()
    assert merged.frames.tolist() == list(range(40, 60))
    assert merged.joint_names == BLAZEPOSE_33.joints
    assert merged.cameras == ("cam01", "cam02", "cam03", "cam04")


def test_joints_move_smoothly(views):
    # At 60 fps a person of 800 px does not accelerate by more than a few px per frame^2.
    for view in (views[0], views[2], views[3]):  # the second view has left/right flips
        body = view.keypoints[0, :, 0, 11:29]
        second = np.linalg.norm(body[2:] - 2 * body[1:-1] + body[:-2], axis=-1)
        assert np.median(second) < 6


def test_uncertainty_is_a_few_pixels_and_grows_for_hidden_joints(views):
    every = np.concatenate([v.uncertainty[0, :, 0].ravel() for v in views])
    sure = np.concatenate([v.confidence[0, :, 0].ravel() for v in views])
    assert 4 < np.median(every) < 15
    assert np.median(every[sure < 0.3]) > 1.3 * np.median(every[sure > 0.9])


def test_the_same_input_gives_the_same_bytes(capture, views, detector):
    again = detect_video(sorted(capture.glob("*.mp4"))[0], SETTINGS, CPU, range(40, 60), detector=detector)
    assert again.keypoints.tobytes() == views[0].keypoints.tobytes()
    assert again.confidence.tobytes() == views[0].confidence.tobytes()


def test_chunks_agree_with_the_whole(capture, views, detector):
    path = sorted(capture.glob("*.mp4"))[0]
    chunks = [detect_video(path, SETTINGS, CPU, r, detector=detector) for r in (range(40, 49), range(49, 60))]
    merged = merge_chunks(chunks)
    assert merged.frames.tolist() == views[0].frames.tolist()
    # Another region shifts joints a little, nothing more.
    difference = np.linalg.norm(merged.keypoints - views[0].keypoints, axis=-1)
    assert np.nanmedian(difference[:, :, 0]) < 5


def test_several_people_side_by_side(capture, detector, tmp_path):
    frames = [np.concatenate(list(read_frames(p, 0, 12)))[:, ::2, :1080:2] for p in sorted(capture.glob("*.mp4"))]
    row = np.concatenate(frames, axis=2)
    write_video(tmp_path / "row.mp4", row, 60, (row.shape[2], row.shape[1]))
    found = detect_video(tmp_path / "row.mp4", SETTINGS, CPU, detector=detector)
    # The four largest; two bystanders are in the picture as well.
    middle = found.keypoints[0, :, :4, [11, 12, 23, 24], 0].mean(0)  # [T, 4]
    assert np.isfinite(middle).all()
    columns = (middle // 540).astype(int)
    assert (columns == columns[0]).all()
    assert sorted(columns[0].tolist()) == [0, 1, 2, 3]


@pytest.fixture
def empty_scene(tmp_path):
    x = np.linspace(0, 200, 320, dtype=np.uint8)
    frame = np.repeat(np.repeat(x[None, :, None], 240, 0), 3, 2)
    write_video(tmp_path / "empty.mp4", [frame] * 20, 30, (320, 240))
    return tmp_path / "empty.mp4"


def test_nobody_in_the_video_is_one_empty_slot(empty_scene, detector):
    done = []
    found = detect_video(empty_scene, SETTINGS, CPU, None, done.append, camera="left", detector=detector)
    assert found.keypoints.shape == (1, 20, 1, 33, 2)
    assert np.isnan(found.keypoints).all()
    assert (found.confidence == 0).all()
    assert found.cameras == ("left",)
    assert sum(done) == 20
    assert max(done) <= SETTINGS.batch_frames


@pytest.mark.parametrize("frames", [range(0), range(0, 10, 2), range(15, 25)])
def test_frames_that_cannot_be_detected(empty_scene, detector, frames):
    with pytest.raises(VideoError):
        detect_video(empty_scene, SETTINGS, CPU, frames, detector=detector)


def test_a_failing_progress_does_not_hang_the_decoder(empty_scene, detector):
    def stop(_):
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        detect_video(empty_scene, SETTINGS, CPU, None, stop, detector=detector)
    assert time.monotonic() - began < 60


def test_names_and_digest_need_no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("MOCAP_CACHE", str(tmp_path))
    monkeypatch.setenv("MOCAP_OFFLINE", "1")
    assert joint_names(DetectorName.BLAZEPOSE) == BLAZEPOSE_33.joints
    assert len(weights_digest(DetectorName.BLAZEPOSE)) == 64


@pytest.mark.parametrize(
    "wrong",
    [{"detector": "openpose"}, {"max_people": 0}, {"person_score": 1.5}, {"search_interval_s": 0}, {"chunk_frames": 0},
     {"batch_frames": 0}, {"tile_levels": -1}, {"sharpness": float("nan")}],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(SettingsError, match=r"detect\."):
        DetectionSettings(**wrong)


def test_damaged_frames_are_missing_and_the_others_keep_their_numbers(capture, views, detector, tmp_path, caplog):
    av = pytest.importorskip("av")
    path = tmp_path / "cam01.mp4"
    frames = np.concatenate(list(read_frames(sorted(capture.glob("*.mp4"))[0], 40, 52)))[:, ::2, ::2]
    write_video(path, frames, 60, (frames.shape[2], frames.shape[1]))
    with av.open(str(path)) as file:
        packets = [(p.pos, p.size) for p in file.demux(file.streams.video[0]) if p.size]
    data = bytearray(path.read_bytes())
    at, size = packets[5]
    data[at : at + size] = bytes(size)
    path.write_bytes(bytes(data))
    found = detect_video(path, SETTINGS, CPU, detector=detector)
    assert found.frames.tolist() == list(range(12))
    assert np.isnan(found.keypoints[0, 5]).all()
    assert (found.confidence[0, 5] == 0).all()
    others = np.delete(np.arange(12), 5)
    assert np.isfinite(found.keypoints[0, others, 0]).all()
    # Where the same person is in the undamaged footage.
    shift = np.nanmedian(np.linalg.norm(2 * found.keypoints[0, others, 0] - views[0].keypoints[0, others, 0], axis=-1))
    assert shift < 12
    assert "1 damaged frames are skipped: 5" in caplog.text
