"""Calibrations written in other programs' formats: read back, and read by independent means."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.formats import FOLDER_FORMATS, WRITABLE, RigFormat, detect_format, import_rig, read_rig, write_rig
from mocap.synthetic.rig import ring_rig

FISHEYE_FORMATS = (RigFormat.RIG_TOML, RigFormat.ANIPOSE, RigFormat.CALISCOPE, RigFormat.COLMAP)
SAME = 1e-9


def _rig() -> CameraRig:
    """Cameras of two sizes, one with k3, one without distortion, one turned by half a turn, one unturned."""
    first, second, third, fourth = ring_rig(n_cameras=4, seed=7, size=(1920, 1080)).cameras
    half_turn = Rotation.from_rotvec(np.pi * np.array([0.6, 0.0, 0.8])).as_matrix()
    return CameraRig((
        first,
        replace(second, size=(1080, 1920), distortion=np.zeros(5)),
        replace(third, R=half_turn, distortion=np.array([-0.1, 0.03, 1e-3, -2e-3, 0.0])),
        replace(fourth, R=np.eye(3)),
    ))  # fmt: skip


def _fisheye() -> CameraRig:
    lens = np.array([0.02, -0.003, 0.001, -2e-4, 0.0])
    return CameraRig(
        tuple(replace(c, lens=Lens.FISHEYE, distortion=lens * (i + 1)) for i, c in enumerate(_rig().cameras))
    )


def _target(folder: Path, rig_format: RigFormat) -> Path:
    suffix = {RigFormat.HUMAN36M: ".json"}.get(rig_format, ".toml")
    return folder / "out" if rig_format in FOLDER_FORMATS else folder / f"out{suffix}"


def _assert_same(found: CameraRig, expected: CameraRig) -> None:
    assert found.names == expected.names
    for a, b in zip(found.cameras, expected.cameras, strict=True):
        assert (a.size, a.lens) == (b.size, b.lens)
        for field in ("K", "distortion", "R", "t"):
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=0, atol=SAME, err_msg=field)


@pytest.mark.parametrize("rig_format", WRITABLE)
def test_what_is_written_is_read_back(tmp_path, rig_format):
    path = _target(tmp_path, rig_format)
    write_rig(_rig(), path, rig_format)
    _assert_same(read_rig(path), _rig())
    _assert_same(read_rig(path, rig_format), _rig())


@pytest.mark.parametrize("rig_format", FISHEYE_FORMATS)
def test_fisheye_lenses_survive_where_the_format_has_them(tmp_path, rig_format):
    path = _target(tmp_path, rig_format)
    write_rig(_fisheye(), path, rig_format)
    _assert_same(read_rig(path), _fisheye())


@pytest.mark.parametrize("rig_format", [f for f in WRITABLE if f not in FISHEYE_FORMATS])
def test_fisheye_lenses_are_refused_where_the_format_has_none(tmp_path, rig_format):
    with pytest.raises(CalibrationError, match="fisheye"):
        write_rig(_fisheye(), _target(tmp_path, rig_format), rig_format)


@pytest.mark.parametrize("rig_format", [f for f in RigFormat if f not in WRITABLE])
def test_the_others_say_that_they_can_only_be_read(tmp_path, rig_format):
    with pytest.raises(CalibrationError, match="only be read"):
        write_rig(_rig(), tmp_path / "out", rig_format)


@pytest.mark.parametrize("rig_format", WRITABLE)
def test_the_same_rig_gives_the_same_bytes(tmp_path, rig_format):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_rig(_rig(), _target(tmp_path / folder, rig_format), rig_format)
    files = [
        {p.name: p.read_bytes() for p in sorted((tmp_path / f).rglob("*")) if p.is_file()} for f in ("a", "b")
    ]  # fmt: skip
    assert files[0] == files[1]


def _pixels(camera: Camera, K, distortion, rotation_vector, t) -> tuple[np.ndarray, np.ndarray]:
    """Points near the middle of the view as OpenCV projects them with what a file holds, and with the truth."""
    rng = np.random.default_rng(3)
    in_camera = np.column_stack([rng.uniform(-0.5, 0.5, (20, 2)), rng.uniform(2, 5, 20)])
    points = (in_camera - camera.t) @ camera.R
    got = cv2.projectPoints(points, np.asarray(rotation_vector, float), np.asarray(t, float), np.asarray(K, float),
                            np.asarray(distortion, float))[0].reshape(-1, 2)  # fmt: skip
    ideal = in_camera[:, :2] / in_camera[:, 2:]
    distorted = cv2.projectPoints(np.c_[ideal, np.ones(20)], np.zeros(3), np.zeros(3), camera.K, camera.distortion)[0]
    return got, distorted.reshape(-1, 2)


def test_easymocap_files_mean_the_same_to_opencv(tmp_path):
    write_rig(_rig(), tmp_path, RigFormat.EASYMOCAP)
    inside = cv2.FileStorage(str(tmp_path / "intri.yml"), cv2.FILE_STORAGE_READ)
    outside = cv2.FileStorage(str(tmp_path / "extri.yml"), cv2.FILE_STORAGE_READ)
    names = inside.getNode("names")
    assert [names.at(i).string() for i in range(names.size())] == list(_rig().names)
    for camera in _rig().cameras:
        name = camera.name
        Rot = outside.getNode(f"Rot_{name}").mat()
        got, expected = _pixels(
            camera,
            inside.getNode(f"K_{name}").mat(),
            inside.getNode(f"dist_{name}").mat(),
            outside.getNode(f"R_{name}").mat(),
            outside.getNode(f"T_{name}").mat(),
        )
        np.testing.assert_allclose(got, expected, atol=1e-6)
        np.testing.assert_allclose(Rot, camera.R, atol=1e-12)


@pytest.mark.parametrize("rig_format", [RigFormat.ANIPOSE, RigFormat.POSE2SIM])
def test_anipose_and_pose2sim_files_mean_the_same_to_opencv(tmp_path, rig_format):
    path = _target(tmp_path, rig_format)
    write_rig(_rig(), path, rig_format)
    document = tomllib.loads(path.read_text())
    # Both take every table but the metadata for a camera, and Pose2Sim counts tables.
    assert list(document)[-1] == "metadata"
    tables = [v for k, v in document.items() if k != "metadata"]
    for camera, entry in zip(_rig().cameras, tables, strict=True):
        got, expected = _pixels(
            camera, entry["matrix"], entry["distortions"], entry["rotation"], entry["translation"]
        )  # fmt: skip
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert tuple(entry["size"]) == camera.size
    if rig_format is RigFormat.POSE2SIM:
        assert [len(t["distortions"]) for t in tables] == [5, 4, 4, 5]


def test_caliscope_numbers_cameras(tmp_path):
    rig = CameraRig(tuple(replace(c, name=n) for c, n in zip(_rig().cameras, ["c7", "c3", "c12", "c0"], strict=True)))
    (note,) = write_rig(rig, tmp_path / "camera_array.toml", RigFormat.CALISCOPE)
    cameras = tomllib.loads((tmp_path / "camera_array.toml").read_text())["cameras"]
    assert list(cameras) == ["0", "3", "7", "12"]
    assert cameras["12"]["cam_id"] == 12
    assert cameras["12"]["size"] == [1920, 1080]
    assert "c12 is cam_12" in note


def test_human36m_is_in_millimetres(tmp_path):
    write_rig(_rig(), tmp_path / "h.json", RigFormat.HUMAN36M)
    document = json.loads((tmp_path / "h.json").read_text())
    for camera in _rig().cameras:
        pose = document["extrinsics"]["S1"][camera.name]
        np.testing.assert_allclose(np.ravel(pose["t"]), 1000 * camera.t)
        np.testing.assert_allclose(pose["R"], camera.R)
        assert document["intrinsics"][camera.name]["distortion"] == camera.distortion.tolist()


def test_colmap_counts_pixels_from_the_corner_and_quaternions_from_w(tmp_path):
    write_rig(_rig(), tmp_path, RigFormat.COLMAP)
    lines = [s for s in (tmp_path / "cameras.txt").read_text().splitlines() if not s.startswith("#")]
    assert [s.split()[1] for s in lines] == ["FULL_OPENCV", "PINHOLE", "OPENCV", "FULL_OPENCV"]
    for camera, line in zip(_rig().cameras, lines, strict=True):
        values = [float(v) for v in line.split()[4:]]
        np.testing.assert_allclose(values[:2], camera.K[[0, 1], [0, 1]])
        np.testing.assert_allclose(values[2:4], camera.K[:2, 2] + 0.5)
    images = [s for s in (tmp_path / "images.txt").read_text().splitlines() if s and not s.startswith("#")]
    for camera, line in zip(_rig().cameras, images, strict=True):
        w, x, y, z = (float(v) for v in line.split()[1:5])
        # The textbook matrix of a unit quaternion, written out.
        R = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
             [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
             [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]  # fmt: skip
        np.testing.assert_allclose(R, camera.R, atol=1e-12)
        np.testing.assert_allclose([float(v) for v in line.split()[5:8]], camera.t)


def test_formats_are_told_apart_by_content(tmp_path):
    expected = {
        RigFormat.RIG_TOML: RigFormat.RIG_TOML,
        # The keys are the same: nothing tells these three apart, and nothing needs to.
        RigFormat.ANIPOSE: RigFormat.RIG_TOML,
        RigFormat.POSE2SIM: RigFormat.RIG_TOML,
        RigFormat.CALISCOPE: RigFormat.CALISCOPE,
        RigFormat.EASYMOCAP: RigFormat.EASYMOCAP,
        RigFormat.HUMAN36M: RigFormat.HUMAN36M,
        RigFormat.COLMAP: RigFormat.COLMAP,
    }
    for written, found in expected.items():
        folder = tmp_path / written
        folder.mkdir()
        path = _target(folder, written)
        write_rig(_rig(), path, written)
        assert detect_format(path) is found
        # The folder that holds the one calibration, too.
        assert detect_format(folder if written not in FOLDER_FORMATS else path) is found


def test_a_model_file_stands_for_its_folder(tmp_path):
    write_rig(_rig(), tmp_path / "e", RigFormat.EASYMOCAP)
    write_rig(_rig(), tmp_path / "project" / "sparse" / "0", RigFormat.COLMAP)
    _assert_same(read_rig(tmp_path / "e" / "extri.yml"), _rig())
    _assert_same(read_rig(tmp_path / "project" / "sparse" / "0" / "images.txt"), _rig())
    assert "COLMAP" in import_rig(tmp_path / "project").rig.world_source
