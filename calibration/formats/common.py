"""What the readers of foreign calibration files share: options, checked numbers, cameras, plausibility."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError

Array = NDArray[np.float64]
Size = tuple[int, int]

UNITS = {"m": 1.0, "metres": 1.0, "meters": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254}
MILLIMETRE, CENTIMETRE = UNITS["mm"], UNITS["cm"]

# A calibration file is text of some kilobytes; anything larger is something else.
_MAX_BYTES = 64 * 1024 * 1024
# R rounded to three or four digits in the file is put right, beyond that it is no rotation.
_ROUNDED = 2e-3
# Distance of the two cameras farthest apart: no studio is larger or smaller than this (metres).
_LARGEST, _LARGE, _SMALL, _SMALLEST = 300.0, 50.0, 0.15, 0.02
# How many times larger or smaller it may be where a person gave the unit.
_GIVEN = 10.0


@dataclass(frozen=True)
class ReadOptions:
    """What a file does not say about itself.

    Attributes
    ----------
    metres_per_unit : float, optional
        Length unit of the file, where it is not the format's own (0.001 for millimetres).
    image_size : (int, int), optional
        Image (width, height) px of every camera, for formats that hold none.
    image_sizes : mapping of str to (int, int)
        The same by camera name; goes before `image_size`.
    subject : str, optional
        Which recording's poses to take from a Human3.6M file.
    """

    metres_per_unit: float | None = None
    image_size: Size | None = None
    image_sizes: Mapping[str, Size] = field(default_factory=dict)
    subject: str | None = None

    def unit(self, usual: float) -> float:
        """Metres per unit of the file: as given, else `usual`."""
        return usual if self.metres_per_unit is None else self.metres_per_unit


@dataclass(frozen=True, eq=False)
class Imported:
    """A rig read from a foreign file.

    Attributes
    ----------
    rig : CameraRig
    notes : tuple of str
        What a person should know: assumptions made, residual of a lens that had to be fitted, doubts.
    """

    rig: CameraRig
    notes: tuple[str, ...] = ()


def read_bytes(path: Path) -> bytes:
    """Content of a calibration file; CalibrationError when it is missing, a folder or far too large."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            found = f"{path.stat().st_size / 1e6:.0f} MB"
            raise CalibrationError("too large for a calibration file", found=found, where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise CalibrationError("cannot be read", found=error.strerror or str(error), where=str(path)) from error


def read_text(path: Path) -> str:
    """Text of a calibration file; CalibrationError when it is not UTF-8."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CalibrationError("not a text file", found=str(error), where=str(path)) from error


def read_json(path: Path) -> Any:
    """Content of a JSON file; CalibrationError when it is none."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CalibrationError("not a JSON file", found=str(error), where=str(path)) from error


def table(value: Any, what: str, path: Path) -> dict[str, Any]:
    """`value` as a table with text keys; CalibrationError that names `what` when it is none."""
    if isinstance(value, dict):
        return {str(k): v for k, v in value.items()}
    raise CalibrationError(f"{what} is no table", found=type(value).__name__, where=str(path))


def require(values: Mapping[str, Any], keys: tuple[str, ...], what: str, path: Path) -> None:
    """CalibrationError that names the keys which `values` lacks."""
    missing = [k for k in keys if k not in values]
    if missing:
        raise CalibrationError(
            f"{what} lacks {', '.join(missing)}",
            expected=", ".join(keys),
            found=", ".join(map(str, values)) or "nothing",
            where=str(path),
        )


def numbers(value: Any, shape: tuple[int, ...], what: str, path: Path) -> Array:
    """`value` as finite float64 numbers of `shape` (-1: any length); other nestings of as many are accepted.

    Raises
    ------
    CalibrationError
        No numbers, not finite, or of another count; `what` names the camera and the key.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CalibrationError(
            f"{what} holds values of the wrong kind",
            expected=f"numbers of shape {shape}",
            found=str(error),
            where=str(path),
        ) from error
    wanted = array.size if -1 in shape else int(np.prod(shape))
    if array.size != wanted or (len(shape) == 2 and array.ndim == 2 and array.shape != shape):
        raise CalibrationError(
            f"{what} has the wrong shape", expected=str(shape), found=f"shape {array.shape}", where=str(path)
        )
    if not np.isfinite(array).all():
        raise CalibrationError(f"{what} holds NaN or infinite numbers", where=str(path))
    return array.reshape(shape)


def rotation(value: Any, what: str, path: Path) -> Array:
    """float64 [3, 3] from a matrix or a rotation vector (radians)."""
    flat = numbers(value, (-1,), what, path)
    if flat.size == 3:
        return np.array(Rotation.from_rotvec(flat).as_matrix())
    return numbers(value, (3, 3), what, path)


def quaternion(value: Any, what: str, path: Path) -> Array:
    """float64 [3, 3] from a quaternion x y z w of any positive length."""
    q = numbers(value, (4,), what, path)
    if abs(np.linalg.norm(q) - 1) > 0.01:
        raise CalibrationError(
            f"{what} is no unit quaternion", found=f"length {np.linalg.norm(q):.3g}", where=str(path)
        )
    return np.array(Rotation.from_quat(q).as_matrix())


def pinhole(fx: float, fy: float, cx: float, cy: float) -> Array:
    """Intrinsic matrix float64 [3, 3] in px."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def size_of(value: Any, what: str, path: Path) -> Size:
    """(width, height) in px from two positive whole numbers."""
    width, height = numbers(value, (2,), what, path)
    if width < 1 or height < 1 or width != round(width) or height != round(height):
        raise CalibrationError(f"{what} is no image size", found=f"{width:g} x {height:g}", where=str(path))
    return int(width), int(height)


def given_size(name: str, options: ReadOptions, path: Path, kind: str) -> Size:
    """The image size of a camera whose file holds none, from the options.

    Raises
    ------
    CalibrationError
        None was given; the message says how.
    """
    size = options.image_sizes.get(name, options.image_size)
    if size is None:
        raise CalibrationError(
            f"{kind} holds no image size, and none was given for camera {name!r}",
            where=str(path),
            hint="add --image-size WIDTHxHEIGHT, or --videos DIR with one video per camera, named like the cameras",
        )
    return size


def lens_coefficients(values: Any, lens: Lens, what: str, path: Path) -> Array:
    """float64 [5] of `lens` from 0-5 coefficients; higher ones (OpenCV's rational model) must be zero."""
    most = 4 if lens is Lens.FISHEYE else 5
    given = numbers(values, (-1,), what, path)
    if np.abs(given[most:]).max(initial=0.0) > 0 or (lens is Lens.FISHEYE and given.size < most):
        names = "k1 k2 k3 k4 of a fisheye lens" if lens is Lens.FISHEYE else "at most k1 k2 p1 p2 k3"
        raise CalibrationError(
            f"{what}: {given.size} distortion coefficients of a lens model that is not supported",
            expected=names,
            found=" ".join(f"{v:g}" for v in given),
            where=str(path),
            hint="calibrate with the plain Brown-Conrady or the fisheye model",
        )
    coefficients = np.zeros(5)
    coefficients[: min(given.size, most)] = given[:most]
    return coefficients


def make_camera(
    name: str, size: Size, K: Array, distortion: Array, R: Array, t: Array, path: Path, lens: Lens = Lens.BROWN_CONRADY
) -> Camera:
    """A camera; what is wrong with it is said with the file's name.

    Raises
    ------
    CalibrationError
        R is mirrored or no rotation, K is no intrinsic matrix, sizes are not positive.
    """
    try:
        return Camera(name, size, _intrinsic(K, name), distortion, _nearest_rotation(R), t, lens)
    except CalibrationError as error:
        raise located(error, path) from error


def _intrinsic(K: Array, name: str) -> Array:
    if K.shape == (3, 3) and (np.abs(K[2] - (0, 0, 1)).max() > 1e-9 or abs(K[1, 0]) > 1e-9):
        raise CalibrationError(
            f"K of camera {name!r} is no intrinsic matrix", expected="[[fx, s, cx], [0, fy, cy], [0, 0, 1]]",
            found=str(K.tolist()), hint="some programs store the transpose: check the calibration file",
        )  # fmt: skip
    return K


def _nearest_rotation(R: Array) -> Array:
    """R made exactly orthonormal when rounding in the file is all that is wrong (Higham 1988, polar factor)."""
    defect = np.abs(R @ R.T - np.eye(3)).max() if R.shape == (3, 3) and np.isfinite(R).all() else np.inf
    if 1e-12 < defect < _ROUNDED and np.linalg.det(R) > 0:
        U, _, Vt = np.linalg.svd(R)
        return np.array(U @ Vt)
    return R


def located(error: CalibrationError, path: Path) -> CalibrationError:
    """The same error with the file's name."""
    where = error.where or str(path)
    return CalibrationError(error.problem, expected=error.expected, found=error.found, where=where, hint=error.hint)


def make_rig(
    cameras: list[Camera], world: str, path: Path, options: ReadOptions, *, declared: bool = False
) -> Imported:
    """The rig of a file, with its plausibility checked; `declared`: the file itself names its unit.

    Raises
    ------
    CalibrationError
        No camera, names twice, or distances that only a wrong unit explains.
    """
    try:
        rig = CameraRig(tuple(cameras), world_source=world)
    except CalibrationError as error:
        raise located(error, path) from error
    doubts = check_distances(rig, path, given=options.metres_per_unit is not None, declared=declared)
    return Imported(rig, tuple(doubts + _check_images(rig)))


def check_distances(rig: CameraRig, path: Path, *, given: bool, declared: bool) -> list[str]:
    """Refuse a rig of impossible size: millimetres read as metres, or the other way round.

    Parameters
    ----------
    rig : CameraRig
    path : Path
        For the message.
    given : bool
        A person gave the unit: what is merely unusual is only noted.
    declared : bool
        The file names its unit: a small rig is only noted.

    Returns
    -------
    list of str
        Doubts that do not forbid the rig.
    """
    if len(rig) < 2:
        return []
    gaps = rig.centres[:, None] - rig.centres[None]
    widest = float(np.linalg.norm(gaps, axis=-1).max())
    size = f"{widest:.3g} m between the two cameras farthest apart"
    if widest < 1e-9:
        return ["all cameras stand at one point: the file seems to hold intrinsics only"]
    trust = _GIVEN if given else 1.0
    far, close = widest >= _LARGEST * trust, widest <= _SMALLEST / trust
    if far or (close and not declared):
        raise CalibrationError(
            f"the cameras are implausibly {'far apart' if far else 'close together'}: this looks like "
            + ("millimetres read as metres" if far else "metres read as millimetres"),
            expected="lengths in the unit of the format (see docs/formats.md)",
            found=size,
            where=str(path),
            hint=f"give the file's unit with --units {'mm' if far else 'm'} (m, cm, mm, in, or metres per unit); "
            'in a rig TOML: [metadata] units = "mm"',
        )
    if widest > _LARGE or widest < _SMALL:
        return [f"unusual size: {size}; if the file's unit is another, give --units"]
    return []


def _check_images(rig: CameraRig) -> list[str]:
    """Doubts about image sizes: an optical axis outside the image is a turned or resized video."""
    centre = rig.K[:, :2, 2]
    sizes = np.array([c.size for c in rig.cameras])
    outside = ((centre < 0) | (centre >= sizes)).any(-1)
    names = ", ".join(rig.names[v] for v in np.flatnonzero(outside))
    return [f"principal point outside the image: {names}; is the video turned or resized?"] if names else []


def reoriented(rig: CameraRig, up: str) -> CameraRig:
    """The same rig in a world whose z axis is the file's `up` axis.

    Parameters
    ----------
    rig : CameraRig
    up : str
        The file's axis that points up: x, y, z, -x, -y or -z.

    Raises
    ------
    CalibrationError
        No such axis.
    """
    if up not in (axes := [s + a for s in ("", "-") for a in "xyz"]):
        raise CalibrationError("no such axis", expected=", ".join(axes), found=up, where="--up")
    vector = np.zeros(3)
    vector["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    # The shortest turn that brings the axis up; for -z, half a turn about x.
    axis = np.cross(vector, (0, 0, 1))
    turn = Rotation.from_rotvec(np.arccos(vector[2]) * (axis if axis.any() else np.array([1.0, 0, 0]))).as_matrix()
    turn = np.round(turn)  # an axis permutation with signs: exact
    cameras = tuple(replace(c, R=c.R @ turn.T) for c in rig.cameras)
    return CameraRig(cameras, None, f"{rig.world_source}; turned so that its {up} axis is up")
