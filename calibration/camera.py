"""Cameras and rigs: what a calibration is, once known."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

Array = NDArray[np.float64]

# fx fy cx cy | five distortion coefficients | rotation vector | translation
CAMERA_PARAMETERS = 15


class Lens(enum.StrEnum):
    """Lens models.

    BROWN_CONRADY: k1 k2 p1 p2 k3 (Brown 1971, OpenCV's order).
    FISHEYE: Kannala-Brandt k1 k2 k3 k4 (Kannala & Brandt 2006, OpenCV's fisheye), fifth entry 0.
    """

    BROWN_CONRADY = "brown_conrady"
    FISHEYE = "fisheye"


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera: ``x_camera = R @ x_world + t`` (OpenCV axes).

    Attributes
    ----------
    name : str
    size : (int, int)
        Image (width, height) in px.
    K : float64 [3, 3]
        Intrinsic matrix in px; the centre of the top-left pixel is (0, 0).
    distortion : float64 [5]
        Coefficients of `lens`, dimensionless.
    R : float64 [3, 3], t : float64 [3]
        World to camera rotation and translation (metres).
    lens : Lens

    Raises
    ------
    CalibrationError
        Wrong shapes, non-finite numbers, non-positive focal length, or an R that is no rotation.
    """

    name: str
    size: tuple[int, int]
    K: Array
    distortion: Array
    R: Array
    t: Array
    lens: Lens = Lens.BROWN_CONRADY

    def __post_init__(self) -> None:
        for attribute, shape in (("K", (3, 3)), ("distortion", (5,)), ("R", (3, 3)), ("t", (3,))):
            value = np.array(getattr(self, attribute), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise CalibrationError(
                    f"{attribute} of camera {self.name!r} is not usable",
                    expected=f"finite numbers of shape {shape}",
                    found=f"shape {value.shape}" if value.shape != shape else "NaN or infinite entries",
                    hint="check the calibration file",
                )
            value.flags.writeable = False
            object.__setattr__(self, attribute, value)
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        self._check_values()

    def _check_values(self) -> None:
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or min(self.size) <= 0:
            raise CalibrationError(
                f"camera {self.name!r} has no usable focal length or image size",
                expected="positive numbers",
                found=f"fx={self.K[0, 0]:g} fy={self.K[1, 1]:g} size={self.size}",
                hint="check the calibration file",
            )
        defect = np.abs(self.R @ self.R.T - np.eye(3)).max()
        if defect > 1e-4 or np.linalg.det(self.R) < 0:
            mirrored = np.linalg.det(self.R) < 0
            raise CalibrationError(
                f"R of camera {self.name!r} is not a rotation",
                expected="an orthonormal matrix of determinant +1",
                found="a mirrored (left-handed) matrix" if mirrored else f"R R^T off by {defect:.2g}",
                hint="check the axes and units of the calibration file",
            )

    @property
    def centre(self) -> Array:
        """float64 [3]: the camera's centre in the world, metres."""
        return -self.R.T @ self.t

    def resized(self, size: tuple[int, int]) -> Camera:
        """The same camera for the same view sampled at another image size (width, height)."""
        sx, sy = size[0] / self.size[0], size[1] / self.size[1]
        K = self.K.copy()
        K[0] *= sx
        K[1] *= sy
        # (0, 0) is a pixel's centre, so the image's corner at -0.5 is what scaling keeps fixed.
        K[0, 2] += 0.5 * (sx - 1)
        K[1, 2] += 0.5 * (sy - 1)
        return replace(self, K=K, size=size)


@dataclass(frozen=True, eq=False)
class CameraRig:
    """The cameras of a studio in one world frame (right-handed, z up, metres).

    Attributes
    ----------
    cameras : tuple of Camera
        Names are unique.
    covariance : float64 [V, 15, 15], optional
        Of each camera's fx fy cx cy (px), distortion, rotation vector (rad), translation (m).
    world_source : str
        Where origin, axes and scale come from, in words.
    """

    cameras: tuple[Camera, ...]
    covariance: Array | None = None
    world_source: str = field(default="unknown")

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))
        names = self.names
        twice = sorted({n for n in names if names.count(n) > 1})
        if not names or twice:
            raise CalibrationError(
                "a rig needs cameras with unique names",
                found=f"{', '.join(twice)} more than once" if twice else "no camera",
                hint="check the calibration file",
            )
        if self.covariance is not None and self.covariance.shape != (len(names),) + (CAMERA_PARAMETERS,) * 2:
            raise CalibrationError(
                "the covariance does not fit the rig",
                expected=f"shape {(len(names),) + (CAMERA_PARAMETERS,) * 2}",
                found=f"shape {self.covariance.shape}",
            )

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def names(self) -> tuple[str, ...]:
        """Camera names in order."""
        return tuple(c.name for c in self.cameras)

    @property
    def K(self) -> Array:
        """float64 [V, 3, 3] px."""
        return np.stack([c.K for c in self.cameras])

    @property
    def R(self) -> Array:
        """float64 [V, 3, 3], world to camera."""
        return np.stack([c.R for c in self.cameras])

    @property
    def t(self) -> Array:
        """float64 [V, 3] metres, world to camera."""
        return np.stack([c.t for c in self.cameras])

    @property
    def distortion(self) -> Array:
        """float64 [V, 5]."""
        return np.stack([c.distortion for c in self.cameras])

    @property
    def fisheye(self) -> NDArray[np.bool_]:
        """Bool [V]: which cameras use the fisheye model."""
        return np.array([c.lens is Lens.FISHEYE for c in self.cameras])

    @property
    def centres(self) -> Array:
        """float64 [V, 3]: camera centres in the world, metres."""
        return np.stack([c.centre for c in self.cameras])

    def select(self, names: Iterable[str]) -> CameraRig:
        """The rig of the named cameras, in that order.

        Raises
        ------
        CalibrationError
            A name that the rig does not have.
        """
        names = list(names)
        index = {n: i for i, n in enumerate(self.names)}
        missing = [n for n in names if n not in index]
        if missing:
            raise CalibrationError(
                f"no calibration for camera {', '.join(repr(m) for m in missing)}",
                expected=f"one of {', '.join(self.names)}",
                hint="name the camera in the calibration as in session.toml, or leave its video out",
            )
        rows = [index[n] for n in names]
        covariance = None if self.covariance is None else self.covariance[rows]
        return CameraRig(tuple(self.cameras[i] for i in rows), covariance, self.world_source)
