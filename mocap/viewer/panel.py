"""Pictures that hang in the scene: a camera's footage on its frustum, keys and time line before the view."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera
from mocap.viewer.clip import Clip
from mocap.viewer.labels import write
from mocap.viewer.player import Player

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_LINE, _SCALE, _EDGE, _COLUMN = 22, 0.5, 10, 130
_AWAY_M = 0.2


def text_picture(lines: list[str], width: int = 400) -> Image:
    """Lines of text on paper: uint8 [height, width, 3], blue green red; two blanks or more start a second column."""
    image = np.full((_LINE * len(lines) + 2 * _EDGE, width, 3), 244, np.uint8)
    for k, line in enumerate(lines):
        first, _, second = line.partition("  ")
        write(image, first, (_EDGE, _EDGE + _LINE * k + 15), _SCALE)
        write(image, second.strip(), (_EDGE + _COLUMN, _EDGE + _LINE * k + 15), _SCALE)
    return image


def status(clip: Clip, player: Player) -> str:
    """Where the time line is and what it does."""
    frame = int(clip.frames[player.row])
    state = "playing" if player.playing else "paused"
    loop = "" if player.loop else ", no loop"
    return f"frame {frame} of {int(clip.frames[-1])}, {frame / clip.fps:.2f} s, {state} x{player.speed:g}{loop}"


def before_view(image: Image, view: Camera, corner: tuple[int, int]) -> Array:
    """Corners [4, 3] in the world of a picture that fills its own pixels of a view, `corner` its upper left one.

    In the order upper left, upper right, lower right, lower left.
    """
    height, width = image.shape[:2]
    pixels = np.array([(0, 0), (width, 0), (width, height), (0, height)]) + np.array(corner)
    local = _AWAY_M * np.concatenate([(pixels - view.K[:2, 2]) / view.K[[0, 1], [0, 1]], np.ones((4, 1))], -1)
    return np.asarray((local - view.t) @ view.R)


def on_frustum(camera: Camera, depth: float) -> Array:
    """Corners [4, 3] in the world of a camera's image plane at `depth` metres, ordered as in `before_view`."""
    width, height = camera.size
    pixels = np.array([(0, 0), (width, 0), (width, height), (0, height)])
    local = depth * np.concatenate([(pixels - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], np.ones((4, 1))], -1)
    return np.asarray((local - camera.t) @ camera.R)


def to_rgb(image: Image) -> Image:
    """Red green blue, contiguous, as textures want it."""
    return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
