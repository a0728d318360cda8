"""EasyMocap's intri.yml and extri.yml (OpenCV FileStorage).

``names``; ``K_<name>`` 3x3, ``dist_<name>`` (k1 k2 p1 p2 k3) in the one, ``R_<name>`` (rotation vector),
``Rot_<name>`` 3x3, ``T_<name>`` in the other; world to camera, metres. Newer files may hold the image
size as ``H_<name>``, ``W_<name>``; usually there is none and it must be given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.formats.common import (
    Array,
    Imported,
    ReadOptions,
    Size,
    given_size,
    lens_coefficients,
    make_camera,
    make_rig,
    require,
    size_of,
)
from calibration.formats.opencv_yaml import matrix, read_yaml, write_matrix

INTRINSIC, EXTRINSIC = "intri.yml", "extri.yml"
_SAME_ROTATION = 1e-3


def read_easymocap(path: Path, options: ReadOptions) -> Imported:
    """Read a folder with intri.yml and extri.yml (or either file, with the other beside it).

    Raises
    ------
    CalibrationError
        A file or key is missing, R_ and Rot_ disagree, or no image size is known.
    """
    folder = path if path.is_dir() else path.parent
    for name in (INTRINSIC, EXTRINSIC):
        if not (folder / name).is_file():
            raise CalibrationError(
                f"EasyMocap's {name} is missing", expected=f"{INTRINSIC}, {EXTRINSIC}", where=str(folder)
            )
    intrinsic, extrinsic = read_yaml(folder / INTRINSIC), read_yaml(folder / EXTRINSIC)
    names = intrinsic.get("names")
    if not isinstance(names, list) or not names:
        raise CalibrationError(
            "the file lacks names", expected="names: a list of cameras", where=str(folder / INTRINSIC)
        )
    cameras = [_camera(str(n), intrinsic, extrinsic, folder, options) for n in names]
    return make_rig(cameras, f"as EasyMocap left it in {folder.name}", folder, options)


def _camera(
    name: str, intrinsic: dict[str, Any], extrinsic: dict[str, Any], folder: Path, options: ReadOptions
) -> Camera:
    inside, outside = folder / INTRINSIC, folder / EXTRINSIC
    require(intrinsic, (f"K_{name}", f"dist_{name}"), "the file", inside)
    require(extrinsic, (f"T_{name}",), "the file", outside)
    return make_camera(
        name,
        _size(name, intrinsic, inside, options),
        matrix(intrinsic[f"K_{name}"], (3, 3), f"K_{name}", inside),
        lens_coefficients(
            matrix(intrinsic[f"dist_{name}"], (-1,), f"dist_{name}", inside), Lens.BROWN_CONRADY, f"dist_{name}", inside
        ),
        _rotation(name, extrinsic, outside),
        matrix(extrinsic[f"T_{name}"], (3,), f"T_{name}", outside) * options.unit(1.0),
        outside,
    )


def _size(name: str, intrinsic: dict[str, Any], path: Path, options: ReadOptions) -> Size:
    keys = (f"W_{name}", f"H_{name}")
    given = name in options.image_sizes or options.image_size is not None
    if not given and all(k in intrinsic for k in keys):
        return size_of([intrinsic[k] for k in keys], f"{keys[0]}, {keys[1]}", path)
    return given_size(name, options, path, "EasyMocap's calibration")


def _rotation(name: str, extrinsic: dict[str, Any], path: Path) -> Array:
    vector, full = extrinsic.get(f"R_{name}"), extrinsic.get(f"Rot_{name}")
    if vector is None and full is None:
        raise CalibrationError(f"the file lacks R_{name} and Rot_{name}", expected="one of them", where=str(path))
    R = None if full is None else matrix(full, (3, 3), f"Rot_{name}", path)
    if vector is None:
        return np.asarray(R)
    from_vector = Rotation.from_rotvec(matrix(vector, (3,), f"R_{name}", path)).as_matrix()
    if R is not None and np.abs(R - from_vector).max() > _SAME_ROTATION:
        raise CalibrationError(
            f"R_{name} and Rot_{name} disagree",
            found=f"entries differ by {np.abs(R - from_vector).max():.2g}",
            where=str(path),
            hint="delete the wrong one of the two",
        )
    return np.array(from_vector)


def write_easymocap(rig: CameraRig, folder: Path) -> tuple[str, ...]:
    """Write intri.yml and extri.yml into `folder`; returns what the format cannot hold.

    Raises
    ------
    CalibrationError
        A fisheye camera, or a name that is no YAML key.
    """
    names = "names:\n" + "".join(f'   - "{n}"\n' for n in rig.names)
    intrinsic = extrinsic = f"%YAML:1.0\n---\n{names}"
    for camera in rig.cameras:
        name = camera.name
        if camera.lens is Lens.FISHEYE:
            raise CalibrationError(
                f"EasyMocap has no fisheye model (camera {name!r})",
                where=str(folder),
                hint="use --to anipose",
            )
        if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
            raise CalibrationError(
                f"camera {name!r} cannot be named so in EasyMocap's files",
                expected="letters, digits, - and _",
                where=str(folder),
            )
        intrinsic += write_matrix(f"K_{name}", camera.K) + write_matrix(f"dist_{name}", camera.distortion[None])
        intrinsic += f"H_{name}: {camera.size[1]}\nW_{name}: {camera.size[0]}\n"
        vector = Rotation.from_matrix(camera.R).as_rotvec()
        extrinsic += write_matrix(f"R_{name}", vector[:, None]) + write_matrix(f"Rot_{name}", camera.R)
        extrinsic += write_matrix(f"T_{name}", camera.t[:, None])
    (folder / INTRINSIC).write_text(intrinsic, encoding="utf-8")
    (folder / EXTRINSIC).write_text(extrinsic, encoding="utf-8")
    return ()
