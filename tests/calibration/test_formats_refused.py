"""Calibration files that must not be believed: each ends in one message with the file, the key and the reason."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tomlkit
import yaml

from calibration.camera import CameraRig
from calibration.errors import CalibrationError
from calibration.formats import FOLDER_FORMATS, WRITABLE, ReadOptions, RigFormat, import_rig, read_rig, write_rig
from mocap.synthetic.rig import ring_rig

SIZE = ReadOptions(image_size=(1080, 1080))
MIRROR = np.diag([1.0, 1.0, -1.0])
SHEAR = np.array([[1.0, 0.05, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _rig(scale: float = 1.0) -> CameraRig:
    rig = ring_rig(n_cameras=3, seed=4)
    return CameraRig(tuple(type(c)(c.name, c.size, c.K, c.distortion, c.R, c.t * scale, c.lens) for c in rig.cameras))


def _pickle(folder: Path, changes: dict[str, object]) -> Path:
    camera = _rig().cameras[0]
    content = {
        "intrinsicMat": camera.K, "distortion": camera.distortion[None], "rotation": camera.R,
        "translation": 1000 * camera.t[:, None], "imageSize": np.array([[1080.0], [1080.0]]),
    }  # fmt: skip
    path = folder / "cam.pickle"
    path.write_bytes(pickle.dumps({k: v for k, v in (content | changes).items() if v is not None}))
    return path


def _xcp(folder: Path, **changes: str) -> Path:
    frame = {"FOCAL_LENGTH": "1000", "PRINCIPAL_POINT": "540 540", "ORIENTATION": "0 0 0 1", "POSITION": "1 2 3",
             "VICON_RADIAL2": "Vicon3Parameter 540 540 0 0 0"} | changes  # fmt: skip
    text = " ".join(f'{k}="{v}"' for k, v in frame.items() if v)
    path = folder / "a.xcp"
    path.write_text(f'<Cameras><Camera DEVICEID="2101" SENSOR_SIZE="1080 1080"><KeyFrame {text}/></Camera></Cameras>')
    return path


def _with_rotation(folder: Path, rig_format: str, change: np.ndarray) -> Path:
    """A file of a format in which every rotation R is `change @ R`, as a program with other axes would write it."""
    rig = _rig()
    rows = {c.name: (change @ c.R).tolist() for c in rig.cameras}
    if rig_format == "toml":
        path = folder / "rig.toml"
        write_rig(rig, path)
        document = tomllib.loads(path.read_text())
        for i, camera in enumerate(rig.cameras):
            document[f"cam_{i}"]["rotation"] = rows[camera.name]
        path.write_text(tomlkit.dumps(document))
        return path
    path = folder / f"{rig_format}.json"
    if rig_format == "human36m":
        write_rig(rig, path, RigFormat.HUMAN36M)
        content = json.loads(path.read_text())
        for name, R in rows.items():
            content["extrinsics"]["S1"][name]["R"] = R
    elif rig_format == "panoptic":
        content = {"cameras": [
            {"name": c.name, "resolution": c.size, "K": c.K.tolist(), "distCoef": c.distortion.tolist(),
             "R": rows[c.name], "t": (100 * c.t).tolist()} for c in rig.cameras]}  # fmt: skip
    else:
        content = {
            c.name: {"R": rows[c.name], "T": (1000 * c.centre).tolist(), "fx": 1000, "fy": 1000, "cx": 500, "cy": 500,
                     "k": [0, 0, 0], "p": [0, 0]} for c in rig.cameras}  # fmt: skip
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("rig_format", ["toml", "human36m", "panoptic", "voxelpose"])
@pytest.mark.parametrize(("change", "said"), [(MIRROR, "mirrored"), (SHEAR, "off by"), (2 * np.eye(3), "off by")])
def test_mirrored_axes_and_matrices_that_are_no_rotation_are_refused(tmp_path, rig_format, change, said):
    path = _with_rotation(tmp_path, rig_format, change)
    with pytest.raises(CalibrationError, match=said) as raised:
        read_rig(path, options=SIZE)
    assert "cam_0" in str(raised.value)
    assert str(path) in str(raised.value)
    # The same file with its own rotation is read, so it is the rotation that was refused.
    assert len(read_rig(_with_rotation(tmp_path, rig_format, np.eye(3)), options=SIZE)) == 3


def test_rotations_rounded_in_the_file_are_put_right(tmp_path):
    rig = _rig()
    path = tmp_path / "h.json"
    write_rig(rig, path, RigFormat.HUMAN36M)
    content = json.loads(path.read_text())
    for name, pose in content["extrinsics"]["S1"].items():
        pose["R"] = np.round(pose["R"], 4).tolist()
        assert name in rig.names
    path.write_text(json.dumps(content))
    found = read_rig(path)
    np.testing.assert_allclose(found.R @ np.swapaxes(found.R, 1, 2), np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(found.R, rig.R, atol=1e-4)


@pytest.mark.parametrize("rig_format", WRITABLE)
@pytest.mark.parametrize(("scale", "said"), [(1000.0, "millimetres read as metres"), (0.001, "metres read as milli")])
def test_wrong_units_are_refused_in_every_format(tmp_path, rig_format, scale, said):
    path = tmp_path / ("out" if rig_format in FOLDER_FORMATS else "out.json" if "36" in rig_format else "out.toml")
    write_rig(_rig(scale), path, rig_format)
    if scale < 1 and rig_format in (RigFormat.RIG_TOML, RigFormat.ANIPOSE):
        # The file names its unit, metres: a small rig is believed, and noted.
        assert "unusual size" in import_rig(path).notes[0]
        return
    with pytest.raises(CalibrationError, match=said) as raised:
        read_rig(path)
    assert str(path) in str(raised.value)
    assert "--units" in str(raised.value)
    # The unit once given, the rig is the right one.
    np.testing.assert_allclose(
        read_rig(path, options=ReadOptions(metres_per_unit=(0.001 if "36" in rig_format else 1.0) / scale)).t, _rig().t
    )


def test_a_file_of_intrinsics_says_so(tmp_path):
    write_rig(_rig(0.0), tmp_path / "rig.toml")
    assert "one point" in import_rig(tmp_path / "rig.toml").notes[0]


def test_a_turned_image_is_noted(tmp_path):
    camera = _rig().cameras[0]
    K = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])
    write_rig(
        CameraRig((type(camera)("a", (1080, 1920), K, camera.distortion, camera.R, camera.t),)), tmp_path / "r.toml"
    )
    assert import_rig(tmp_path / "r.toml").notes == ()
    text = (tmp_path / "r.toml").read_text().replace("[1080, 1920]", "[640, 480]")
    (tmp_path / "r.toml").write_text(text)
    assert "principal point outside the image: a" in import_rig(tmp_path / "r.toml").notes[0]


def _edit_json(edit: Callable[[dict], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "h.json"
        write_rig(_rig(), path, RigFormat.HUMAN36M)
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        return path

    return make


def _edit_easy(name: str, old: str, new: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_rig(_rig(), folder, RigFormat.EASYMOCAP)
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        return folder

    return make


def _edit_colmap(name: str, line: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_rig(_rig(), folder, RigFormat.COLMAP)
        (folder / name).write_text(line)
        return folder

    return make


def _file(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return make


def _missing(keys: str) -> Callable[[dict], None]:
    *way, last = keys.split(".")

    def edit(content: dict) -> None:
        for key in way:
            content = content[key]
        del content[last]

    return edit


def _kalibr(**changes: object) -> str:
    entry = {"camera_model": "pinhole", "intrinsics": [1000, 1000, 500, 500], "distortion_model": "radtan",
             "distortion_coeffs": [0, 0, 0, 0], "resolution": [1000, 1000]} | changes  # fmt: skip
    return yaml.safe_dump({"cam0": {k: v for k, v in entry.items() if v is not None}})


def _set(content: dict, value: object, *keys: str) -> None:
    for key in keys[:-1]:
        content = content[key]
    content[keys[-1]] = value


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "h36m no distortion": (_edit_json(_missing("intrinsics.cam_1.distortion")), r"intrinsics\.cam_1 lacks distortion"),
    "h36m no pose": (_edit_json(_missing("extrinsics.S1.cam_1.t")), r"extrinsics\.S1\.cam_1 lacks t"),
    "h36m no lens": (_edit_json(_missing("intrinsics.cam_1")), "intrinsics lacks cam_1"),
    "h36m no size": (_edit_json(_missing("intrinsics.cam_1.image_size")), "no image size.* 'cam_1'"),
    "h36m no subject": (_edit_json(lambda c: _set(c, {}, "extrinsics")), "extrinsics is empty"),
    "h36m text": (_edit_json(lambda c: _set(c, "far", "extrinsics", "S1", "cam_1", "t")), r"cam_1\.t .*wrong kind"),
    "h36m NaN": (_edit_json(lambda c: _set(c, [0, 0, None], "extrinsics", "S1", "cam_1", "t")), r"cam_1\.t .*NaN"),
    "h36m shape": (_edit_json(lambda c: _set(c, [1, 2], "extrinsics", "S1", "cam_1", "t")), r"cam_1\.t .*wrong shape"),
    "h36m K transposed": (
        _edit_json(
            lambda c: _set(
                c, [[1000, 0, 0], [0, 1000, 0], [500, 500, 1]], "intrinsics", "cam_1", "calibration_matrix"
            )
        ),
        "K of camera 'cam_1' is no intrinsic matrix",
    ),
    "json cut": (_file("c.json", '{"cameras": [{"name": '), "not a JSON file"),
    "json list": (_file("c.json", "[1, 2]"), "not a calibration file"),
    "json other": (_file("c.json", '{"a": 1}'), "not a calibration file"),
    "easymocap no K": (_edit_easy("intri.yml", "K_cam_1:", "L_cam_1:"), "lacks K_cam_1"),
    "easymocap no T": (_edit_easy("extri.yml", "T_cam_1:", "L_cam_1:"), "lacks T_cam_1"),
    "easymocap no R": (_edit_easy("extri.yml", "_cam_1: ", "_cam_9: "), "lacks"),
    "easymocap no names": (_edit_easy("intri.yml", "names:", "cams:"), "lacks names"),
    "easymocap cut": (_edit_easy("extri.yml", " ]\n", "\n"), "not a YAML file"),
    "easymocap no data": (_edit_easy("extri.yml", "data:", "dat:"), "cam_0 lacks data"),
    "colmap cut line": (_edit_colmap("cameras.txt", "1 OPENCV 10\n"), "line 1 is not understood"),
    "colmap few parameters": (_edit_colmap("cameras.txt", "1 PINHOLE 10 10 5 5 5\n"), "PINHOLE has 4 parameters"),
    "colmap model": (_edit_colmap("cameras.txt", "1 THIN_PRISM_FISHEYE 9 9 1 1 1\n"), "THIN_PRISM_FISHEYE is not supp"),
    "colmap rational": (
        _edit_colmap("cameras.txt", "1 FULL_OPENCV 10 10 5 5 5 5 0 0 0 0 0 0.1 0 0\n"), "not supported",
    ),
    "colmap camera id": (_edit_colmap("cameras.txt", "9 PINHOLE 10 10 5 5 5 5\n"), "no camera 1 in cameras"),
    "colmap empty": (_edit_colmap("cameras.txt", "# nothing\n"), "no camera in the file"),
    "colmap no image": (_edit_colmap("images.txt", "# nothing\n"), "no image in the file"),
    "colmap image": (_edit_colmap("images.txt", "1 1 0 0 0 1 2 x 1 a.png\n"), "line 1 is not understood"),
    "colmap quaternion": (_edit_colmap("images.txt", "1 1 1 0 0 1 2 3 1 a.png\n"), "no unit quaternion"),
    "kalibr omni": (_file("k.yaml", _kalibr(camera_model="omni")), "camera model that is not supported"),
    "kalibr no resolution": (_file("k.yaml", _kalibr(resolution=None)), "cam0 lacks resolution"),
    "kalibr text": (_file("k.yaml", _kalibr(intrinsics=["a", 1, 1, 1])), "cam0 intrinsics .*wrong kind"),
    "kalibr negative": (_file("k.yaml", _kalibr(intrinsics=[-1, 1, 1, 1])), "no usable focal length"),
    "yaml other": (_file("k.yaml", "a: 1\n"), "not a calibration file"),
    "yaml cut": (_file("k.yaml", "cam0: [1, 2\n"), "not a YAML file"),
    "vicon cut": (_file("a.xcp", "<Cameras><Camera>"), "not a Vicon"),
    "vicon empty": (_file("a.xcp", "<Cameras/>"), "no calibrated camera"),
    "vicon no position": (lambda f: _xcp(f, POSITION=""), "camera 2101 lacks POSITION"),
    "vicon text": (lambda f: _xcp(f, POSITION="1 2 x"), "camera 2101 POSITION .*wrong kind"),
    "vicon quaternion": (lambda f: _xcp(f, ORIENTATION="0 0 0 0"), "ORIENTATION is no unit quaternion"),
    "vicon lens": (lambda f: _xcp(f, VICON_RADIAL2="Other 1 2"), "unknown lens model"),
    "vicon no lens": (lambda f: _xcp(f, VICON_RADIAL2=""), "lacks VICON_RADIAL"),
    "vicon focal": (lambda f: _xcp(f, FOCAL_LENGTH="0"), "no usable focal length"),
    "optitrack": (_file("studio.mcal", "<Calibration/>"), "OptiTrack"),
    "optitrack by content": (_file("studio.xml", '<?xml version="1.0"?><Calibration/>'), "OptiTrack"),
    "opencap no size": (lambda f: _pickle(f, {"imageSize": None}), "lacks imageSize"),
    "opencap text": (lambda f: _pickle(f, {"rotation": "R"}), "rotation .*wrong kind"),
    "opencap objects": (lambda f: _pickle(f, {"rotation": np.array([{}], dtype=object)}), "nothing in it was executed"),
    "opencap mirrored": (lambda f: _pickle(f, {"rotation": np.diag([1.0, 1, -1])}), "mirrored"),
    "freemocap size": (
        _file("f.toml", '[cam_0]\nmatrix = 1\nworld_position = [1, 2, 3]\n'), r"\[cam_0\] lacks distortions",
    ),
    "caliscope unposed": (_file("c.toml", "[cameras.0]\ncam_id = 0\nsize = [4, 4]\n"), "no calibrated camera"),
    "text": (_file("notes.txt", "hello"), "not a calibration file"),
    "empty": (_file("rig.json", ""), "not a calibration file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_files_end_in_one_message(tmp_path, case):
    make, said = BAD[case]
    path = make(tmp_path)
    with pytest.raises(CalibrationError, match=said) as raised:
        read_rig(path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("rig_format", [f for f in RigFormat if f is not RigFormat.OPTITRACK])
def test_a_damaged_file_never_gives_anything_but_the_one_error(tmp_path, rig_format, rng):
    """Whatever is cut off or overwritten, a reader gives a rig or a CalibrationError."""
    sources: dict[RigFormat, Callable[[Path], Path]] = {
        RigFormat.OPENCAP: lambda f: _pickle(f, {}),
        RigFormat.VICON: _xcp,
        RigFormat.KALIBR: _file("k.yaml", _kalibr()),
        RigFormat.PANOPTIC: lambda f: _with_rotation(f, "panoptic", np.eye(3)),
        RigFormat.VOXELPOSE: lambda f: _with_rotation(f, "voxelpose", np.eye(3)),
    }
    written = rig_format if rig_format in WRITABLE else RigFormat.RIG_TOML
    if rig_format in sources:
        path = sources[rig_format](tmp_path)
    else:
        path = tmp_path / ("out" if written in FOLDER_FORMATS else "out.json" if "36" in written else "out.toml")
        write_rig(_rig(), path, written)
    files = [p for p in (sorted(path.iterdir()) if path.is_dir() else [path]) if "points3D" not in p.name]
    for file in files:
        whole = file.read_bytes()
        for _ in range(15):
            damaged = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.5 else whole)
            for at in rng.integers(max(len(damaged), 1), size=3):
                damaged[at : at + 1] = bytes([rng.integers(256)])
            file.write_bytes(bytes(damaged))
            with contextlib.suppress(CalibrationError):
                read_rig(path, rig_format, SIZE)
        file.write_bytes(whole)


class _Evil:
    """Runs a command when unpickled by the ordinary reader."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {self.target}",))


