"""Footage on disk: layout, times, refusals; and calibration from rendered images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from calibration.board_detection import BoardDetector
from calibration.board_symmetry import agree_on_orientation
from calibration.collect import CollectSettings, collect
from calibration.errors import CalibrationError
from calibration.footage import camera_name, open_footage
from calibration.footage_calibration import FootageSettings, calibrate_footage
from calibration.frame_selection import coverage_cells, select_poses
from calibration.observations import TargetObservations
from calibration.plots import draw_calibration
from calibration.targets import BoardDefinition, TargetKind
from calibration.transforms import RigidTransform
from calibration.wand_tracks import read_tracks

BOARD = BoardDefinition(TargetKind.CHARUCO, 5, 4, 0.12, 0.09, "DICT_4X4_50")
SYMMETRIC = BoardDefinition(TargetKind.CHESSBOARD, 7, 5, 0.1)
N = 10


@pytest.fixture(scope="module")
def filmed(tmp_path_factory, render, small_rig, board_poses):
    """Images of the board, a folder per camera; the last pose lies about in front of the cameras."""
    folder = tmp_path_factory.mktemp("footage")
    poses = board_poses(BOARD, N, seed=5, spread=0.2)
    for camera in small_rig.cameras:
        (folder / camera.name).mkdir()
        for k in range(N):
            image = render(BOARD, camera, RigidTransform(poses.R[k], poses.t[k]))
            cv2.imwrite(str(folder / camera.name / f"{k:03d}.png"), image)
    (folder / "notes.txt").write_text("ignored")
    return folder, poses


def test_a_rig_from_images(filmed, small_rig):
    folder, poses = filmed
    result = calibrate_footage(folder, BOARD, FootageSettings(floor_frame=4))
    quality = result.report.quality
    assert result.rig.names == small_rig.names
    assert "frame 4" in result.rig.world_source
    assert quality.rms_px < 0.5
    assert abs(quality.scale.mean_error_mm) < 0.3
    # The board of frame 4 is the world: z towards the cameras, x along its rows.
    world_from_board = RigidTransform(poses.R[4], poses.t[4])
    truth = world_from_board.inverse().apply(small_rig.centres) * [1, -1, -1]
    np.testing.assert_allclose(result.rig.centres, truth, atol=0.03)
    assert (result.rig.centres[:, 2] > 0).all()
    for found, camera in zip(result.rig.cameras, small_rig.cameras, strict=True):
        assert found.K[0, 0] == pytest.approx(camera.K[0, 0], rel=0.02)
    pictures = draw_calibration(result)
    assert set(pictures) == {"cam_0.png", "cam_1.png", "cam_2.png", "rig_from_above.png"}
    assert all(cv2.imdecode(np.frombuffer(p, np.uint8), 1) is not None for p in pictures.values())


def test_intrinsics_alone_say_so(filmed, small_rig):
    result = calibrate_footage(filmed[0], BOARD, FootageSettings(intrinsics_only=True))
    assert not result.report.poses
    assert "places are NOT" in result.report.to_text()
    for found, camera in zip(result.rig.cameras, small_rig.cameras, strict=True):
        assert found.K[0, 0] == pytest.approx(camera.K[0, 0], rel=0.03)


def test_a_frame_without_the_board_is_no_floor(filmed):
    with pytest.raises(CalibrationError, match="nearest frame that was solved: 9"):
        calibrate_footage(filmed[0], BOARD, FootageSettings(floor_frame=99))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dictionary": "DICT_6X6_250"}, "markers of DICT_4X4_50, "),
        ({"columns": 4, "rows": 5}, "cam_"),
    ],
)
def test_another_board_is_named(filmed, changes, said):
    values = {"kind": BOARD.kind, "columns": 5, "rows": 4, "square_m": 0.12, "marker_m": 0.09,
              "dictionary": "DICT_4X4_50", **changes}  # fmt: skip
    with pytest.raises(CalibrationError, match=said) as raised:
        collect(open_footage(filmed[0]), BoardDefinition(**values))
    assert str(filmed[0]) in str(raised.value)
    assert "cam_" in str(raised.value)


def _image(path, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0]), 120, np.uint8))


def test_layouts_and_names(tmp_path):
    for k in (2, 10, 1):
        _image(tmp_path / "intrinsics" / "int_cam01_img" / f"cam01_{k:02d}_int.jpg")
    _image(tmp_path / "extrinsics" / "cam01_ext.png")
    footage = open_footage(tmp_path)
    assert footage.cameras == ("cam01",)
    assert footage.alone[0].numbers == (1, 2, 10)
    assert footage.shared[0].n_frames == 1
    assert camera_name(tmp_path / "cam_0.mp4") == "cam_0"


def test_mixed_resolutions_are_refused(tmp_path):
    _image(tmp_path / "intrinsics" / "cam1" / "1.png", (64, 48))
    _image(tmp_path / "extrinsics" / "cam1" / "1.png", (48, 64))
    with pytest.raises(CalibrationError, match=r"camera cam1 was filmed in two resolutions .turned by 90"):
        open_footage(tmp_path)
    _image(tmp_path / "b" / "cam1" / "1.png", (64, 48))
    _image(tmp_path / "b" / "cam1" / "2.png", (32, 24))
    with pytest.raises(CalibrationError, match=r"different sizes") as raised:
        collect(open_footage(tmp_path / "b"), BOARD)
    assert "2.png" in str(raised.value)


def test_empty_footage_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="no calibration footage"):
        open_footage(tmp_path)
    (tmp_path / "cam_7.mp4").touch()
    with pytest.raises(CalibrationError, match="video of camera cam_7 has no frame") as raised:
        open_footage(tmp_path)
    assert "cam_7.mp4" in str(raised.value)


def test_a_board_never_seen_is_named(tmp_path):
    _image(tmp_path / "left" / "1.png", (320, 240))
    _image(tmp_path / "right" / "1.png", (320, 240))
    with pytest.raises(CalibrationError, match="camera left never shows the board"):
        collect(open_footage(tmp_path), BOARD)


def test_a_vain_search_is_over_soon(tmp_path):
    """Hundreds of frames without a board: a glimpse decides, the search is not begun."""
    _image(tmp_path / "left" / "0.png")
    for camera in ("left", "right"):
        for k in range(200):
            (tmp_path / camera).mkdir(exist_ok=True)
            if not (tmp_path / camera / f"{k}.png").exists():
                (tmp_path / camera / f"{k}.png").symlink_to(tmp_path / "left" / "0.png")
    said: list[tuple[str, int, int]] = []
    with pytest.raises(CalibrationError, match=r"no camera shows the board") as raised:
        collect(open_footage(tmp_path), BOARD, progress=lambda *step: said.append(step))
    assert "60 images of each camera" in str(raised.value)
    assert said == []


def test_progress_is_told_of_every_camera(filmed):
    said: list[tuple[str, int, int]] = []
    collect(open_footage(filmed[0]), BOARD, progress=lambda *step: said.append(step))
    assert [s for s in said if s[1] == 0] == [(f"cam_{c}", 0, N) for c in range(3)]
    for c in range(3):
        assert [n for name, n, total in said if name == f"cam_{c}" and total == N] == list(range(N + 1))


def test_one_camera_alone_has_no_place(filmed, tmp_path):
    (tmp_path / "cam_0").symlink_to(filmed[0] / "cam_0")
    with pytest.raises(CalibrationError, match="one camera alone") as raised:
        calibrate_footage(tmp_path, BOARD)
    assert "--intrinsics-only" in str(raised.value)
    assert not calibrate_footage(tmp_path, BOARD, FootageSettings(intrinsics_only=True)).report.poses


def test_offsets_move_frames_to_common_time(tmp_path):
    for c in (0, 1):
        for k in range(3):
            _image(tmp_path / f"cam_{c}" / f"{k}.png")
    # Images have no rate: one a second. Camera 1 stamps 2.25 s too early.
    (tmp_path / "offsets.toml").write_text("[offsets_s]\ncam_1 = 2.25\n")
    footage = open_footage(tmp_path)
    assert footage.instants["cam_0"].tolist() == [0, 1, 2]
    assert footage.instants["cam_1"].tolist() == [2, 3, 4]
    np.testing.assert_allclose(footage.frame_times["cam_1"], [2.25, 3.25, 4.25])
    (tmp_path / "offsets.toml").write_text("[offsets_s]\ncam_9 = 1\n")
    with pytest.raises(CalibrationError, match="offsets do not fit"):
        open_footage(tmp_path)


def test_timestamps_pair_frames(tmp_path):
    for c in (0, 1):
        for k in range(3):
            _image(tmp_path / f"cam_{c}" / f"{k}.png")
    # Camera 1 started a frame later; its numbers count from where the recorder's clock was.
    rows = [(10 + k, 0, k, 5.0 + 0.1 * k) for k in range(3)] + [(11 + k, 1, 7 + k, 5.1 + 0.1 * k) for k in range(3)]
    text = "sync_index,cam_id,frame_index,frame_time\n" + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in rows)
    (tmp_path / "timestamps.csv").write_text(text)
    footage = open_footage(tmp_path)
    assert footage.instants["cam_0"].tolist() == [10, 11, 12]
    assert footage.instants["cam_1"].tolist() == [11, 12, 13]
    np.testing.assert_allclose(footage.frame_times["cam_1"], [5.1, 5.2, 5.3])
    # Offsets come on top: camera 1 stamped two frames (0.19 s) too late.
    (tmp_path / "offsets.toml").write_text("[offsets_s]\ncam_1 = -0.19\n")
    corrected = open_footage(tmp_path)
    assert corrected.instants["cam_0"].tolist() == [10, 11, 12]
    assert corrected.instants["cam_1"].tolist() == [9, 10, 11]
    np.testing.assert_allclose(corrected.frame_times["cam_1"], [4.91, 5.01, 5.11])
    assert corrected.timing == "timestamps.csv and offsets.toml"
    (tmp_path / "offsets.toml").unlink()
    (tmp_path / "timestamps.csv").write_text(text.replace(",1,", ",5,"))
    with pytest.raises(CalibrationError, match="no time stamps of camera cam_1"):
        open_footage(tmp_path)


def test_timestamps_as_spreadsheets_write_them(tmp_path):
    for k in range(2):
        _image(tmp_path / "cam_0" / f"{k}.png")
    path = tmp_path / "timestamps.csv"
    text = "sync_index,cam_id,frame_index,frame_time\n0,0,0,5.0\n1,0,1,5.1\n"
    path.write_text(text, encoding="utf-8-sig")
    assert open_footage(tmp_path).instants["cam_0"].tolist() == [0, 1]
    for damaged in (text.replace("5.1", "5.1 \xb5s").encode("latin-1"), (text + "2,0\n").encode()):
        path.write_bytes(damaged)
        with pytest.raises(CalibrationError, match="time stamps cannot be read"):
            open_footage(tmp_path)


def test_a_number_that_two_cameras_end_in_is_nobodys(tmp_path):
    for name in ("left_1", "right_1"):
        _image(tmp_path / name / "0.png")
    header, row = "sync_index,cam_id,frame_index,frame_time\n", "0,{},0,5.{}\n"
    (tmp_path / "timestamps.csv").write_text(header + row.format(1, 0))
    with pytest.raises(CalibrationError, match="cam_id 1 could be of several cameras"):
        open_footage(tmp_path)
    (tmp_path / "timestamps.csv").write_text(header + row.format("left_1", 0) + row.format("right_1", 1))
    assert open_footage(tmp_path).frame_times["right_1"].tolist() == [5.1]


def test_offsets_as_editors_on_windows_write_them(tmp_path):
    for c in (0, 1):
        _image(tmp_path / f"cam_{c}" / "0.png")
    (tmp_path / "offsets.toml").write_text("[offsets_s]\ncam_1 = 2.25\n", encoding="utf-8-sig")
    assert open_footage(tmp_path).frame_times["cam_1"].tolist() == [2.25]


def test_a_symmetric_chessboard_is_numbered_alike(small_rig, board_poses, seen):
    truth = seen(small_rig, SYMMETRIC, board_poses(SYMMETRIC, 16, seed=2), 0.2, seed=1)
    rng = np.random.default_rng(0)
    turn = rng.random((16, 3)) < 0.5
    point = np.where(turn[truth.pose, truth.camera], len(SYMMETRIC.points) - 1 - truth.point, truth.point)
    mixed = TargetObservations(
        truth.cameras, truth.sizes, truth.points, truth.times, truth.camera, truth.pose, point, truth.pixel
    )
    again = agree_on_orientation(mixed)
    # Per pose all views agree: right, or turned together.
    right = again.point == truth.point
    for b in range(16):
        assert right[truth.pose == b].all() or not right[truth.pose == b].any()


def test_an_asymmetric_chessboard_has_one_order(render, small_rig, board_poses):
    board = BoardDefinition(TargetKind.CHESSBOARD, 8, 5, 0.1)
    pose = board_poses(board, 1, seed=1, spread=0.0, tilt=0.1)
    spin = RigidTransform(np.diag([-1.0, -1.0, 1.0]), np.array([0.8, 0.5, 0.0]))  # half a turn in its plane
    at = RigidTransform(pose.R[0], pose.t[0])
    first, turned = (BoardDetector(board).detect(render(board, small_rig.cameras[1], p)) for p in (at, at @ spin))
    np.testing.assert_allclose(turned.pixel, first.pixel[::-1], atol=0.3)


@pytest.mark.parametrize(("columns", "rows"), [(7, 4), (8, 4)])
def test_a_chessboard_defined_too_small_is_refused(render, small_rig, board_poses, tmp_path, columns, rows):
    """Inner corners, or one row less, given for 8 x 5 squares: a part of the board would pass as the whole."""
    whole = BoardDefinition(TargetKind.CHESSBOARD, 8, 5, 0.1)
    poses = board_poses(whole, 4, seed=3, spread=0.05, tilt=0.3)
    camera = small_rig.cameras[1]
    (tmp_path / camera.name).mkdir()
    for k in range(4):
        image = render(whole, camera, RigidTransform(poses.R[k], poses.t[k]))
        cv2.imwrite(str(tmp_path / camera.name / f"{k}.png"), image)
    footage = open_footage(tmp_path, intrinsics_only=True)
    assert collect(footage, whole).seen.tolist() == [4]
    with pytest.raises(CalibrationError, match=r"8 x 5 squares") as raised:
        collect(footage, BoardDefinition(TargetKind.CHESSBOARD, columns, rows, 0.1))
    assert camera.name in str(raised.value)


def test_chosen_poses_cover_what_all_cover(small_rig, board_poses, seen):
    o = seen(small_rig, BOARD, board_poses(BOARD, 300, seed=4, spread=0.6), 0.0, seed=1)
    keep = select_poses(o, 40)
    assert keep.sum() == 40
    assert (select_poses(o, 40) == keep).all()
    cell, _ = coverage_cells(o)
    every = set(zip(o.camera.tolist(), cell.tolist(), strict=True))
    chosen = keep[o.pose]
    covered = set(zip(o.camera[chosen].tolist(), cell[chosen].tolist(), strict=True))
    even = np.isin(o.pose, np.linspace(0, 299, 40).round())
    by_chance = set(zip(o.camera[even].tolist(), cell[even].tolist(), strict=True))
    assert len(covered) > 0.9 * len(every)
    assert len(covered) > len(by_chance)
    sees = np.zeros((300, 3), bool)
    sees[o.pose[chosen], o.camera[chosen]] = True
    assert all((sees[:, i] & sees[:, j]).sum() >= 10 for i, j in ((0, 1), (1, 2)))


def test_wand_tracks(tmp_path):
    wand = BoardDefinition(TargetKind.WAND, markers_m=(0.0, 0.2, 0.5))
    keypoints = np.full((2, 4, 1, 3, 2), 100.0)
    confidence = np.ones((2, 4, 1, 3))
    confidence[0, 1, 0, :2] = 0  # one marker left: of no use
    path = tmp_path / "wand.npz"
    data = {"keypoints": keypoints, "confidence": confidence, "cameras": np.array(["a", "b"]),
            "joint_names": np.array(["1", "2", "3"]), "frames": np.arange(4) + 5, "fps": 50.0}  # fmt: skip
    np.savez(path, **data)
    with pytest.raises(CalibrationError, match="image size"):
        read_tracks(path, wand)
    np.savez(path, **data, sizes=np.array([[640, 480], [800, 600]]))
    o, frames = read_tracks(path, wand)
    assert o.sizes == ((640, 480), (800, 600))
    assert frames.tolist() == [5, 6, 7, 8]
    assert len(o) == 3 * 7
    with pytest.raises(CalibrationError, match="do not fit the wand"):
        read_tracks(path, BoardDefinition(TargetKind.WAND, markers_m=(0.0, 0.5)))


def test_most_frames_are_looked_at_evenly(filmed):
    found = collect(open_footage(filmed[0]), BOARD, CollectSettings(max_frames=5, threads=1))
    assert found.looked_at.tolist() == [5, 5, 5]
    assert len(found.observations.times) <= 5
