"""Corners of boards in images, with ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.targets import BoardDefinition, TargetKind

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Grey = NDArray[np.uint8]

# Chessboards are looked for in an image reduced to this longer side first: quicker, and blind to paper texture.
_REDUCED_PX = 960
# A corner is refined within this share of the distance to its neighbours.
_REFINE_SHARE = 0.25
_SMALLEST_WINDOW, _LARGEST_WINDOW = 2, 12


@dataclass(frozen=True, eq=False)
class View:
    """Corners of the board in one image.

    Attributes
    ----------
    ids : int64 [n]
        Index into the board's points.
    pixel : float64 [n, 2]
    """

    ids: Ints
    pixel: Array

    @staticmethod
    def nothing() -> View:
        """The board was not seen."""
        return View(np.zeros(0, np.int64), np.zeros((0, 2)))

    def __len__(self) -> int:
        return len(self.ids)


class BoardDetector:
    """Finds one board in images; safe to share between threads by `clone`.

    Parameters
    ----------
    board : BoardDefinition
        A ChArUco board or chessboard.
    thorough : bool
        Whether a chessboard is looked for in every way there is, which takes seconds for an image without
        one. The quick look misses a few (one of 24 photos); with hundreds of frames nothing is lost by that.
    """

    def __init__(self, board: BoardDefinition, *, thorough: bool = True) -> None:
        self.board = board
        self._thorough = thorough
        self._charuco = charuco_detector(board) if board.kind is TargetKind.CHARUCO else None

    def detect(self, image: NDArray[np.uint8]) -> View:
        """The board's corners in a BGR or grey image, refined below the pixel."""
        grey = to_grey(image)
        if self.board.inverted:
            grey = 255 - grey
        if self._charuco is not None:
            return _detect_charuco(self._charuco, grey)
        return _detect_chessboard(self.board, grey, self._thorough)


def to_grey(image: NDArray[np.uint8]) -> Grey:
    """A grey image of a BGR or grey one."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def detect_all(
    board: BoardDefinition, images: Iterable[NDArray[np.uint8]], threads: int, *, thorough: bool = True
) -> Iterator[View]:
    """Views of the board in images, in order; `threads` images at a time, few held in memory."""
    import threading

    local = threading.local()

    def one(image: NDArray[np.uint8]) -> View:
        if not hasattr(local, "detector"):
            local.detector = BoardDetector(board, thorough=thorough)  # OpenCV's detectors keep state
        view: View = local.detector.detect(image)
        return view

    waiting: list[Any] = []
    with ThreadPoolExecutor(threads) as pool:
        for image in images:
            waiting.append(pool.submit(one, image))
            if len(waiting) > 2 * threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def charuco_detector(board: BoardDefinition) -> Any:
    """OpenCV's detector of a ChArUco board."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    target = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, dictionary)
    target.setLegacyPattern(board.legacy)
    # Boards are often hand-held and at a slant: markers in either polarity decode, the ids decide.
    parameters = cv2.aruco.DetectorParameters()
    parameters.detectInvertedMarker = board.inverted
    return cv2.aruco.CharucoDetector(target, cv2.aruco.CharucoParameters(), parameters)


def _detect_charuco(detector: Any, grey: Grey) -> View:
    pixel, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) == 0:
        return View.nothing()
    view = View(np.asarray(ids, np.int64).ravel(), np.asarray(pixel, np.float64).reshape(-1, 2))
    return view if np.isfinite(view.pixel).all() else View.nothing()


def _detect_chessboard(board: BoardDefinition, grey: Grey, thorough: bool) -> View:
    size = (board.columns - 1, board.rows - 1)
    pixel = find_chessboard(grey, size, thorough=thorough)
    if pixel is None:
        return View.nothing()
    return View(np.arange(size[0] * size[1]), oriented(grey, pixel, size))


def find_chessboard(grey: Grey, inner: tuple[int, int], *, thorough: bool = True) -> Array | None:
    """Inner corners [columns * rows, 2] of a chessboard in some row-wise order, or None.

    A board of which only a part of the squares was matched (the pattern goes on beyond) is refused.
    """
    scale = min(1.0, _REDUCED_PX / max(grey.shape))
    reduced = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
    found, corners = cv2.findChessboardCorners(reduced, inner, flags=flags | cv2.CALIB_CB_FAST_CHECK)
    if not found and thorough:
        found, corners = cv2.findChessboardCorners(reduced, inner, flags=flags)
    if not found and thorough:
        found, corners = cv2.findChessboardCornersSB(reduced, inner, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if found:
        # A reduced pixel covers 1 / scale pixels; the image's corner lies at -0.5 in both.
        corners = (np.asarray(corners, np.float64).reshape(-1, 2) + 0.5) / scale - 0.5
    elif scale < 1 and thorough:
        found, corners = cv2.findChessboardCorners(grey, inner, flags=flags)
    if (
        not found
        or len(corners) != inner[0] * inner[1]
        or _outside(grey, np.asarray(corners, np.float64).reshape(-1, 2))
    ):
        return None
    pixel = refine(grey, np.asarray(corners, np.float64).reshape(-1, 2), inner)
    return None if goes_on(grey, pixel, inner) else pixel


def _outside(grey: Grey, pixel: Array) -> bool:
    h, w = grey.shape
    return bool((pixel < 0).any() or (pixel > [w - 1, h - 1]).any())


def refine(grey: Grey, pixel: Array, inner: tuple[int, int]) -> Array:
    """Corners at the saddle points of the image, within a share of the distance to their neighbours."""
    grid = pixel.reshape(inner[1], inner[0], 2)
    spacing = min(np.linalg.norm(np.diff(grid, axis=a), axis=-1).min() for a in (0, 1))
    window = int(np.clip(_REFINE_SHARE * spacing, _SMALLEST_WINDOW, _LARGEST_WINDOW))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-3)
    start = np.ascontiguousarray(pixel.reshape(-1, 1, 2), dtype=np.float32)
    return np.asarray(cv2.cornerSubPix(grey, start, (window, window), (-1, -1), criteria), np.float64).reshape(-1, 2)


