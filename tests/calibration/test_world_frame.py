"""World frames: exact where the measurements are exact."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.camera import CameraRig
from calibration.errors import CalibrationError
from calibration.projection import Lenses, project
from calibration.transforms import RigidTransform
from calibration.world_frame import WorldFrame, from_board, from_feet, from_l_frame, from_points, in_world
from mocap.synthetic.rig import ring_rig

SECRET = RigidTransform(Rotation.from_rotvec([0.9, -1.4, 0.3]).as_matrix(), np.array([0.4, -2.0, 3.0]))


@pytest.fixture
def rigs() -> tuple[CameraRig, CameraRig]:
    """A rig in its world (floor at z = 0), and the same in another frame."""
    world = ring_rig(4, seed=3)
    return world, in_world(world, WorldFrame(SECRET, "secret"))


def check(world: CameraRig, moved: CameraRig, frame: WorldFrame) -> None:
    again = in_world(moved, frame)
    np.testing.assert_allclose(again.R, world.R, atol=1e-7)
    np.testing.assert_allclose(again.t, world.t, atol=1e-6)


def test_scene_points(rigs):
    world, moved = rigs
    points = {"a": np.array([0.0, 0, 0]), "b": np.array([1.0, 0.2, 0]), "c": np.array([0.1, -0.8, 0.5])}
    pixels = {n: {c: project(Lenses.of(world), p)[i] for i, c in enumerate(world.names)} for n, p in points.items()}
    frame = from_points(moved, points, pixels)
    check(world, moved, frame)
    assert frame.rms_m < 1e-6
    with pytest.raises(CalibrationError, match="too few scene points"):
        from_points(moved, {"a": points["a"]}, pixels)
    with pytest.raises(CalibrationError, match="do not lie as measured"):
        from_points(moved, {**points, "c": points["c"] + 1}, pixels)
    line = {"a": np.array([0.0, 0, 0]), "b": np.array([1.0, 0, 0]), "c": np.array([2.0, 0, 0])}
    with pytest.raises(CalibrationError, match="on a line"):
        from_points(moved, line, pixels)


def test_board_on_the_floor(rigs):
    world, moved = rigs
    # Printed side up: x along the rows, y of the print towards -y of the world.
    world_from_board = RigidTransform(np.diag([1.0, -1.0, -1.0]), np.zeros(3))
    check(world, moved, from_board(SECRET @ world_from_board, moved, "board"))


def test_l_frame(rigs):
    world, moved = rigs
    corner, x, y = SECRET.apply(np.array([[0.0, 0, 0], [0.7, 0, 0], [0.2, 0.4, 0]]))
    check(world, moved, from_l_frame(corner, x, y))
    with pytest.raises(CalibrationError, match="on a line"):
        from_l_frame(corner, x, 2 * x - corner)


def test_feet_give_gravity_and_floor(rigs, rng):
    world, moved = rigs
    n = 400
    angle = np.linspace(0, 4 * np.pi, n)
    feet = np.stack([1.5 * np.cos(angle), np.sin(angle), np.zeros(n)], -1) + rng.normal(0, 0.005, (n, 3))
    feet[::3, 2] += rng.uniform(0.05, 0.3, len(feet[::3]))  # swinging
    heads = feet + [0, 0, 1.7] + rng.normal(0, 0.05, (n, 3))
    again = in_world(moved, from_feet(SECRET.apply(feet), SECRET.apply(heads)))
    # Gravity within half a degree, floor within a centimetre; heading and origin are free.
    up = again.R.swapaxes(-1, -2) @ world.R @ np.array([0, 0, 1.0])
    assert np.degrees(np.arccos(up[:, 2])).max() < 0.5
    np.testing.assert_allclose(again.centres[:, 2], world.centres[:, 2], atol=0.03)
    spot = np.zeros((50, 3)) + rng.normal(0, 0.005, (50, 3))
    with pytest.raises(CalibrationError, match="do not span a floor"):
        from_feet(spot, spot + [0, 0, 1.7])
