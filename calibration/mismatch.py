"""Why a board is not seen: what the footage shows instead of the board that was defined."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.board_detection import BoardDetector, Grey, find_chessboard, to_grey
from calibration.errors import CalibrationError
from calibration.footage import Clip
from calibration.targets import BoardDefinition, TargetKind, dictionaries

_FRAMES = 6
# Markers are looked for in images reduced to this longer side.
_REDUCED_PX = 960
_CHESSBOARD_FRAMES = 4
_MOST_INNER = 12
# Images in which a larger board is looked for.
_WHOLE = 6


def explain_nothing_seen(
    clip: Clip, board: BoardDefinition, looked_at: int, *, every_camera: bool = False
) -> CalibrationError:
    """The error for footage that never shows the board, saying what it shows instead where that can be told.

    Parameters
    ----------
    clip : Clip
        Of the camera that is named.
    board : BoardDefinition
    looked_at : int
        Images searched.
    every_camera : bool
        Whether no other camera shows the board either.
    """
    wanted = np.unique(np.linspace(0, clip.n_frames - 1, min(_FRAMES, clip.n_frames)).round().astype(np.int64))
    images = [to_grey(image) for image in clip.glimpses(wanted)]
    found, hint = _other_board(images, board)
    searched = f"no board in {looked_at} images" + (" of each camera, spread over the recording" * every_camera)
    return CalibrationError(
        "no camera shows the board" if every_camera else f"camera {clip.camera} never shows the board",
        expected=str(board),
        found=f"{found} ({clip.camera})" if found and every_camera else found or searched,
        where=str(clip.path),
        hint=hint or (
            "is it the right folder, and does board.toml describe the board that was filmed?" if every_camera
            else "film the board large, sharp and well lit in this camera, or take the camera out"
        ),
    )  # fmt: skip


def require_whole_board(clip: Clip, board: BoardDefinition, seen_at: NDArray[np.int64]) -> None:
    """Refuse a chessboard that was defined smaller than it is, e.g. by counting corners instead of squares.

    Any part of a chessboard looks like a smaller one, and which part is found changes from image to image.

    Parameters
    ----------
    clip : Clip
    board : BoardDefinition
        Other targets than chessboards pass.
    seen_at : int64 [n]
        Positions of images in which the board as defined was found.

    Raises
    ------
    CalibrationError
        Most of these images show a larger one.
    """
    if board.kind is not TargetKind.CHESSBOARD or not len(seen_at):
        return
    chosen = np.unique(seen_at[np.linspace(0, len(seen_at) - 1, min(_WHOLE, len(seen_at))).round().astype(int)])
    images = [to_grey(image) for image in clip.frames(chosen)]
    for more in ((1, 1), (1, 0), (0, 1)):
        larger = replace(board, columns=board.columns + more[0], rows=board.rows + more[1])
        inner = (larger.columns - 1, larger.rows - 1)
        n = sum(find_chessboard(255 - i if board.inverted else i, inner, thorough=False) is not None for i in images)
        if n >= 0.5 * len(images):
            raise CalibrationError(
                f"the board that camera {clip.camera} sees is larger than the one defined", expected=str(board),
                found=f"{larger} in {n} of {len(images)} images tried", where=str(clip.path),
                hint=f"columns and rows count squares, not corners: set columns = {larger.columns}, "
                f"rows = {larger.rows} if that is the board",
            )  # fmt: skip


def _other_board(images: list[Grey], board: BoardDefinition) -> tuple[str, str]:
    for variant, hint in _variants(board):
        detector = BoardDetector(variant)
        n = sum(len(detector.detect(image)) >= 4 for image in images)
        if n:
            return f"{variant} in {n} of {len(images)} images tried", hint
    markers = _markers(images)
    if markers:
        return markers, "set dictionary, columns, rows and inverted as on the printed board"
    size = _chessboard_size(images)
    if size:
        return f"a chessboard of {size[0]} x {size[1]} squares", (
            f"set columns = {size[0]}, rows = {size[1]}" if board.kind is TargetKind.CHESSBOARD
            else 'set kind = "chessboard" and its columns and rows'
        )  # fmt: skip
    return "", ""


def _variants(board: BoardDefinition) -> list[tuple[BoardDefinition, str]]:
    """The same board, wrongly described in one way."""
    turned = (replace(board, columns=board.rows, rows=board.columns), "exchange columns and rows")
    if board.kind is TargetKind.CHESSBOARD:
        inner = replace(board, columns=board.columns + 1, rows=board.rows + 1)
        hint = f"columns and rows count squares, not corners: {inner.columns} and {inner.rows}"
        return [
            (inner, hint),
            (replace(board, inverted=not board.inverted), f"set inverted = {str(not board.inverted).lower()}"),
        ]
    polarity = (replace(board, inverted=not board.inverted), f"set inverted = {str(not board.inverted).lower()}")
    legacy = (replace(board, legacy=not board.legacy), f"set legacy = {str(not board.legacy).lower()}")
    return [polarity, legacy, turned]


def _markers(images: list[Grey]) -> str:
    """The dictionary whose markers are seen most, with their numbers."""
    reduced = []
    for image in images:
        scale = _REDUCED_PX / max(image.shape)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        reduced.append(np.asarray(small, np.uint8))
    for inverted in (False, True):
        best: tuple[int, str, Counter[int]] = (0, "", Counter())
        for name in _largest_dictionaries():
            ids = _ids(reduced, name, inverted)
            if sum(ids.values()) > best[0]:
                best = (sum(ids.values()), name, ids)
        if best[0]:
            _, name, ids = best
            name = _smallest_with(name, max(ids))
            polarity = ", inverted" if inverted else ""
            return f"markers of {name}{polarity}, {len(ids)} different ones numbered {min(ids)} to {max(ids)}"
    return ""


def _ids(images: list[Grey], dictionary: str, inverted: bool) -> Counter[int]:
    """How often each marker is seen."""
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary)))
    ids: Counter[int] = Counter()
    for image in images:
        _, seen, _ = detector.detectMarkers(255 - image if inverted else image)
        if seen is not None and len(seen) >= 3:  # fewer are found in any texture
            ids.update(int(i) for i in np.ravel(seen))
    return ids


def _largest_dictionaries() -> list[str]:
    """One per family: the smaller ones are parts of the larger, under the same numbers."""
    families = [n for n in dictionaries() if not n.endswith(("_50", "_100", "_250"))]
    return list({n.upper(): n for n in families}.values())


def _smallest_with(name: str, largest_id: int) -> str:
    """The smallest dictionary of a family that has this marker."""
    for size in (50, 100, 250):
        smaller = name.replace("_1000", f"_{size}")
        if smaller != name and largest_id < size:
            return smaller
    return name


def _chessboard_size(images: list[Grey]) -> tuple[int, int] | None:
    """Columns and rows of squares of a chessboard that is seen whole."""
    sizes: Counter[tuple[int, int]] = Counter()
    for image in images[:: max(1, len(images) // _CHESSBOARD_FRAMES)]:
        for a in range(_MOST_INNER, 2, -1):
            for b in range(a, 2, -1):
                if _might_be(image, (a, b)):
                    sizes[a + 1, b + 1] += 1
                    break
    return sizes.most_common(1)[0][0] if sizes else None


def _might_be(image: Grey, inner: tuple[int, int]) -> bool:
    scale = 480 / max(image.shape)
    reduced = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    quick = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    if not cv2.findChessboardCorners(reduced, inner, flags=quick)[0]:
        return False
    return find_chessboard(image, inner) is not None
