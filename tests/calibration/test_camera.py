"""Cameras refuse what is no calibration; transforms form a group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig
from calibration.errors import CalibrationError
from calibration.projection import Lenses, project
from calibration.transforms import RigidTransform


def camera(name: str = "a", **changes: object) -> Camera:
    values = {
        "size": (640, 480), "K": np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]), "distortion": np.zeros(5),
        "R": np.eye(3), "t": np.array([0.0, 0.0, 2.0]),
    }  # fmt: skip
    return Camera(name, **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"R": np.diag([1.0, 1.0, -1.0])}, "left-handed"),
        ({"R": 1.1 * np.eye(3)}, "not a rotation"),
        ({"K": np.zeros((3, 3))}, "focal length"),
        ({"t": np.array([0, np.nan, 0])}, "NaN"),
        ({"distortion": np.zeros(4)}, "shape"),
    ],
)
def test_refuses_what_is_no_camera(changes, said):
    with pytest.raises(CalibrationError, match=said):
        camera(**changes)


def test_centre_is_where_the_camera_stands():
    R = Rotation.from_rotvec([0.1, 0.7, -0.3]).as_matrix()
    centre = np.array([1.0, -2.0, 1.5])
    np.testing.assert_allclose(camera(R=R, t=-R @ centre).centre, centre)


def test_resized_camera_sees_the_same_scene(rng):
    """A point at the image corner (-0.5) stays at the corner when the image is sampled finer."""
    points = rng.normal(size=(20, 3)) * 0.3
    small = camera()
    large = small.resized((1280, 960))
    p, q = (project(Lenses.of(CameraRig((c,))), points)[0] for c in (small, large))
    np.testing.assert_allclose(q + 0.5, 2 * (p + 0.5), atol=1e-9)


def test_select_names_the_camera_without_calibration():
    rig = CameraRig((camera("a"), camera("b")))
    assert rig.select(["b"]).names == ("b",)
    with pytest.raises(CalibrationError, match="'c'"):
        rig.select(["a", "c"])
    with pytest.raises(CalibrationError, match="more than once"):
        CameraRig((camera("a"), camera("a")))


vectors = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)
# Angles down to 1e-9 rad: the rotation vector must not lose them.
transforms = st.builds(
    lambda axis, angle, t: RigidTransform.from_rotation_vector(angle * axis / (np.linalg.norm(axis) + 1e-12), t),
    vectors,
    st.sampled_from([0.0, 1e-9, 1e-6, 0.3, 2.0, 3.1]),
    vectors,
)


@given(transforms, transforms, transforms, vectors)
def test_transforms_form_a_group(a_from_b, b_from_c, c_from_d, x):
    left = ((a_from_b @ b_from_c) @ c_from_d).apply(x)
    right = (a_from_b @ (b_from_c @ c_from_d)).apply(x)
    np.testing.assert_allclose(left, right, atol=1e-9)
    np.testing.assert_allclose(a_from_b.inverse().apply(a_from_b.apply(x)), x, atol=1e-9)
    again = RigidTransform.from_rotation_vector(a_from_b.rotation_vector, a_from_b.t)
    np.testing.assert_allclose(again.R, a_from_b.R, atol=1e-9)
