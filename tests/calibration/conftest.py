"""Boards filmed through known cameras."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig
from calibration.observations import TargetObservations
from calibration.projection import Lenses, project, undistort
from calibration.targets import BoardDefinition, TargetKind
from calibration.transforms import RigidTransform
from mocap.viewer.view import look_at

_SQUARE_PX, _MARGIN_PX = 40, 40


def _texture(board: BoardDefinition) -> np.ndarray:
    """The printed board with a margin, grey."""
    size = (board.columns * _SQUARE_PX, board.rows * _SQUARE_PX)
    if board.kind is TargetKind.CHARUCO:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
        target = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
        target.setLegacyPattern(board.legacy)
        image = target.generateImage(size, marginSize=0)
    else:
        row, column = np.mgrid[: size[1], : size[0]] // _SQUARE_PX
        image = np.where((row + column) % 2 == 0, 0, 255).astype(np.uint8)
    image = np.pad(image, _MARGIN_PX, constant_values=255)
    return 255 - image if board.inverted else image


@lru_cache(8)
def _ideal(camera: Camera) -> np.ndarray:
    """Ideal image coordinates of every pixel [h, w, 2]."""
    w, h = camera.size
    v, u = np.mgrid[:h, :w].astype(np.float64)
    return undistort(Lenses.of(CameraRig((camera,))), np.stack([u, v], -1)[None])[0]


def _render(board: BoardDefinition, camera: Camera, world_from_board: RigidTransform) -> np.ndarray:
    """The image of a board (grey, width and height of the camera), blurred a little like a lens does."""
    w, h = camera.size
    xy = _ideal(camera)
    board_from_camera = (RigidTransform(camera.R, camera.t) @ world_from_board).inverse()
    ray = np.concatenate([xy, np.ones((h, w, 1))], -1) @ board_from_camera.R.T
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = -board_from_camera.t[2] / ray[..., 2]
    at = board_from_camera.t + depth[..., None] * ray
    at = np.where((depth > 0)[..., None], at, np.nan)
    texture = _texture(board)
    where = at[..., :2] / board.square_m * _SQUARE_PX + _MARGIN_PX - 0.5
    where = np.nan_to_num(where, nan=-1e4).astype(np.float32)
    # Four samples a pixel would be better; the texture is about as fine as the image, so a blur does.
    image = cv2.remap(texture, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderValue=110)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


@pytest.fixture(scope="session")
def render() -> Callable[[BoardDefinition, Camera, RigidTransform], np.ndarray]:
    """Render a board."""
    return _render


@pytest.fixture(scope="session")
def small_rig() -> CameraRig:
    """Three cameras of 640x480 on an arc, two metres from the origin, distorted lenses."""
    cameras = []
    for k, angle in enumerate(np.radians([-35.0, 0.0, 35.0])):
        centre = np.array([2 * np.sin(angle), -2 * np.cos(angle), 0.5])
        R, t = look_at(centre, np.zeros(3), 0.0)
        K = np.array([[620.0 + 10 * k, 0, 318], [0, 622.0 + 10 * k, 243], [0, 0, 1]])
        cameras.append(Camera(f"cam_{k}", (640, 480), K, np.array([-0.12, 0.03, 0, 0, 0.0]), R, t))
    return CameraRig(tuple(cameras))


def _seen(
    rig: CameraRig, board: BoardDefinition, poses: RigidTransform, noise_px: float, seed: int, fps: float = 10.0
) -> TargetObservations:
    """What the rig sees of a board in poses [B] on the world, with noise."""
    points = np.stack([RigidTransform(R, t).apply(board.points) for R, t in zip(poses.R, poses.t, strict=True)])
    noise = np.random.default_rng(seed).normal(0, noise_px, (len(rig), *points.shape[:2], 2))
    pixel = project(Lenses.of(rig), points) + noise
    size = np.array([c.size for c in rig.cameras])[:, None, None]
    inside = np.isfinite(pixel).all(-1) & (pixel > 0).all(-1) & (pixel < size - 1).all(-1)
    camera, pose, point = (a.astype(np.int64) for a in np.nonzero(inside))
    return TargetObservations(
        rig.names, tuple(c.size for c in rig.cameras), board.points, np.arange(len(points)) / fps,
        camera, pose, point, pixel[inside],
    )  # fmt: skip


def _poses(board: BoardDefinition, n: int, seed: int, spread: float = 0.25, tilt: float = 0.45) -> RigidTransform:
    """World from board [n]: middles about the origin, fronts towards -y, tilted each way."""
    rng = np.random.default_rng(seed)
    facing = Rotation.from_matrix([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    R = (Rotation.from_rotvec(rng.uniform(-tilt, tilt, (n, 3))) * facing).as_matrix()
    middle = np.array([board.columns, board.rows, 0]) * board.square_m / 2
    return RigidTransform(R, rng.uniform(-spread, spread, (n, 3)) - R @ middle)


@pytest.fixture(scope="session")
def board_poses() -> Callable[..., RigidTransform]:
    """Random poses in front of `small_rig`."""
    return _poses


@pytest.fixture(scope="session")
def seen() -> Callable[..., TargetObservations]:
    """Simulated observations."""
    return _seen
