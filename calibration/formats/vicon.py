"""Vicon's .xcp (XML).

A camera's first ``KeyFrame`` holds ORIENTATION (quaternion x y z w, world to camera), POSITION (the
centre, mm), FOCAL_LENGTH (px), PRINCIPAL_POINT (px) and the lens, which maps the other way round than
Brown-Conrady: a raw pixel p gives the ideal one,

    q = c + (p - c) (1 + k1 d^2 + k2 d^4 + k3 d^6),   d = |p - c| in px,

with c and k1-k3 in VICON_RADIAL2 ("Vicon3Parameter cx cy k1 k2 k3"), or k1 k2 in VICON_RADIAL of older
files (c is the principal point). Rows count PIXEL_ASPECT_RATIO times. Brown-Conrady and K are fitted to
it over the image; the residual is in the notes.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from calibration.camera import Camera
from calibration.errors import CalibrationError
from calibration.formats.common import (
    MILLIMETRE,
    Array,
    Imported,
    ReadOptions,
    located,
    make_camera,
    make_rig,
    numbers,
    pinhole,
    quaternion,
    size_of,
)
from calibration.formats.lens_fit import LensFit, fit_brown_conrady, image_grid
from calibration.formats.xml import attribute, attribute_numbers, parse_xml

# A lens that cannot be followed to within this is better calibrated anew.
_WORST_FIT_PX = 2.0


def read_vicon(path: Path, options: ReadOptions) -> Imported:
    """Read the video cameras of a Vicon calibration (all cameras where none is marked as video).

    Raises
    ------
    CalibrationError
        Not XML, no calibrated camera, missing or wrong values (named with the camera).
    """
    root = parse_xml(path, "Vicon .xcp")
    nodes = [n for n in root.iter("Camera") if n.find(".//KeyFrame") is not None]
    video = [n for n in nodes if "VIDEO" in n.get("TYPE", "").upper() or n.get("ISDV") == "2"]
    if not nodes:
        raise CalibrationError("no calibrated camera in the file", expected="<Camera> with <KeyFrame>", where=str(path))
    cameras, notes = [], []
    for node in video or nodes:
        camera, fit = _camera(node, path, options)
        cameras.append(camera)
        if fit is not None:
            notes.append(fit.in_words(camera.name))
    called = [f"{_name(n)} is {n.get('NAME')}" for n in video or nodes if n.get("NAME")]
    if called:
        notes.append(f"cameras go by their device ids: {', '.join(called)}")
    others = [_name(n) for n in nodes if video and n not in video]
    if others:
        notes.append(f"left out {', '.join(others)}: no video cameras")
    imported = make_rig(cameras, f"Vicon calibration {path.name}", path, options)
    return Imported(imported.rig, imported.notes + tuple(notes))


def _camera(node: ET.Element, path: Path, options: ReadOptions) -> tuple[Camera, LensFit | None]:
    name = _name(node)
    what = f"camera {name}"
    frame = node.find(".//KeyFrame")
    assert frame is not None  # chosen so by the caller
    size = size_of(attribute_numbers(node, "SENSOR_SIZE", 2, what, path), f"{what} SENSOR_SIZE", path)
    (aspect,) = numbers([node.get("PIXEL_ASPECT_RATIO", "1")], (1,), f"{what} PIXEL_ASPECT_RATIO", path)
    (focal,) = attribute_numbers(frame, "FOCAL_LENGTH", 1, what, path)
    centre = attribute_numbers(frame, "PRINCIPAL_POINT", 2, what, path)
    if aspect <= 0 or focal <= 0:
        raise CalibrationError(
            f"{what} has no usable focal length or pixel aspect", found=f"{focal:g}, {aspect:g}", where=str(path)
        )
    K = pinhole(focal, focal / aspect, centre[0], centre[1])
    R = quaternion(attribute_numbers(frame, "ORIENTATION", 4, what, path), f"{what} ORIENTATION", path)
    position = attribute_numbers(frame, "POSITION", 3, what, path) * options.unit(MILLIMETRE)
    middle, radial = _radial(frame, centre, what, path)
    fit = None
    distortion = np.zeros(5)
    if radial.any():
        pixels = image_grid(size)
        ideal = (straightened(pixels, middle, radial, aspect) - K[:2, 2]) / K[[0, 1], [0, 1]]
        try:
            fit = fit_brown_conrady(ideal, pixels, K)
        except CalibrationError as error:
            raise located(error, path) from error
        if fit.rms_px > _WORST_FIT_PX:
            raise CalibrationError(
                f"{what}: its lens is too far from any Brown-Conrady lens",
                found=fit.in_words(name),
                where=str(path),
                hint="calibrate the video cameras with a board: mocap calibrate",
            )
        K, distortion = fit.K, fit.distortion
    return make_camera(name, size, K, distortion, R, -R @ position, path), fit


def _name(node: ET.Element) -> str:
    """The device id, which is unique and part of the names of Vicon's videos; else what people called it."""
    return node.get("DEVICEID") or node.get("NAME") or node.get("USERID") or "?"


def straightened(pixels: Array, middle: Array, radial: Array, aspect: float) -> Array:
    """Ideal pixels [N, 2] of raw ones under Vicon's lens model (module's equation)."""
    offset = (pixels - middle) * (1.0, aspect)
    d2 = (offset**2).sum(-1, keepdims=True)
    scale = 1 + d2 * (radial[0] + d2 * (radial[1] + d2 * radial[2]))
    return np.asarray(middle + offset * scale / (1.0, aspect))


def _radial(frame: ET.Element, centre: Array, what: str, path: Path) -> tuple[Array, Array]:
    """Centre (px) and k1-k3 of the lens."""
    text = frame.get("VICON_RADIAL2")
    if text is not None:
        kind, *values = text.split()
        if kind != "Vicon3Parameter" or len(values) != 5:
            raise CalibrationError(
                f"{what}: an unknown lens model in VICON_RADIAL2",
                expected="Vicon3Parameter cx cy k1 k2 k3",
                found=text,
                where=str(path),
            )
        five = numbers(values, (5,), f"{what} VICON_RADIAL2", path)
        return five[:2], five[2:]
    k1, k2 = numbers(attribute(frame, "VICON_RADIAL", what, path).split(), (2,), f"{what} VICON_RADIAL", path)
    return centre, np.array([k1, k2, 0.0])
