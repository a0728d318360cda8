"""Calibrations of programs whose files are only read: small files with numbers worked out by hand."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from calibration.camera import Lens
from calibration.errors import CalibrationError
from calibration.formats import ReadOptions, RigFormat, detect_format, import_rig, read_rig, reoriented
from calibration.projection import Lenses, project

# A camera at (1, 2, 3) m that looks along the world's +y with its image upright: x right = world x, y down = -z.
FORWARD = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
CENTRE = np.array([1.0, 2.0, 3.0])
T = np.array([-1.0, 3.0, -2.0])  # -R c
# Another one two metres to its right.
CENTRE_2 = np.array([3.0, 2.0, 3.0])
T_2 = np.array([-3.0, 3.0, -2.0])
# One metre ahead of the first, 0.1 m to the right and 0.2 m up: x/z = 0.1, y/z = -0.2.
POINT = np.array([1.1, 3.0, 3.2])
SIZE = ReadOptions(image_size=(1920, 1080))


def _assert_pose(rig):
    np.testing.assert_allclose(rig.R[0], FORWARD, atol=1e-9)
    np.testing.assert_allclose(rig.centres, [CENTRE, CENTRE_2], atol=1e-9)
    np.testing.assert_allclose(rig.t, [T, T_2], atol=1e-9)


def _toml(unit: float, extra: str = "") -> str:
    """Two cameras with rotation vectors (a quarter turn about x), lengths divided by `unit`."""
    return "".join(
        f"""[cam_{i}]
