"""Real calibration files, judged by what their cameras filmed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from calibration.formats import WRITABLE, ReadOptions, RigFormat, detect_format, import_rig, read_rig, write_rig
from calibration.formats.detect import locate
from calibration.projection import Lenses, project


def _score(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration_score", shared / "bench/calibration/score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def caliscope(shared: Path) -> Path:
    return shared / "data/calibration/charuco_4cam/caliscope_camera_array.toml"


@pytest.mark.parametrize("through", [None, RigFormat.COLMAP, RigFormat.EASYMOCAP, RigFormat.HUMAN36M])
def test_caliscope_rig_reprojects_the_board_it_filmed(shared, caliscope, tmp_path, through):
    """Corners of the real footage, triangulated: the residual of a good calibration, whatever format lies between."""
    rig = read_rig(caliscope)
    assert rig.names == ("cam_0", "cam_1", "cam_2", "cam_3")
    if through is not None:
        write_rig(rig, tmp_path / "between", through)
        rig = read_rig(tmp_path / "between", through)
    write_rig(rig, tmp_path / "rig.toml")
    found = _score(shared).score(tmp_path / "rig.toml", shared / "bench/calibration/corners_charuco_4cam.csv", 0.054)
    # A wrong convention gives tens of pixels; the stored solution itself has 1.3 px, its square 54 mm.
    assert found["rms_px"] < 1.35
    assert found["square_rmse_mm"] < 0.65
    assert abs(found["square_bias_mm"]) < 0.3


def test_human36m_cameras_stand_round_the_subject(shared):
    path = shared / "data/motion/h36m_camera_parameters.json"
    assert detect_format(path) is RigFormat.HUMAN36M
    subjects = json.loads(path.read_text())["extrinsics"]
    assert len(subjects) > 1
    person = np.array([0.0, 0.0, 1.0])
    for subject in subjects:
        rig = read_rig(path, options=ReadOptions(subject=subject))
        distance = np.linalg.norm(rig.centres[:, :2], axis=1)
        assert ((distance > 2) & (distance < 7)).all()
        # z up: the cameras hang at 1-2.5 m, and see someone in the middle near the middle of the image.
        assert ((rig.centres[:, 2] > 1) & (rig.centres[:, 2] < 2.5)).all()
        assert (np.abs(project(Lenses.of(rig), person) - 500) < 250).all()
        # Up in the world is up in the image.
        head, feet = project(Lenses.of(rig), person + [0, 0, 0.7]), project(Lenses.of(rig), person - [0, 0, 0.9])
        assert (head[:, 1] < feet[:, 1] - 150).all()
    # The hall's four cameras are some 4 x 9 m apart.
    gaps = np.linalg.norm(rig.centres[:, None] - rig.centres[None], axis=-1)
    assert 7 < gaps.max() < 11


def test_qualisys_portrait_cameras_see_the_volume(shared):
    imported = import_rig(shared / "data/single/calibration/Calib.qca.txt")
    assert imported.notes == ()
    rig = imported.rig
    assert {c.size for c in rig.cameras} == {(1088, 1920)}
    # z up, cameras at 1-3 m: a standing person is upright in the portrait images.
    middle = rig.centres[:, :2].mean(0)
    head, feet = project(Lenses.of(rig), np.array([[*middle, 1.8], [*middle, 0.0]])).transpose(1, 0, 2)
    assert (head[:, 1] < feet[:, 1]).all()
    assert (np.abs(head[:, 0] - feet[:, 0]) < np.abs(head[:, 1] - feet[:, 1])).all()


@pytest.mark.parametrize("where", ["bench/shelf/rig.toml", "bench/geometry/rig.toml", "data/single/calibration"])
@pytest.mark.parametrize("rig_format", WRITABLE)
def test_real_rigs_survive_every_format(shared, tmp_path, where, rig_format):
    source = shared / where
    source = locate(source / "Calib.qca.txt") if source.is_dir() else source
    rig = read_rig(source)
    path = tmp_path / "out"
    write_rig(rig, path, rig_format)
    again = read_rig(path, rig_format)
    assert again.names == rig.names
    for field in ("K", "distortion", "R", "t"):
        np.testing.assert_allclose(getattr(again, field), getattr(rig, field), rtol=0, atol=1e-9)
    assert [c.size for c in again.cameras] == [c.size for c in rig.cameras]
