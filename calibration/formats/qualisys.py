"""Qualisys Track Manager calibration (.qca.txt, XML).

``transform`` holds the camera's centre (x, y, z in mm) and its rotation; Qualisys cameras look along
-z with y up, so ``R_cv = diag(1, -1, -1) [rij]`` and ``t = -R_cv c``. Focal length and principal
point are in 1/64 px of the sensor; the distortion is dimensionless. The principal point is counted
from the sensor's corner, the image begins at ``fov_video``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from calibration.camera import Camera
from calibration.errors import CalibrationError
from calibration.formats.common import MILLIMETRE, Imported, ReadOptions, make_camera, make_rig
from calibration.formats.xml import parse_xml

_SUBPIXEL = 64.0
_FLIP = np.diag([1.0, -1.0, -1.0])


def read_qualisys(path: Path, options: ReadOptions) -> Imported:
    """Read the active cameras of a Qualisys calibration; lengths are millimetres unless `options` say otherwise.

    Raises
    ------
    CalibrationError
        Not XML, no active camera, or missing values (named with the camera).
    """
    root = parse_xml(path, "Qualisys calibration")
    nodes = [n for n in root.iter("camera") if n.get("active", "1") == "1"]
    if not nodes:
        raise CalibrationError("no active camera in the file", where=str(path))
    cameras = [_camera(n, path, options.unit(MILLIMETRE)) for n in nodes]
    return make_rig(cameras, f"Qualisys wand and L-frame, {path.name}", path, options)


def _numbers(node: ET.Element, tag: str, names: list[str], camera: str, path: Path) -> list[float]:
    child = node.find(tag)
    values = [] if child is None else [child.get(n) for n in names]
    try:
        if not values or None in values:
            raise ValueError(
                ", ".join(n for n, v in zip(names, values or [None] * len(names), strict=True) if v is None)
            )
        return [float(str(v)) for v in values]
    except ValueError as error:
        raise CalibrationError(
            f"camera {camera}: <{tag}> is incomplete", expected=", ".join(names), found=str(error), where=str(path)
        ) from error


def _camera(node: ET.Element, path: Path, metres: float) -> Camera:
    name = node.get("serial", "?")
    rij = [f"r{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)]
    pose = _numbers(node, "transform", [*rij, "x", "y", "z"], name, path)
    left, top, right, bottom = _numbers(node, "fov_video", ["left", "top", "right", "bottom"], name, path)
    fx, fy, cx, cy = (
        v / _SUBPIXEL
        for v in _numbers(
            node, "intrinsic", ["focalLengthU", "focalLengthV", "centerPointU", "centerPointV"], name, path
        )
    )
    k1, k2, k3, p1, p2 = _numbers(
        node,
        "intrinsic",
        [f"radialDistortion{i}" for i in (1, 2, 3)] + [f"tangentalDistortion{i}" for i in (1, 2)],
        name,
        path,
    )
    R = _FLIP @ np.array(pose[:9]).reshape(3, 3)
    K = np.array([[fx, 0, cx - left], [0, fy, cy - top], [0, 0, 1]])
    camera = make_camera(
        name=name,
        size=(int(right - left) + 1, int(bottom - top) + 1),
        K=K,
        distortion=np.array([k1, k2, p1, p2, k3]),
        R=R,
        t=-R @ (np.array(pose[9:]) * metres),
        path=path,
    )
    return _unrotated_view(camera, int(float(node.get("viewrotation", "0"))), path)


def _unrotated_view(camera: Camera, degrees: int, path: Path) -> Camera:
    """The camera of the video as shown, turned by `degrees` clockwise against the sensor."""
    if degrees not in (0, 90, 180, 270):
        raise CalibrationError(
            f"camera {camera.name}: viewrotation", expected="0, 90, 180 or 270", found=str(degrees), where=str(path)
        )
    for _ in range(degrees // 90):
        camera = _turned_clockwise(camera)
    return camera


def _turned_clockwise(camera: Camera) -> Camera:
    """A quarter turn of the image: (u, v) -> (h - 1 - v, u)."""
    height = camera.size[1]
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    K = camera.K
    k1, k2, p1, p2, k3 = camera.distortion
    turned = np.array([[K[1, 1], 0, height - 1 - K[1, 2]], [0, K[0, 0], K[0, 2]], [0, 0, 1]])
    # Tangential terms follow the axes: (p1, p2) multiply the y and x direction of the decentering.
    return Camera(
        camera.name,
        (height, camera.size[0]),
        turned,
        np.array([k1, k2, p2, -p1, k3]),
        turn @ camera.R,
        turn @ camera.t,
        camera.lens,
    )
