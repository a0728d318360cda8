"""The compiled lens model against the one that `calibration.projection` has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.projection import Lenses, distort, project, rays, undistort
from mocap.lens_kernels import normalise, pixels_of, slot_rays
from mocap.synthetic.rig import ring_rig


@pytest.fixture(params=["straight", "lens", "fisheye"])
def lenses(request):
    found = Lenses.of(ring_rig(3, seed=5, distortion=0.0 if request.param == "straight" else 1.0))
    if request.param == "fisheye":
        coefficients = np.array([[0.02, -0.01, 0.003, -0.001, 0.0]] * 3)
        found = replace(found, distortion=coefficients, fisheye=np.ones(3, bool))
    return replace(found, fisheye=np.asarray(found.fisheye, bool))


def test_rays_and_pixels(lenses, rng):
    pixels = rng.uniform(50, 1000, (3, 40, 2)).astype(np.float32)
    pixels[1, 3] = np.nan
    d = np.empty((3, 40, 3))
    slot_rays(lenses.K, lenses.distortion, lenses.fisheye, lenses.R, pixels, d)
    np.testing.assert_allclose(d, rays(lenses, pixels.astype(float))[1], atol=1e-12)
    points = rng.normal(0, 0.5, (20, 3)) + [0, 0, 1]
    for v in range(3):
        u = np.empty((20, 2))
        pixels_of(lenses.K[v], lenses.distortion[v], bool(lenses.fisheye[v]), lenses.R[v], lenses.t[v], points,
                  np.empty((2, 2)), u)  # fmt: skip
        np.testing.assert_allclose(u, project(lenses, points)[v], atol=1e-8)


def test_normalised_coordinates(lenses, rng):
    pixels = rng.uniform(50, 1000, (3, 30, 2))
    u, A = np.empty((30, 3, 2)), np.empty((30, 3, 2, 2))
    normalise(lenses.K, lenses.distortion, lenses.fisheye, pixels, u, A)
    xy = undistort(lenses, pixels)
    np.testing.assert_allclose(u, np.swapaxes(xy, 0, 1), atol=1e-12)
    expected = lenses.K[:, None, :2, :2] @ distort(lenses, xy)[1]
    np.testing.assert_allclose(A, np.swapaxes(expected, 0, 1), atol=1e-7)