def grid_homography(pixel: Array, inner: tuple[int, int]) -> Array | None:
    """Homography [3, 3] from grid indices (column, row of corners) to pixels."""
    y, x = np.mgrid[: inner[1], : inner[0]]
    H, _ = cv2.findHomography(np.stack([x.ravel(), y.ravel()], -1).astype(np.float64), pixel, 0)
    return None if H is None else np.asarray(H, np.float64)


def sample(grey: Grey, H: Array, at: Array) -> Array:
    """Grey values [n] at grid positions `at` [n, 2]; NaN outside of the image."""
    p = np.c_[at, np.ones(len(at))] @ H.T
    p = p[:, :2] / p[:, 2:]
    h, w = grey.shape
    inside = (p[:, 0] >= 0) & (p[:, 1] >= 0) & (p[:, 0] <= w - 1) & (p[:, 1] <= h - 1)
    q = np.round(np.where(inside[:, None], p, 0)).astype(int)
    return np.where(inside, grey[q[:, 1], q[:, 0]].astype(np.float64), np.nan)


def square_values(grey: Grey, pixel: Array, inner: tuple[int, int]) -> Array:
    """Mean grey value [rows + 2, columns + 2] of the squares between the corners, and one ring more on each side.

    Entry [i, j] is the square up and left of corner [i - 1, j - 1]; NaN where it is not in the image.
    """
    H = grid_homography(pixel, inner)
    if H is None:
        return np.full((inner[1] + 3, inner[0] + 3), np.nan)
    y, x = np.mgrid[-2 : inner[1] + 1, -2 : inner[0] + 1] + 0.5
    centre = np.stack([x.ravel(), y.ravel()], -1)
    around = [sample(grey, H, centre + 0.2 * np.array(d)) for d in ((-1, -1), (-1, 1), (0, 0), (1, -1), (1, 1))]
    return np.median(np.stack(around), axis=0).reshape(x.shape)


def goes_on(grey: Grey, pixel: Array, inner: tuple[int, int]) -> bool:
    """Whether the checker pattern continues beyond the outermost squares: the board has more of them."""
    values = square_values(grey, pixel, inner)
    board = values[1:-1, 1:-1]
    i, j = np.mgrid[: values.shape[0], : values.shape[1]]
    sign = np.where((i + j) % 2 == 0, 1.0, -1.0)
    known = np.isfinite(board)
    contrast = np.nanmean((board * sign[1:-1, 1:-1])[known]) if known.any() else 0.0
    middle = np.nanmedian(board)
    # With the right phase, every second square of a further row would be as dark as the board's dark ones.
    signed = (values - middle) * sign * np.sign(contrast)
    sides = (signed[0, 1:-1], signed[-1, 1:-1], signed[1:-1, 0], signed[1:-1, -1])
    return any(bool((side > 0).all()) for side in sides)  # NaN, outside of the image, compares false


def oriented(grey: Grey, pixel: Array, inner: tuple[int, int]) -> Array:
    """Corners in the board's own order: rows run to the right and downwards on its front, first square black.

    Where the board looks the same turned by 180 degrees, corner 0 is the upper left of the two; see
    `calibration.board_symmetry` for making views agree.
    """
    grid = pixel.reshape(inner[1], inner[0], 2)
    orders = [grid, grid[::-1, ::-1]]
    if inner[0] == inner[1]:
        orders += [np.swapaxes(grid, 0, 1)[::-1], np.swapaxes(grid, 0, 1)[:, ::-1]]
    orders += [g[:, ::-1] for g in orders]
    right = [g for g in orders if _handed(g)]
    dark = [g for g in right if _first_is_dark(grey, g.reshape(-1, 2), inner)] or right
    best = min(dark, key=lambda g: float(g[0, 0].sum()))
    return np.ascontiguousarray(best).reshape(-1, 2)


def _handed(grid: Array) -> bool:
    """Whether columns to rows turn clockwise in the image, as on the front of the board."""
    across, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    return bool(across[0] * down[1] - across[1] * down[0] > 0)


def _first_is_dark(grey: Grey, pixel: Array, inner: tuple[int, int]) -> bool:
    values = square_values(grey, pixel, inner)[2:-2, 2:-2]  # squares with four corners each
    i, j = np.mgrid[: values.shape[0], : values.shape[1]]
    even = (i + j) % 2 == 0
    # The square between the first four corners has the colour of the board's first square.
    return bool(np.nanmean(values[even]) < np.nanmean(values[~even]))