class _EvilEval:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (eval, (f"open({str(self.target)!r}, 'w').close()",))


@pytest.mark.parametrize("evil", [_Evil, _EvilEval])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path, evil, protocol):
    target = tmp_path / "executed"
    content = pickle.dumps({"intrinsicMat": evil(target)}, protocol=protocol)
    pickle.loads(content)
    assert target.exists()  # the bait works with the ordinary reader
    target.unlink()
    path = tmp_path / "cam.pickle"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match="nothing in it was executed"):
        read_rig(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        # numpy.core.multiarray._reconstruct names numpy.load as the type, with a path.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nload\n(I0\ntVb\ntR.",
        b"cnumpy\nndarray.tofile\n.",
        b"cbuiltins\ngetattr\n(cnumpy\nndarray\nVtofile\ntR.",
        b"Pexternal\n.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        # An array that claims a terabyte.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntVd\ntR.",
    ],
)
def test_handmade_pickles_are_refused(tmp_path, content):
    path = tmp_path / "cam.pickle"
    path.write_bytes(content)
    with pytest.raises(CalibrationError):
        read_rig(path)


def test_a_folder_with_several_calibrations_asks_which(tmp_path):
    write_rig(_rig(), tmp_path / "a.toml")
    write_rig(_rig(), tmp_path / "b.toml")
    with pytest.raises(CalibrationError, match="several calibrations") as raised:
        read_rig(tmp_path)
    assert "a.toml, b.toml" in str(raised.value)
    with pytest.raises(CalibrationError, match="no such"):
        read_rig(tmp_path / "c.toml", RigFormat.ANIPOSE)
