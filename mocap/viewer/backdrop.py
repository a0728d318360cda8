"""The floor and the shadows on it, drawn as filled polygons."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera
from mocap.viewer.capsules import Capsules
from mocap.viewer.lighting import shadow_places

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_NEAR_M = 0.05
_TILE_M = 0.5
_PAPER, _LIGHT, _DARK = (245, 240, 237), (204, 204, 204), (189, 189, 189)
_SHADOW = 0.76
_ROUND = 8  # corners of half a capsule's shadow


class Backdrop:
    """A chequered floor at z = 0 round a place, in tiles of half a metre on whole multiples of it.

    Parameters
    ----------
    centre : [2 or 3], metres
    radius : float
        Half the side of the floor, metres.
    """

    def __init__(self, centre: Array, radius: float) -> None:
        n = max(int(np.ceil(radius / _TILE_M)), 1)
        first = np.round(np.asarray(centre)[:2] / _TILE_M).astype(int)
        i, j = (a.ravel() for a in np.meshgrid(np.arange(-n, n), np.arange(-n, n), indexing="ij"))
        i, j = (i + first[0])[(i + j + first.sum()) % 2 == 1], (j + first[1])[(i + j + first.sum()) % 2 == 1]
        self._tiles = _on_floor(np.stack([[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]]).transpose(2, 0, 1) * _TILE_M)
        low, high = (first - n) * _TILE_M, (first + n) * _TILE_M
        self._whole = _on_floor(np.array([low, (high[0], low[1]), high, (low[0], high[1])]))

    def picture(self, camera: Camera) -> Image:
        """The empty floor as a camera without distortion sees it: uint8 [height, width, 3], blue green red."""
        image = np.zeros((camera.size[1], camera.size[0], 3), np.uint8)
        cv2.rectangle(image, (0, 0), camera.size, _PAPER, -1)  # ten times as fast as NumPy
        for polygons, ink in ((self._whole[None], _LIGHT), (self._tiles, _DARK)):
            for polygon in _seen(polygons, camera):
                cv2.fillConvexPoly(image, polygon, ink, cv2.LINE_AA, _SHIFT)
        return image


def draw_shadows(image: Image, capsules: Capsules, camera: Camera) -> None:
    """Darken the floor where capsules keep the main lamp's light away, in place."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for polygon in _seen(_fallen(capsules), camera):
        cv2.fillConvexPoly(mask, polygon, 255, cv2.LINE_AA, _SHIFT)
    x, y, w, h = cv2.boundingRect(mask)
    if w and h:
        part = image[y : y + h, x : x + w]
        weight = cv2.merge([cv2.convertScaleAbs(mask[y : y + h, x : x + w], alpha=_SHADOW - 1.0)] * 3)
        cv2.subtract(part, cv2.multiply(part, weight, scale=1 / 255), dst=part)


def _fallen(capsules: Capsules) -> Array:
    """Outlines [N, 2*8, 3] of the capsules' shadows on the floor."""
    a, b = (shadow_places(x)[:, :2] for x in (capsules.start, capsules.end))
    away = a - b
    heading = np.arctan2(away[:, 1], away[:, 0])[:, None]
    half = np.linspace(-np.pi / 2, np.pi / 2, _ROUND)
    r = capsules.radius[:, None, None]
    ends = [
        c[:, None] + r * np.stack([np.cos(heading + half + turn), np.sin(heading + half + turn)], -1)
        for c, turn in ((a, 0.0), (b, np.pi))
    ]
    return _on_floor(np.concatenate(ends, 1))


def _on_floor(xy: Array) -> Array:
    return np.concatenate([xy, np.zeros((*xy.shape[:-1], 1))], -1)


def _seen(polygons: Array, camera: Camera) -> list[NDArray[np.int32]]:
    """Convex polygons [N, K, 3] in the world as OpenCV's coordinates; what is behind the camera is cut off."""
    local = polygons @ camera.R.T + camera.t
    front = local[..., 2] > _NEAR_M
    whole = front.all(1)
    xy = local[whole][..., :2] / local[whole][..., 2:]
    pixels = xy * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    size = np.array(camera.size)
    inside = (pixels.max(1) >= 0).all(-1) & (pixels.min(1) < size).all(-1)
    out = list(np.round(pixels[inside] * (1 << _SHIFT)).astype(np.int32))
    for k in np.flatnonzero(front.any(1) & ~whole):
        cut = _cut(local[k])
        xy = cut[:, :2] / cut[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
        out.append(np.round(np.clip(xy, -1e6, 1e6) * (1 << _SHIFT)).astype(np.int32))
    return out


def _cut(polygon: Array) -> Array:
    """The part of a convex polygon [K, 3] in the camera's frame that is in front (Sutherland & Hodgman 1974)."""
    out = []
    for p, q in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if p[2] > _NEAR_M:
            out.append(p)
        if (p[2] > _NEAR_M) != (q[2] > _NEAR_M):
            out.append(p + (_NEAR_M - p[2]) / (q[2] - p[2]) * (q - p))
    return np.array(out)
