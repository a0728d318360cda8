"""Square, rotated image regions: where a person is, and the crop that a network sees.

A region is (x, y, size, angle): centre in raw-image px, side length in px, and the angle in
radians by which the crop's upright axes are turned against the image's (clockwise as seen, since
y points down). Pixel centres are integers, so a crop of n px spans -0.5 .. n - 0.5.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The image is averaged down by two as long as this many pixels or more remain for one of the crop.
# Averaging earlier does not pay: on a real capture with 4.5 px per crop pixel it made joints neither
# steadier nor more consistent between the views.
_DIRECT_SAMPLING = 6.0


def from_alignment(centre: Floats, top: Floats, margin: float) -> Floats:
    """Regions round a body from two points: its centre and a point "above" it that tells size and tilt.

    Parameters
    ----------
    centre, top : float [..., 2]
        Raw-image px. The distance is half the body's extent; `top` comes to lie straight above `centre`
        in the crop.
    margin : float
        Factor on the side length.

    Returns
    -------
    float64 [..., 4]
        x, y, size, angle.

    Notes
    -----
    V. Bazarevsky et al., BlazePose (2020), section 2: person alignment from the mid-hip and the circle that
    circumscribes the body.
    """
    d = top - centre
    size = 2.0 * margin * np.hypot(d[..., 0], d[..., 1])
    angle = np.arctan2(d[..., 0], -d[..., 1])
    return np.stack([centre[..., 0], centre[..., 1], size, angle], axis=-1)


def image_from_crop(regions: Floats, crop_size: int) -> Floats:
    """Affine maps [..., 2, 3] from crop pixels to raw-image pixels (both with integer pixel centres)."""
    x, y, size, angle = np.moveaxis(np.asarray(regions, dtype=np.float64), -1, 0)
    scale = size / crop_size
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    middle = (crop_size - 1) / 2
    rows = [[c, -s, x - middle * (c - s)], [s, c, y - middle * (s + c)]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def apply(affine: Floats, points: Floats) -> Floats:
    """Affine maps [..., 2, 3] applied to points [..., J, 2]."""
    return np.einsum("...ij,...kj->...ki", affine[..., :2], points) + affine[..., None, :, 2]


def crop(frame: NDArray[np.uint8], region: Floats, crop_size: int, fill: int | None = None) -> NDArray[np.uint8]:
    """The region of an image, resampled to [crop_size, crop_size, 3].

    Sampled bilinearly, as in the networks' training; only where the region is very much larger than
    the crop, the image is averaged down first.

    Parameters
    ----------
    frame : uint8 [H, W, 3]
    region : float [4]
    crop_size : int
    fill : int, optional
        Value outside the image; None repeats the image's edge.
    """
    affine = image_from_crop(region, crop_size)
    halvings = int(np.log2(max(2.0 * region[2] / (_DIRECT_SAMPLING * crop_size), 1.0)))
    if halvings:
        frame, affine = _reduced(frame, region, affine, halvings)
    border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    return cv2.warpAffine(
        frame, affine, (crop_size, crop_size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border, borderValue=(fill or 0,) * 3,
    )  # type: ignore[return-value] # fmt: skip


def _reduced(
    frame: NDArray[np.uint8], region: Floats, affine: Floats, halvings: int
) -> tuple[NDArray[np.uint8], Floats]:
    """The part of the image that the region covers, averaged over square blocks, and its map."""
    height, width = frame.shape[:2]
    factor = 2**halvings
    reach = region[2] * (abs(np.cos(region[3])) + abs(np.sin(region[3]))) / 2 + factor
    left, top = (int(np.clip(np.floor(region[k] - reach), 0, n)) for k, n in ((0, width), (1, height)))
    right, bottom = (int(np.clip(np.ceil(region[k] + reach), 0, n)) for k, n in ((0, width), (1, height)))
    # Blocks start on a fixed grid: a moving region must not shift what is averaged together.
    left, top = left - left % factor, top - top % factor
    columns, rows = (right - left) // factor, (bottom - top) // factor
    if columns < 1 or rows < 1:
        return frame, affine
    small = frame[top : top + rows * factor, left : left + columns * factor]
    for _ in range(halvings):  # by two, for which OpenCV has a path eight times as fast as by four
        small = cv2.resize(small, (small.shape[1] // 2, small.shape[0] // 2), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    mapped = affine.copy()
    mapped[:, 2] -= np.array([left, top]) + (factor - 1) / 2
    return small, mapped / factor


def interpolate(at: NDArray[np.int64], known: NDArray[np.int64], regions: Floats) -> Floats:
    """Regions at frame numbers `at` [n] from those [m, 4] at the increasing frame numbers `known` [m].

    Linear between, constant outside; angles take the short way round.
    """
    unwrapped = regions.copy()
    unwrapped[:, 3] = np.unwrap(regions[:, 3])
    return np.column_stack([np.interp(at, known, unwrapped[:, k]) for k in range(4)])


def search_windows(width: int, height: int, levels: int) -> Floats:
    """Square windows [n, 4] to look for people in: the whole frame and levels of overlapping tiles.

    Tiles of the first level have the frame's short side (two thirds of it where the frame is nearly
    square), of each further level half of that; they overlap by at least half.
    """
    windows = [[(width - 1) / 2, (height - 1) / 2, float(max(width, height)), 0.0]]
    short, long = min(width, height), max(width, height)
    first = short if long >= 1.25 * short else round(short * 2 / 3)
    for level in range(levels):
        side = max(first // 2**level, 1)
        xs, ys = _starts(width, side), _starts(height, side)
        windows += [[x + (side - 1) / 2, y + (side - 1) / 2, float(side), 0.0] for y in ys for x in xs]
    return np.array(windows)


def _starts(length: int, side: int) -> Floats:
    """First pixels of tiles of a side length that cover a length with half overlap."""
    count = 1 + int(np.ceil(2 * (length - side) / side)) if length > side else 1
    return np.round(np.linspace(0, length - side, count))