id = "{i}"
name = "{name}"
size = [1920, 1080]
matrix = [[1000.0, 0.0, 960.0], [0.0, 1010.0, 540.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.02, 0.001, -0.002, 0.003]
rotation = [{np.pi / 2!r}, 0.0, 0.0]
translation = {(t / unit).tolist()}
{extra and f"world_position = {(c / unit).tolist()}"}
{extra and f"world_orientation = {FORWARD.T.tolist()}"}
"""
        for i, (name, t, c) in enumerate([("left", T, CENTRE), ("right", T_2, CENTRE_2)])
    )


def test_freemocap_is_in_millimetres(tmp_path):
    path = tmp_path / "session_camera_calibration.toml"
    path.write_text(_toml(0.001, extra="world") + "[metadata]\nadjusted = true\nerror = 0.3\n")
    assert detect_format(path) is RigFormat.FREEMOCAP
    imported = import_rig(path)
    assert imported.rig.names == ("left", "right")
    assert imported.notes == ()
    _assert_pose(imported.rig)


def test_freemocap_says_when_its_two_poses_differ(tmp_path):
    path = tmp_path / "calibration.toml"
    path.write_text(_toml(0.001, extra="world").replace("world_position = [1000.0", "world_position = [1900.0"))
    (note,) = import_rig(path).notes
    assert "left" in note


@pytest.mark.parametrize(("unit", "given"), [(1.0, None), (0.001, 0.001), (0.054, 0.054)])
def test_anipose_is_in_the_units_of_its_board(tmp_path, unit, given):
    path = tmp_path / "calibration.toml"
    path.write_text(_toml(unit) + "[metadata]\nadjusted = false\nerror = 0.5\n")
    rig = read_rig(path, RigFormat.ANIPOSE, ReadOptions(metres_per_unit=given))
    _assert_pose(rig)
    # y down: 0.2 m up at one metre is above the optical axis.
    assert project(Lenses.of(rig), POINT)[0][1] < 540 - 150


def test_units_the_file_does_not_say_are_not_guessed(tmp_path):
    path = tmp_path / "calibration.toml"
    path.write_text(_toml(0.001))
    with pytest.raises(CalibrationError, match="millimetres read as metres") as raised:
        read_rig(path)
    assert "--units mm" in str(raised.value)
    path.write_text(_toml(200.0))
    with pytest.raises(CalibrationError, match="metres read as millimetres"):
        read_rig(path)
    # A person who says so is believed, and told.
    imported = import_rig(path, options=ReadOptions(metres_per_unit=1.0))
    assert any("unusual size" in n for n in imported.notes)
    # But not that a studio is kilometres wide.
    path.write_text(_toml(0.0001))
    with pytest.raises(CalibrationError, match="far apart"):
        read_rig(path, options=ReadOptions(metres_per_unit=1.0))


CALISCOPE = """
[cameras.3]
cam_id = 3
size = [1920, 1080]
rotation_count = {turns}
matrix = [[1000.0, 0.0, 960.0], [0.0, 1010.0, 540.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.02, 0.001, -0.002, 0.003]
rotation = [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
translation = [-1.0, 3.0, -2.0]

[cameras.4]
cam_id = 4
size = [640, 480]
matrix = [[400.0, 0.0, 320.0], [0.0, 400.0, 240.0], [0.0, 0.0, 1.0]]
distortions = [0.01, 0.02, 0.03, 0.04]
fisheye = true
rotation = [1.5707963267948966, 0.0, 0.0]
translation = [-3.0, 3.0, -2.0]

[cameras.5]
cam_id = 5
size = [640, 480]
rotation = "null"
translation = "null"

[cameras.6]
cam_id = 6
ignore = true
size = [640, 480]
matrix = [[400.0, 0.0, 320.0], [0.0, 400.0, 240.0], [0.0, 0.0, 1.0]]
distortions = [0.0, 0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.0]
translation = [-3.0, 3.0, -2.0]
"""


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_caliscope_old_and_new(tmp_path, turns):
    path = tmp_path / "camera_array.toml"
    path.write_text(CALISCOPE.format(turns=turns))
    imported = import_rig(path)
    assert imported.rig.names == ("cam_3", "cam_4")
    _assert_pose(imported.rig)
    assert imported.rig.cameras[0].size == (1920, 1080)
    assert imported.rig.cameras[1].lens is Lens.FISHEYE
    assert imported.rig.cameras[1].distortion.tolist() == [0.01, 0.02, 0.03, 0.04, 0]
    assert "cam_5, cam_6" in imported.notes[-1]


def _opencap(translation: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "intrinsicMat": np.array([[1000.0, 0, 540], [0, 1010, 960], [0, 0, 1]]),
        "distortion": np.array([[-0.1, 0.02, 0.001, -0.002, 0.003]]),
        "rotation": FORWARD,
        "translation": translation[:, None] * 1000,
        "imageSize": np.array([[1920.0], [1080.0]]),
        "rotation_EulerAngles": np.asfortranarray(np.ones((3, 1))),
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_opencap_height_comes_first(tmp_path, protocol):
    for name, t in [("Cam0", T), ("Cam1", T_2)]:
        folder = tmp_path / "Videos" / name
        folder.mkdir(parents=True)
        content = _opencap(t) | {"rms": np.float64(0.25), "frames": 7}
        (folder / "cameraIntrinsicsExtrinsics.pickle").write_bytes(pickle.dumps(content, protocol=protocol))
    assert detect_format(tmp_path) is RigFormat.OPENCAP
    rig = read_rig(tmp_path)
    assert rig.names == ("Cam0", "Cam1")
    assert rig.cameras[0].size == (1080, 1920)
    np.testing.assert_allclose(rig.distortion[0], [-0.1, 0.02, 0.001, -0.002, 0.003])
    _assert_pose(rig)


def _panoptic() -> dict[str, object]:
    return {
        "calibDataSource": "x",
        "cameras": [
            {"name": f"00_{i:02d}", "type": kind, "resolution": [1920, 1080], "panel": 0, "node": i,
             "K": [[1000, 0, 960], [0, 1010, 540], [0, 0, 1]], "distCoef": [-0.1, 0.02, 0.001, -0.002, 0.003],
             "R": FORWARD.tolist(), "t": (100 * t)[:, None].tolist()}
            for i, (t, kind) in enumerate([(T, "hd"), (T_2, "vga")])
        ],
    }  # fmt: skip


def test_panoptic_is_in_centimetres(tmp_path):
    path = tmp_path / "calibration_171204_pose1.json"
    path.write_text(json.dumps(_panoptic()))
    assert detect_format(path) is RigFormat.PANOPTIC
    imported = import_rig(path)
    assert imported.rig.names == ("00_00", "00_01")
    _assert_pose(imported.rig)
    assert "1 hd, 1 vga" in " ".join(imported.notes)


def _voxelpose() -> dict[str, object]:
    return {
        str(i): {
            "R": FORWARD.tolist(), "T": (1000 * c)[:, None].tolist(),
            "fx": 1000.0, "fy": [1010.0], "cx": 960, "cy": 540,
            "k": [[-0.1], [0.02], [0.003]], "p": [[0.001], [-0.002]],
        }
        for i, c in enumerate([CENTRE, CENTRE_2])
    }  # fmt: skip


def test_voxelpose_holds_centres(tmp_path):
    path = tmp_path / "calibration_shelf.json"
    path.write_text(json.dumps(_voxelpose()))
    assert detect_format(path) is RigFormat.VOXELPOSE
    rig = read_rig(path, options=SIZE)
    _assert_pose(rig)
    np.testing.assert_allclose(rig.distortion[0], [-0.1, 0.02, 0.001, -0.002, 0.003])
    np.testing.assert_allclose(rig.K[0], [[1000, 0, 960], [0, 1010, 540], [0, 0, 1]])


HUMAN36M = {
    "intrinsics": {
        n: {"calibration_matrix": [[1000, 0, 500], [0, 1010, 501], [0, 0, 1]],
            "distortion": [-0.1, 0.02, 0.001, -0.002, 0.003]}
        for n in ("54138969", "55011271")
    },
    "extrinsics": {
        "S1": {"54138969": {"R": FORWARD.tolist(), "t": (1000 * T).tolist()},
               "55011271": {"R": FORWARD.tolist(), "t": (1000 * T_2).tolist()}},
        "S5": {"54138969": {"R": FORWARD.tolist(), "t": (2000 * T)[:, None].tolist()},
               "55011271": {"R": FORWARD.tolist(), "t": (2000 * T_2)[:, None].tolist()}},
    },
}  # fmt: skip


def test_human36m_has_subjects_and_known_sizes(tmp_path):
    path = tmp_path / "camera-parameters.json"
    path.write_text(json.dumps(HUMAN36M))
    imported = import_rig(path)
    _assert_pose(imported.rig)
    assert [c.size for c in imported.rig.cameras] == [(1000, 1002), (1000, 1000)]
    assert "S5" in imported.notes[-1]
    np.testing.assert_allclose(read_rig(path, options=ReadOptions(subject="S5")).t[0], 2 * T)
    with pytest.raises(CalibrationError, match="no subject 'S9'") as raised:
        read_rig(path, options=ReadOptions(subject="S9"))
    assert "S1, S5" in str(raised.value)


KALIBR = """
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.1, 0.02, 0.001, -0.002]
  distortion_model: radtan
  intrinsics: [1000.0, 1010.0, 960.0, 540.0]
  resolution: [1920, 1080]
  rostopic: /cam0/image_raw
cam1:
  T_cn_cnm1:
  - [0.0, 0.0, -1.0, 0.5]
  - [0.0, 1.0, 0.0, 0.0]
  - [1.0, 0.0, 0.0, 0.1]
  - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_coeffs: [0.01, 0.02, 0.03, 0.04]
  distortion_model: equidistant
  intrinsics: [400.0, 401.0, 320.0, 240.0]
  resolution: [640, 480]
cam2:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, 0.0]
  - [0.0, 1.0, 0.0, 0.25]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_coeffs: []
  distortion_model: none
  intrinsics: [400.0, 401.0, 320.0, 240.0]
  resolution: [640, 480]
"""


def test_kalibr_chains_its_cameras(tmp_path):
    path = tmp_path / "log1-camchain.yaml"
    path.write_text(KALIBR)
    assert detect_format(path) is RigFormat.KALIBR
    rig = read_rig(path)
    assert rig.names == ("cam0", "cam1", "cam2")
    np.testing.assert_allclose(rig.R[0], np.eye(3))
    quarter = np.array([[0, 0, -1.0], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(rig.R[1], quarter)
    np.testing.assert_allclose(rig.t[1], [0.5, 0, 0.1])
    np.testing.assert_allclose(rig.R[2], quarter)
    np.testing.assert_allclose(rig.t[2], [0.5, 0.25, 0.1])
    assert [c.lens for c in rig.cameras] == [Lens.BROWN_CONRADY, Lens.FISHEYE, Lens.BROWN_CONRADY]
    np.testing.assert_allclose(rig.distortion[0], [-0.1, 0.02, 0.001, -0.002, 0])


EASY = """%YAML:1.0
---
names:
   - "01"
   - "02"
{body}"""


def _easy(folder: Path, *, rot: bool = True) -> None:
    def mat(key: str, rows: int, cols: int, values: object) -> str:
        data = ", ".join(repr(float(v)) for v in np.ravel(values))
        return f"{key}: !!opencv-matrix\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: [ {data} ]\n"

    inside = outside = ""
    for name, t in [("01", T), ("02", T_2)]:
        inside += mat(f"K_{name}", 3, 3, [1000, 0, 960, 0, 1010, 540, 0, 0, 1])
        inside += mat(f"dist_{name}", 1, 5, [-0.1, 0.02, 0.001, -0.002, 0.003])
        outside += mat(f"R_{name}", 3, 1, [np.pi / 2, 0, 0]) + mat(f"T_{name}", 3, 1, t)
        outside += mat(f"Rot_{name}", 3, 3, FORWARD) if rot else ""
    (folder / "intri.yml").write_text(EASY.format(body=inside))
    (folder / "extri.yml").write_text(EASY.format(body=outside))


@pytest.mark.parametrize("rot", [True, False])
def test_easymocap_needs_an_image_size(tmp_path, rot):
    _easy(tmp_path, rot=rot)
    with pytest.raises(CalibrationError, match="no image size") as raised:
        read_rig(tmp_path)
    assert "--image-size" in str(raised.value)
    assert "'01'" in str(raised.value)
    rig = read_rig(tmp_path, options=ReadOptions(image_size=(1920, 1080), image_sizes={"02": (1280, 720)}))
    assert rig.names == ("01", "02")
    assert [c.size for c in rig.cameras] == [(1920, 1080), (1280, 720)]
    _assert_pose(rig)


def test_easymocap_rotations_must_agree(tmp_path):
    _easy(tmp_path)
    text = (tmp_path / "extri.yml").read_text().replace("1.5707963267948966, 0.0, 0.0", "1.4, 0.0, 0.0", 1)
    (tmp_path / "extri.yml").write_text(text)
    with pytest.raises(CalibrationError, match="R_01 and Rot_01 disagree"):
        read_rig(tmp_path, options=SIZE)


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_a_world_is_turned_so_that_its_axis_is_up(tmp_path, up):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(_panoptic()))
    rig = read_rig(path)
    turned = reoriented(rig, up)
    axis = np.zeros(3)
    axis["xyz".index(up[-1])] = -1 if up[0] == "-" else 1
    # A step along the file's axis is a step along the new z, and cameras see what they saw.
    A = np.linalg.solve(turned.R[0], rig.R[0])
    np.testing.assert_allclose(A @ axis, [0, 0, 1], atol=1e-12)
    assert np.linalg.det(A) == pytest.approx(1)
    np.testing.assert_allclose(
        project(Lenses.of(turned), POINT @ A.T), project(Lenses.of(rig), POINT), atol=1e-9
    )  # fmt: skip


def test_pose2sim_as_it_writes_itself(tmp_path):
    """Sizes as floats, four coefficients, fisheye = false, and metadata that is no camera."""
    path = tmp_path / "Calib_board.toml"
    text = _toml(1.0).replace("[1920, 1080]", "[ 1920.0, 1080.0]").replace(", 0.003]", "]")
    path.write_text(
        text.replace("rotation =", "fisheye = false\nrotation =") + "[metadata]\nadjusted = false\nerror = 0.0\n"
    )
    rig = read_rig(path)
    _assert_pose(rig)
    assert rig.cameras[0].size == (1920, 1080)
    np.testing.assert_allclose(rig.distortion[0], [-0.1, 0.02, 0.001, -0.002, 0])


def test_a_calibration_among_other_files(tmp_path):
    (tmp_path / "board.toml").write_text("[board]\nkind = 'charuco'\n")
    (tmp_path / "notes.txt").write_text("calibrated on Monday")
    (tmp_path / "poses.json").write_text("{}")
    (tmp_path / "results.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(CalibrationError, match="no calibration that can be read") as raised:
        read_rig(tmp_path)
    assert "board.toml: no camera in the file" in str(raised.value)
    (tmp_path / "Calib.toml").write_text(_toml(1.0))
    _assert_pose(read_rig(tmp_path))
