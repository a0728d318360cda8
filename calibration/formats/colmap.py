"""COLMAP's sparse model: cameras.txt and images.txt (or .bin).

World to camera, quaternion w first; the unit and the axes are those of the reconstruction. The middle of
COLMAP's top-left pixel is (0.5, 0.5), ours is (0, 0): ``cx = cx_colmap - 0.5``. Each image is a camera.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.formats.common import (
    Array,
    Imported,
    ReadOptions,
    Size,
    lens_coefficients,
    make_camera,
    make_rig,
    pinhole,
    quaternion,
    read_text,
)

# Where each model's parameters go: fx fy cx cy, then coefficients in the order of our lens.
_F, _FXY = (0, 0, 1, 2), (0, 1, 2, 3)
_BROWN, _FISHEYE = Lens.BROWN_CONRADY, Lens.FISHEYE
# name -> (id in .bin, number of parameters, indices of fx fy cx cy, indices of coefficients, lens)
MODELS: dict[str, tuple[int, int, tuple[int, ...], tuple[int, ...], Lens]] = {
    "SIMPLE_PINHOLE": (0, 3, _F, (), _BROWN),
    "PINHOLE": (1, 4, _FXY, (), _BROWN),
    "SIMPLE_RADIAL": (2, 4, _F, (3,), _BROWN),
    "RADIAL": (3, 5, _F, (3, 4), _BROWN),
    "OPENCV": (4, 8, _FXY, (4, 5, 6, 7), _BROWN),
    "OPENCV_FISHEYE": (5, 8, _FXY, (4, 5, 6, 7), _FISHEYE),
    "FULL_OPENCV": (6, 12, _FXY, tuple(range(4, 12)), _BROWN),
    "SIMPLE_RADIAL_FISHEYE": (8, 4, _F, (3,), _FISHEYE),
    "RADIAL_FISHEYE": (9, 5, _F, (3, 4), _FISHEYE),
}
_HALF_PIXEL = 0.5


@dataclass(frozen=True, eq=False)
class ColmapCamera:
    """A line of cameras.txt: an id, a model's name, the image size and the model's parameters float64 [P]."""

    camera_id: int
    model: str
    size: Size
    parameters: Array


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """The first line of an image in images.txt: rotation (w x y z), translation, camera id and file name."""

    rotation: Array
    translation: Array
    camera_id: int
    name: str


def find_model(folder: Path) -> Path | None:
    """The folder that holds a sparse model: `folder`, its sparse/0 or its sparse; None when there is none."""
    for candidate in (folder, folder / "sparse" / "0", folder / "sparse", folder / "0"):
        for suffix in (".txt", ".bin"):
            if all((candidate / f"{stem}{suffix}").is_file() for stem in ("cameras", "images")):
                return candidate
    return None


def read_colmap(path: Path, options: ReadOptions) -> Imported:
    """Read a sparse model from its folder (or one of its files).

    Raises
    ------
    CalibrationError
        A file is missing or damaged, a camera model is not supported, or values are wrong.
    """
    folder = find_model(path if path.is_dir() else path.parent)
    if folder is None:
        raise CalibrationError(
            "no COLMAP model in the folder", expected="cameras.txt and images.txt (or .bin)", where=str(path)
        )
    if (folder / "cameras.txt").is_file() and (folder / "images.txt").is_file():
        cameras = _read_cameras(folder / "cameras.txt")
        images = _read_images(folder / "images.txt")
    else:
        from calibration.formats.colmap_binary import read_cameras, read_images

        cameras, images = read_cameras(folder / "cameras.bin"), read_images(folder / "images.bin")
    by_id = {c.camera_id: c for c in cameras}
    images = sorted(images, key=lambda image: image.name)
    rows = [
        _camera(name, image, by_id, folder, options)
        for name, image in zip(_names([i.name for i in images]), images, strict=True)
    ]
    imported = make_rig(rows, f"COLMAP reconstruction {folder.name} (its own axes and scale)", folder, options)
    note = "COLMAP's scale and axes are arbitrary unless it was given known positions: set them with --units and --up"
    return Imported(imported.rig, (*imported.notes, note))


def _names(files: list[str]) -> list[str]:
    """Camera names of images: the file's stem, else its folder, else the path, whichever tells all apart."""
    paths = [PurePosixPath(f.replace("\\", "/")) for f in files]
    for names in ([p.stem for p in paths], [p.parent.name for p in paths]):
        if len(set(names)) == len(names) and all(names):
            return names
    return [str(p.with_suffix("")) for p in paths]


