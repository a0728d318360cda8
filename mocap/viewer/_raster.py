"""Capsules drawn on a picture by the processor: no window, no graphics driver, the same pixels everywhere.

Each capsule is drawn as what a distant eye sees of it: the outline is exact for the ends, its shading and depth
follow from the distance to its axis. Edges are smoothed by how much of a pixel they cover.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from calibration.camera import Camera
from mocap.viewer.capsules import Capsules
from mocap.viewer.lighting import lights_in

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_NEAR_M = 0.05
_THINNEST_PX = 0.7


def draw_capsules(image: Image, capsules: Capsules, camera: Camera) -> None:
    """Draw on a picture taken by a camera without distortion, in place.

    Parameters
    ----------
    image : uint8 [height, width, 3]
        Blue green red, of the camera's size.
    capsules : Capsules
    camera : Camera
    """
    if not len(capsules.radius):
        return
    start, end = (x @ camera.R.T + camera.t for x in (capsules.start, capsules.end))
    front = _NEAR_M + capsules.radius
    some = np.maximum(start[:, 2], end[:, 2]) > front
    start, end = _clip(start[some], end[some], front[some]), _clip(end[some], start[some], front[some])
    order = np.argsort(-(start[:, 2] + end[:, 2]), kind="stable")
    colours = 255.0 * capsules.colours[some][order][:, ::-1]
    depth = np.full(image.shape[:2], np.inf, np.float32)
    _draw(
        image, depth, start[order], end[order], capsules.radius[some][order], np.ascontiguousarray(colours),
        capsules.angular[some][order], capsules.lit[some][order], camera.K[0, 0], camera.K[1, 1],
        camera.K[0, 2], camera.K[1, 2], lights_in(camera.R),
    )  # fmt: skip


def _clip(point: Array, other: Array, front: Array) -> Array:
    """The point, moved towards the other end until it is in front of the camera."""
    behind = point[:, 2] < front
    share = np.where(behind, (front - point[:, 2]) / np.where(behind, other[:, 2] - point[:, 2], 1.0), 0.0)
    return np.asarray(point + share[:, None] * (other - point))


@njit(cache=True, error_model="numpy", nogil=True)
def _draw(image, depth, start, end, radius, colours, angular, lit, fx, fy, cx, cy, lights):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for i in range(len(radius)):
        za, zb = start[i, 2], end[i, 2]
        a = (fx * start[i, 0] / za + cx, fy * start[i, 1] / za + cy, max(fx * radius[i] / za, _THINNEST_PX), 1.0 / za)
        b = (fx * end[i, 0] / zb + cx, fy * end[i, 1] / zb + cy, max(fx * radius[i] / zb, _THINNEST_PX), 1.0 / zb)
        axis = end[i] - start[i]
        axis = axis / (np.sqrt((axis * axis).sum()) + 1e-12)
        large = max(a[2], b[2]) + 1.0
        length = np.sqrt((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2)
        slope = (b[0] - a[0]) / (b[1] - a[1]) if abs(b[1] - a[1]) > 1e-6 else np.inf
        reach = large * np.sqrt(1.0 + slope * slope)
        top = max(np.floor(min(a[1], b[1]) - large), 0.0)
        bottom = min(np.ceil(max(a[1], b[1]) + large), height - 1.0)
        for y in range(int(top), int(bottom) + 1):
            left, right = min(a[0], b[0]) - large, max(a[0], b[0]) + large
            if length > 1e-6 and np.isfinite(reach):
                middle = a[0] + (y - a[1]) * slope
                left, right = max(left, middle - reach), min(right, middle + reach)
            for x in range(int(max(np.floor(left), 0.0)), int(min(np.ceil(right), width - 1.0)) + 1):
                _pixel(image, depth, x, y, a, b, radius[i], axis, colours[i], angular[i], lit[i], lights)


@njit(cache=True, error_model="numpy", nogil=True)
def _pixel(image, depth, x, y, a, b, radius, axis, colour, angular, lit, lights):  # type: ignore[no-untyped-def]
    """One pixel of one capsule; a, b: x, y, radius in pixels and inverse depth of its ends."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length2 = dx * dx + dy * dy
    u = min(max(((x - a[0]) * dx + (y - a[1]) * dy) / length2, 0.0), 1.0) if length2 > 1e-12 else 0.0
    ox, oy = x - (a[0] + u * dx), y - (a[1] + u * dy)
    r = a[2] + u * (b[2] - a[2])
    far = abs(ox) + abs(oy) if angular else np.sqrt(ox * ox + oy * oy)
    cover = min(r - far + 0.5, 1.0)
    if cover <= 0:
        return
    h = min(far / r, 1.0)
    bulge = 1.0 - h if angular else np.sqrt(1.0 - h * h)
    z = 1.0 / (a[3] + u * (b[3] - a[3])) - radius * bulge
    if z >= depth[y, x]:
        return
    shade = 1.0
    if lit and angular:
        shade = _shade(np.sign(ox), np.sign(oy), -1.0, axis, False, lights)
    elif lit:
        shade = _shade(ox / r, oy / r, -bulge, axis, 0.0 < u < 1.0, lights)
    for c in range(3):
        image[y, x, c] = np.uint8((1.0 - cover) * image[y, x, c] + cover * min(colour[c] * shade, 255.0) + 0.5)
    if cover > 0.5:
        depth[y, x] = z


@njit(cache=True, error_model="numpy", nogil=True)
def _shade(nx, ny, nz, axis, side, lights):  # type: ignore[no-untyped-def]
    """How bright a surface of this normal (any length, camera frame) is; a capsule's side is square to its axis."""
    if side:
        along = nx * axis[0] + ny * axis[1] + nz * axis[2]
        nx, ny, nz = nx - along * axis[0], ny - along * axis[1], nz - along * axis[2]
    n = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
    main = (lights[0, 0] * nx + lights[0, 1] * ny + lights[0, 2] * nz) / n
    weak = (lights[1, 0] * nx + lights[1, 1] * ny + lights[1, 2] * nz) / n
    up = (lights[2, 0] * nx + lights[2, 1] * ny + lights[2, 2] * nz) / n
    return lights[3, 0] * (0.775 + 0.225 * up) + max(main, 0.0) + max(weak, 0.0)
