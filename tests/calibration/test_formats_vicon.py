"""Vicon's .xcp: poses, and lenses that map from the distorted to the straight image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.formats import import_rig
from calibration.projection import Lenses, project

# A camera at (1, 2, 3) m that looks along the world's +y with its image upright: x right = world x, y down = -z.
FORWARD = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
CENTRE = np.array([1.0, 2.0, 3.0])
T = np.array([-1.0, 3.0, -2.0])  # -R c
# Another one two metres to its right.
CENTRE_2 = np.array([3.0, 2.0, 3.0])
# One metre ahead of the first, 0.1 m to the right and 0.2 m up: x/z = 0.1, y/z = -0.2.
POINT = np.array([1.1, 3.0, 3.2])


def _xcp(radial: str, aspect: float = 1.0, kind: str = "VideoInput") -> str:
    x, y, z, w = Rotation.from_matrix(FORWARD).as_quat()
    frames = "".join(
        f"""<Camera DEVICEID="21{i}" NAME="Vue{i}" TYPE="{kind}" SENSOR_SIZE="1920 1080" PIXEL_ASPECT_RATIO="{aspect}">
        <KeyFrames><KeyFrame FRAME="0" FOCAL_LENGTH="1000" PRINCIPAL_POINT="955 545"
          ORIENTATION="{x} {y} {z} {w}" POSITION="{c[0] * 1000} {c[1] * 1000} {c[2] * 1000}" {radial}/></KeyFrames>
        </Camera>"""
        for i, c in enumerate([CENTRE, CENTRE_2])
    )
    infrared = '<Camera DEVICEID="99" TYPE="Vero" SENSOR_SIZE="2048 1088"><KeyFrames><KeyFrame/></KeyFrames></Camera>'
    return f'<?xml version="1.0"?><Cameras VERSION="1.1">{infrared if kind == "VideoInput" else ""}{frames}</Cameras>'


def test_vicon_poses_and_pinhole(tmp_path):
    path = tmp_path / "take.xcp"
    path.write_text(_xcp('VICON_RADIAL2="Vicon3Parameter 955 545 0 0 0"', aspect=1.25))
    imported = import_rig(path)
    np.testing.assert_allclose(imported.rig.R[0], FORWARD, atol=1e-9)
    np.testing.assert_allclose(imported.rig.centres, [CENTRE, CENTRE_2], atol=1e-9)
    np.testing.assert_allclose(imported.rig.K[0], [[1000, 0, 955], [0, 800, 545], [0, 0, 1]])
    assert imported.rig.names == ("210", "211")
    assert "210 is Vue0, 211 is Vue1" in imported.notes[0]
    np.testing.assert_allclose(project(Lenses.of(imported.rig), POINT)[0], [955 + 100, 545 - 160])
    assert "99: no video cameras" in imported.notes[-1]


@pytest.mark.parametrize(
    ("radial", "middle", "k", "allowed"),
    [
        ("VICON_RADIAL2='Vicon3Parameter 955 545 6e-8 2e-14 1e-21'", (955, 545), (6e-8, 2e-14, 1e-21), 0.05),
        # A lens whose centre is 16 px off the principal point is only nearly Brown-Conrady's tangential term.
        ("VICON_RADIAL2='Vicon3Parameter 968 536 -4e-8 1e-14 0'", (968, 536), (-4e-8, 1e-14, 0), 0.2),
        ("VICON_RADIAL='5e-8 1e-14'", (955, 545), (5e-8, 1e-14, 0), 0.05),
    ],
)
def test_vicon_lens_maps_the_other_way_round(tmp_path, rng, radial, middle, k, allowed):
    """A raw pixel chosen first, straightened by hand and sent out as a ray, must be seen where it was chosen."""
    path = tmp_path / "take.xcp"
    path.write_text(_xcp(radial))
    imported = import_rig(path)
    raw = rng.uniform((0, 0), (1919, 1079), (200, 2))
    offset = raw - middle
    d2 = (offset**2).sum(1, keepdims=True)
    ideal = middle + offset * (1 + k[0] * d2 + k[1] * d2**2 + k[2] * d2**3)
    assert np.abs(ideal - raw).max() > 20  # a lens worth the name
    rays = np.column_stack([(ideal - (955, 545)) / 1000, np.ones(len(raw))])
    points = (5 * rays - T) @ FORWARD
    error = np.linalg.norm(project(Lenses.of(imported.rig), points)[0] - raw, axis=1)
    assert error.max() < allowed
    said = float(imported.notes[0].split(", ")[-1].split(" px")[0])
    assert error.max() <= said * 1.05 + 1e-6
