"""`mocap convert-calibration`: every option, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from calibration.camera import CameraRig, Lens
from calibration.formats import RigFormat, read_rig, write_rig
from flows.cli import app
from flows.initialise import NewSession, find_calibration
from mocap.errors import CalibrationError, SettingsError, StorageError
from mocap.synthetic.rig import ring_rig
from mocap.video import write_video

RIG = ring_rig(n_cameras=3, seed=2, size=(320, 240), focal=300.0)


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["convert-calibration", *map(str, arguments)], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def rig_file(tmp_path: Path) -> Path:
    write_rig(RIG, tmp_path / "rig.toml")
    return tmp_path / "rig.toml"


@pytest.mark.parametrize("to", ["colmap", "easymocap", "human36m", "caliscope", "anipose", "pose2sim"])
def test_there_and_back(tmp_path, rig_file, to):
    _run(rig_file, tmp_path / "there", "--to", to)
    result = _run(tmp_path / "there", tmp_path / "back.toml", "--from", to)
    assert "3 cameras (cam_0, cam_1, cam_2)" in result.output
    np.testing.assert_allclose(read_rig(tmp_path / "back.toml").t, RIG.t, atol=1e-9)
    # Nothing half-made is left beside.
    assert {p.name for p in tmp_path.iterdir()} == {"rig.toml", "there", "back.toml"}


def test_notes_are_said(tmp_path, rig_file):
    _run(rig_file, tmp_path / "model", "--to", "colmap")
    assert "note: COLMAP's scale" in _run(tmp_path / "model", tmp_path / "out.toml").stderr


def test_units_cameras_and_up(tmp_path):
    content = {"cameras": [
        {"name": c.name, "resolution": c.size, "K": c.K.tolist(), "distCoef": [0] * 5, "R": c.R.tolist(),
         "t": (1000 * c.t).tolist()} for c in RIG.cameras]}  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(content))
    _run(tmp_path / "p.json", tmp_path / "o.toml", "--units", "mm", "--cameras", "cam_2, cam_0", "--up", "-y")
    rig = read_rig(tmp_path / "o.toml")
    assert rig.names == ("cam_2", "cam_0")
    x, y, z = RIG.centres[2]
    np.testing.assert_allclose(rig.centres[0], [x, z, -y], atol=1e-9)
    _run(tmp_path / "p.json", tmp_path / "o.toml", "--units", "0.001")
    np.testing.assert_allclose(read_rig(tmp_path / "o.toml").t, RIG.t, atol=1e-9)


def _without_sizes(folder: Path) -> Path:
    write_rig(RIG, folder / "easy", RigFormat.EASYMOCAP)
    intrinsic = folder / "easy" / "intri.yml"
    intrinsic.write_text("".join(s for s in intrinsic.read_text().splitlines(True) if s[:2] not in ("H_", "W_")))
    return folder / "easy"


def test_image_sizes_from_the_command_line_or_the_videos(tmp_path):
    source = _without_sizes(tmp_path)
    with pytest.raises(CalibrationError, match="no image size"):
        _run(source, tmp_path / "o.toml")
    _run(source, tmp_path / "o.toml", "--image-size", "320x240")
    assert read_rig(tmp_path / "o.toml").cameras[0].size == (320, 240)
    videos = tmp_path / "videos"
    videos.mkdir()
    for i, (w, h) in enumerate([(320, 240), (240, 320), (64, 48)]):
        write_video(videos / f"cam_{i}.mp4", [np.zeros((h, w, 3), np.uint8)] * 2, 25.0, (w, h))
    _run(source, tmp_path / "v.toml", "--videos", videos)
    assert [c.size for c in read_rig(tmp_path / "v.toml").cameras] == [(320, 240), (240, 320), (64, 48)]


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["--to", "vicon"], CalibrationError, "can only be read"),
        (["--to", "colmpa"], SettingsError, "not one of the choices"),
        (["--from", "nothing"], SettingsError, "not one of the choices"),
        (["--from", "vicon"], CalibrationError, "not a Vicon"),
        (["--units", "feet"], SettingsError, "not a unit"),
        (["--units", "-1"], SettingsError, "not a unit"),
        (["--image-size", "1920"], SettingsError, "not an image size"),
        (["--up", "w"], CalibrationError, "no such axis"),
        (["--cameras", "cam_9"], CalibrationError, "'cam_9'"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(tmp_path, rig_file, arguments, kind, said):
    with pytest.raises(kind, match=said):
        _run(rig_file, tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["easymocap", "human36m"])
def test_a_lens_that_the_format_has_not_is_said_of_the_file_asked_for(tmp_path, to):
    fisheye = tuple(replace(c, lens=Lens.FISHEYE) for c in RIG.cameras)
    write_rig(CameraRig(fisheye), tmp_path / "rig.toml")
    with pytest.raises(CalibrationError, match="no fisheye") as raised:
        _run(tmp_path / "rig.toml", tmp_path / "out", "--to", to)
    assert str(raised.value).startswith(f"{tmp_path / 'out'}:")
    assert {p.name for p in tmp_path.iterdir()} == {"rig.toml"}


def test_a_file_in_the_way_of_a_folder(tmp_path, rig_file):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StorageError, match="this is a file"):
        _run(rig_file, tmp_path / "out", "--to", "colmap")
    assert (tmp_path / "out").read_text() == "mine"
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder, not a file"):
        _run(rig_file, tmp_path / "folder")


def test_a_session_is_made_from_any_calibration_of_one_file(tmp_path):
    (tmp_path / "calibration").mkdir()
    write_rig(RIG, tmp_path / "calibration" / "cameras.json", RigFormat.HUMAN36M)
    write_rig(RIG, tmp_path / "model", RigFormat.COLMAP)
    found = find_calibration(NewSession(tmp_path / "s", [], None, tmp_path / "calibration", None))
    assert found == tmp_path / "calibration" / "cameras.json"
    for several in (tmp_path / "model", tmp_path / "model" / "images.txt"):
        with pytest.raises(CalibrationError, match="several files") as raised:
            find_calibration(NewSession(tmp_path / "s", [], None, several, None))
        assert "mocap convert-calibration" in str(raised.value)