def _camera(
    name: str, image: ColmapImage, cameras: dict[int, ColmapCamera], folder: Path, options: ReadOptions
) -> Camera:
    what = f"image {image.name}"
    if image.camera_id not in cameras:
        raise CalibrationError(
            f"{what}: no camera {image.camera_id} in cameras", expected=f"one of {sorted(cameras)}", where=str(folder)
        )
    lens = cameras[image.camera_id]
    if lens.model not in MODELS:
        raise CalibrationError(
            f"{what}: camera model {lens.model} is not supported",
            expected=", ".join(MODELS),
            where=str(folder),
            hint="run colmap with --ImageReader.camera_model OPENCV or OPENCV_FISHEYE",
        )
    _, count, intrinsic, coefficients, kind = MODELS[lens.model]
    if lens.parameters.shape != (count,):
        raise CalibrationError(
            f"camera {lens.camera_id}: {lens.model} has {count} parameters",
            found=str(len(lens.parameters)),
            where=str(folder),
        )
    fx, fy, cx, cy = lens.parameters[list(intrinsic)]
    given = np.zeros(4 if kind is Lens.FISHEYE else 8)
    given[: len(coefficients)] = lens.parameters[list(coefficients)]
    w, *xyz = image.rotation
    return make_camera(
        name,
        lens.size,
        pinhole(fx, fy, cx - _HALF_PIXEL, cy - _HALF_PIXEL),
        lens_coefficients(given, kind, f"camera {lens.camera_id} ({lens.model})", folder),
        quaternion([*xyz, w], what, folder),
        image.translation * options.unit(1.0),
        folder,
        kind,
    )


def _rows(path: Path) -> list[tuple[int, str]]:
    """Numbered lines without comments; empty ones stay, as an image without points has one."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(i, line.strip()) for i, line in lines if not line.lstrip().startswith("#")]


def _bad_line(path: Path, number: int, expected: str, error: Exception) -> CalibrationError:
    return CalibrationError(f"line {number} is not understood", expected=expected, found=str(error), where=str(path))


def _read_cameras(path: Path) -> list[ColmapCamera]:
    cameras = []
    for number, line in _rows(path):
        if not line:
            continue
        try:
            camera_id, model, width, height, *parameters = line.split()
            size = (int(width), int(height))
            cameras.append(ColmapCamera(int(camera_id), model, size, np.array(parameters, dtype=np.float64)))
        except ValueError as error:
            raise _bad_line(path, number, "CAMERA_ID MODEL WIDTH HEIGHT PARAMETERS", error) from error
    if not cameras:
        raise CalibrationError("no camera in the file", where=str(path))
    return cameras


def _read_images(path: Path) -> list[ColmapImage]:
    """Images; the line after each, its 2D points, is passed over."""
    images = []
    points_follow = False
    for number, line in _rows(path):
        if points_follow and not _is_image(line):
            points_follow = False
            continue
        if not line:
            continue
        try:
            _, *values, camera_id, name = line.split(maxsplit=9)
            pose = np.array(values, dtype=np.float64)
            if pose.shape != (7,):
                raise ValueError(f"{len(values)} numbers")
            images.append(ColmapImage(pose[:4], pose[4:], int(camera_id), name))
        except ValueError as error:
            raise _bad_line(path, number, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", error) from error
        points_follow = True
    if not images:
        raise CalibrationError("no image in the file", where=str(path))
    return images


def _is_image(line: str) -> bool:
    """Whether a line that should hold points is the next image: some programs leave empty lines out."""
    parts = line.split(maxsplit=9)
    if len(parts) < 10:
        return False
    try:
        [float(p) for p in parts[9].split()]
    except ValueError:
        return True
    return False


def write_colmap(rig: CameraRig, folder: Path) -> tuple[str, ...]:
    """Write cameras.txt, images.txt and an empty points3D.txt into `folder`; returns what is not held.

    Raises
    ------
    CalibrationError
        A camera with skew, for which COLMAP has no model.
    """
    cameras = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    images = ["# Image list with two lines of data per image:"]
    images += ["#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "#   POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, camera in enumerate(rig.cameras, start=1):
        if camera.K[0, 1]:
            raise CalibrationError(f"COLMAP has no model with skew (camera {camera.name!r})", where=str(folder))
        model, parameters = _model(camera)
        cameras.append(f"{number} {model} {camera.size[0]} {camera.size[1]} {_text(parameters)}")
        x, y, z, w = Rotation.from_matrix(camera.R).as_quat(canonical=True)
        images += [f"{number} {_text([w, x, y, z])} {_text(camera.t)} {number} {camera.name}.jpg", ""]
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", ["# 3D point list: none"])):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ("images are named after the cameras, NAME.jpg",)


def _model(camera: Camera) -> tuple[str, list[float]]:
    """The smallest of COLMAP's models that holds the camera's lens, and its parameters."""
    K, d = camera.K, camera.distortion
    intrinsic = [K[0, 0], K[1, 1], K[0, 2] + _HALF_PIXEL, K[1, 2] + _HALF_PIXEL]
    if camera.lens is Lens.FISHEYE:
        return "OPENCV_FISHEYE", [*intrinsic, *d[:4]]
    if d[4]:
        return "FULL_OPENCV", [*intrinsic, *d, 0.0, 0.0, 0.0]
    return ("OPENCV", [*intrinsic, *d[:4]]) if d.any() else ("PINHOLE", intrinsic)


def _text(values: Iterable[float]) -> str:
    return " ".join(repr(float(v)) for v in values)
