"""Calibration files: round trip, the real file, and everything that is no calibration."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.formats import read_rig, write_rig_toml
from calibration.projection import Lenses, project
from mocap.synthetic.rig import ring_rig


def test_rig_toml_round_trip(tmp_path):
    rig = ring_rig(n_cameras=3, seed=1)
    write_rig_toml(rig, tmp_path / "rig.toml")
    again = read_rig(tmp_path / "rig.toml")
    assert again.names == rig.names
    np.testing.assert_allclose(again.K, rig.K)
    np.testing.assert_allclose(again.R, rig.R, atol=1e-12)
    np.testing.assert_allclose(again.t, rig.t)
    np.testing.assert_allclose(again.distortion, rig.distortion)


def test_units_are_honoured(tmp_path):
    rig = ring_rig(n_cameras=2, seed=1)
    write_rig_toml(rig, tmp_path / "rig.toml")
    text = (tmp_path / "rig.toml").read_text().replace('units = "m"', 'units = "mm"')
    (tmp_path / "mm.toml").write_text(text)
    np.testing.assert_allclose(read_rig(tmp_path / "mm.toml").t, rig.t / 1000)


def _qualisys(folder: Path, rotation: int) -> Path:
    """A one-camera file in which the camera stands at (1, 2, 3) m and looks along -z of the world."""
    text = f"""<?xml version="1.0"?><calibration><cameras>
    <camera active="1" serial="7" viewrotation="{rotation}">
      <fov_video left="10" top="20" right="649" bottom="499"/>
      <transform x="1000" y="2000" z="3000" r11="1" r12="0" r13="0" r21="0" r22="1" r23="0" r31="0" r32="0" r33="1"/>
      <intrinsic focalLengthU="32000" focalLengthV="32640" centerPointU="21120" centerPointV="16640"
        radialDistortion1="-0.1" radialDistortion2="0.02" radialDistortion3="0"
        tangentalDistortion1="0.001" tangentalDistortion2="-0.002"/>
    </camera></cameras></calibration>"""
    path = folder / f"Calib{rotation}.qca.txt"
    path.write_text(text)
    return path


def test_qualisys_conventions(tmp_path):
    camera = read_rig(_qualisys(tmp_path, 0)).cameras[0]
    np.testing.assert_allclose(camera.centre, [1, 2, 3])
    np.testing.assert_allclose(camera.K, [[500, 0, 320], [0, 510, 240], [0, 0, 1]])
    assert camera.size == (640, 480)
    # Qualisys looks along -z with y up: a point to the world's +y of the axis is above the centre.
    below, above = project(Lenses.of(read_rig(_qualisys(tmp_path, 0))), np.array([[1.0, 1.9, 0], [1.0, 2.1, 0]]))[0]
    assert above[1] < 240 < below[1]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_qualisys_view_rotation_turns_the_image(tmp_path, rng, rotation):
    points = np.array([1.0, 2.0, 0.0]) + rng.normal(size=(30, 3)) * 0.5
    upright = read_rig(_qualisys(tmp_path, 0))
    turned = read_rig(_qualisys(tmp_path, rotation))
    u, v = project(Lenses.of(upright), points)[0].T
    w, h = upright.cameras[0].size
    expected = {90: (h - 1 - v, u), 180: (w - 1 - u, h - 1 - v), 270: (v, w - 1 - u)}[rotation]
    np.testing.assert_allclose(project(Lenses.of(turned), points)[0].T, expected, atol=1e-9)


def test_reads_the_real_qualisys_file(shared):
    rig = read_rig(shared / "data/single/calibration/Calib.qca.txt")
    root = ET.parse(shared / "data/single/calibration/Calib.qca.txt").getroot()
    centres = [[float(t.get(a)) / 1000 for a in "xyz"] for t in root.iter("transform")]
    np.testing.assert_allclose(rig.centres, centres, atol=1e-9)
    # Cameras on stands look down at people.
    assert (rig.R[:, 2, 2] < 0).all()


WRONG_SHAPE = """
[cam_0]
matrix = [[1, 0], [0, 1]]
size = [1, 1]
distortions = []
rotation = [0, 0, 0]
translation = [0, 0, 0]
"""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rig.toml", "[cam_0]\nname = 'a'", "no camera"),
        ("rig.toml", "[cam_0", "not a TOML"),
        ("rig.toml", "[cam_0]\nmatrix = 3\n", "lacks"),
        ("rig.toml", WRONG_SHAPE, "matrix has the wrong shape"),
        ("calib.xml", "<calibration><cameras/></calibration>", "no active camera"),
        ("calib.xml", "<calibration><camera active='1'/></calibration>", "incomplete"),
        ("calib.xml", "<calibration>", "not a Qualisys"),
        ("notes.txt", "hello", "not a calibration file"),
    ],
)  # fmt: skip
def test_what_is_no_calibration_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(CalibrationError, match=said) as raised:
        read_rig(tmp_path / name)
    assert str(tmp_path) in str(raised.value)


def test_millimetres_taken_for_metres_are_refused(tmp_path):
    rig = ring_rig(n_cameras=3, seed=1)
    write_rig_toml(rig, tmp_path / "rig.toml")
    lines = []
    for line in (tmp_path / "rig.toml").read_text().splitlines():
        if line.startswith("translation"):
            values = [1000 * float(x) for x in line.split("=")[1].strip(" []").split(",")]
            lines.append(f"translation = {values}")
        else:
            lines.append(line)
    (tmp_path / "rig.toml").write_text("\n".join(lines))
    with pytest.raises(CalibrationError, match="far apart"):
        read_rig(tmp_path / "rig.toml")
