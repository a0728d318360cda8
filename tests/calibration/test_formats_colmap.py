"""COLMAP models: camera models, the pixel that is counted from the corner, text and binary files."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from calibration.camera import Lens
from calibration.errors import CalibrationError
from calibration.formats import read_rig

# x right = world x, y down = -z: a quarter turn about x.
FORWARD = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
COLMAP_CAMERAS = """# Camera list
1 PINHOLE 1920 1080 1000 1010 960.5 540.5
2 SIMPLE_RADIAL 1920 1080 1000 960.5 540.5 -0.1
3 RADIAL 1920 1080 1000 960.5 540.5 -0.1 0.02
4 OPENCV 1920 1080 1000 1010 960.5 540.5 -0.1 0.02 0.001 -0.002
5 FULL_OPENCV 1920 1080 1000 1010 960.5 540.5 -0.1 0.02 0.001 -0.002 0.003 0 0 0
6 OPENCV_FISHEYE 1920 1080 1000 1010 960.5 540.5 0.01 0.02 0.03 0.04
7 SIMPLE_PINHOLE 1920 1080 1000 960.5 540.5
8 RADIAL_FISHEYE 1920 1080 1000 960.5 540.5 0.01 0.02
"""
COLMAP_EXPECTED = [
    (1010, [0, 0, 0, 0, 0]), (1000, [-0.1, 0, 0, 0, 0]), (1000, [-0.1, 0.02, 0, 0, 0]),
    (1010, [-0.1, 0.02, 0.001, -0.002, 0]), (1010, [-0.1, 0.02, 0.001, -0.002, 0.003]),
    (1010, [0.01, 0.02, 0.03, 0.04, 0]), (1000, [0, 0, 0, 0, 0]), (1000, [0.01, 0.02, 0, 0, 0]),
]  # fmt: skip
HALF = float(np.sqrt(0.5))


def _colmap_images(n: int, *, empty_lines: bool = True, names: str = "cam {i}.png") -> str:
    # A quarter turn about x: w = x = sqrt(1/2).
    rows = []
    for i in range(1, n + 1):
        rows.append(f"{i} {HALF!r} {HALF!r} 0 0 {-1.0 - i} 3 -2 {i} {names.format(i=i)}")
        rows += ["10.5 20.5 -1 30 40 17"] if i % 2 else [""] * empty_lines
    return "# Image list\n" + "\n".join(rows) + "\n"


def _assert_colmap(rig):
    for camera, (fy, distortion) in zip(rig.cameras, COLMAP_EXPECTED, strict=True):
        np.testing.assert_allclose(camera.K, [[1000, 0, 960], [0, fy, 540], [0, 0, 1]])
        np.testing.assert_allclose(camera.distortion, distortion)
        np.testing.assert_allclose(camera.R, FORWARD, atol=1e-12)
    np.testing.assert_allclose(rig.centres[:, 0], np.arange(2.0, 10.0))
    np.testing.assert_allclose(rig.centres[:, 1:], np.broadcast_to([2.0, 3.0], (8, 2)))
    assert [c.lens is Lens.FISHEYE for c in rig.cameras] == [False] * 5 + [True, False, True]


@pytest.mark.parametrize("empty_lines", [True, False])
def test_colmap_text(tmp_path, empty_lines):
    (tmp_path / "cameras.txt").write_text(COLMAP_CAMERAS)
    (tmp_path / "images.txt").write_text(_colmap_images(8, empty_lines=empty_lines))
    rig = read_rig(tmp_path)
    _assert_colmap(rig)
    assert rig.names == tuple(f"cam {i}" for i in range(1, 9))


def test_colmap_names_folders_where_the_files_are_alike(tmp_path):
    (tmp_path / "cameras.txt").write_text(COLMAP_CAMERAS)
    (tmp_path / "images.txt").write_text(_colmap_images(8, names="view{i}/000000.jpg"))
    assert read_rig(tmp_path).names == tuple(f"view{i}" for i in range(1, 9))


def test_colmap_binary(tmp_path):
    numbers = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5,
               "FULL_OPENCV": 6, "RADIAL_FISHEYE": 9}  # fmt: skip
    rows = [line.split() for line in COLMAP_CAMERAS.splitlines()[1:]]
    cameras = struct.pack("<Q", 8)
    images = struct.pack("<Q", 8)
    for i, (camera_id, model, w, h, *p) in enumerate(rows, start=1):
        cameras += struct.pack("<IiQQ", int(camera_id), numbers[model], int(w), int(h))
        cameras += struct.pack(f"<{len(p)}d", *map(float, p))
        images += struct.pack("<I7dI", i, HALF, HALF, 0, 0, -1.0 - i, 3, -2, i) + f"cam{i}.png".encode() + b"\0"
        images += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.5, 2.5, -1, 3, 4, 17)
    (tmp_path / "cameras.bin").write_bytes(cameras)
    (tmp_path / "images.bin").write_bytes(images)
    _assert_colmap(read_rig(tmp_path))
    (tmp_path / "images.bin").write_bytes(images[:-60])
    with pytest.raises(CalibrationError, match="ends in the middle"):
        read_rig(tmp_path)
