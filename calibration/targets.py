"""What a calibration target is: boards and wands, as board.toml describes them."""

from __future__ import annotations

import difflib
import enum
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError

Array = NDArray[np.float64]


class TargetKind(enum.StrEnum):
    """Kinds of calibration targets."""

    CHARUCO = "charuco"
    CHESSBOARD = "chessboard"
    WAND = "wand"


@dataclass(frozen=True)
class BoardDefinition:
    """A calibration target as it was made.

    Attributes
    ----------
    kind : TargetKind
    columns, rows : int
        Squares (not corners) along x and y; 0 for a wand.
    square_m : float
        Side of a square, m.
    marker_m : float
        Side of a ChArUco marker, m.
    dictionary : str
        OpenCV's name of the ChArUco markers, e.g. "DICT_4X4_50".
    inverted : bool
        White where the printed template is black.
    legacy : bool
        ChArUco laid out as OpenCV did before version 4.6 (differs where `rows` is even).
    markers_m : tuple of float
        Places of a wand's markers along its line, m, in the order of the tracks.
    image_size : (int, int)
        Width and height of all cameras' images, px, where wand tracks do not say; (0, 0) otherwise.

    Raises
    ------
    CalibrationError
        Numbers that no target can have.
    """

    kind: TargetKind
    columns: int = 0
    rows: int = 0
    square_m: float = 0.0
    marker_m: float = 0.0
    dictionary: str = ""
    inverted: bool = False
    legacy: bool = False
    markers_m: tuple[float, ...] = ()
    image_size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        problem = self._wand_problem() if self.kind is TargetKind.WAND else self._board_problem()
        if problem:
            expected, found = problem
            raise CalibrationError(f"no {self.kind} can be like this", expected=expected, found=found)

    def _board_problem(self) -> tuple[str, str] | None:
        least = 2 if self.kind is TargetKind.CHARUCO else 4
        if min(self.columns, self.rows) < least:
            return f"columns and rows, at least {least} squares each", f"{self.columns} x {self.rows}"
        if not 0 < self.square_m < 10:
            return "square_m in metres, e.g. 0.054", f"{self.square_m:g}"
        if self.kind is TargetKind.CHARUCO:
            if not 0 < self.marker_m < self.square_m:
                return f"marker_m between 0 and square_m = {self.square_m:g}", f"{self.marker_m:g}"
            if self.dictionary not in dictionaries():
                close = difflib.get_close_matches(self.dictionary.upper(), dictionaries(), 3, 0.4) or dictionaries()
                return f"a dictionary of OpenCV, e.g. {', '.join(close[:4])}", repr(self.dictionary)
        return None

    def _wand_problem(self) -> tuple[str, str] | None:
        places = np.array(self.markers_m)
        if len(places) not in (2, 3) or not np.isfinite(places).all() or (np.diff(places) <= 0).any():
            return "markers_m, the 2 or 3 rising places along the wand in metres", str(list(self.markers_m))
        if places[-1] - places[0] > 10:
            return "markers_m in metres", str(list(self.markers_m))
        return None

    @property
    def points(self) -> Array:
        """float64 [P, 3], m: inner corners row by row (boards, z = 0, as OpenCV numbers them), or markers."""
        if self.kind is TargetKind.WAND:
            return np.stack([np.array(self.markers_m), *np.zeros((2, len(self.markers_m)))], -1)
        y, x = np.mgrid[1 : self.rows, 1 : self.columns]
        return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], -1) * self.square_m

    @property
    def neighbours(self) -> NDArray[np.int64]:
        """int64 [E, 2]: pairs of points that are next to each other."""
        if self.kind is TargetKind.WAND:
            n = len(self.markers_m)
            return np.stack([np.arange(n - 1), np.arange(1, n)], -1)
        index = np.arange((self.rows - 1) * (self.columns - 1)).reshape(self.rows - 1, self.columns - 1)
        across = np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], -1)
        down = np.stack([index[:-1].ravel(), index[1:].ravel()], -1)
        return np.concatenate([across, down])

    @property
    def symmetric(self) -> bool:
        """Whether the target looks the same when turned by 180 degrees (chessboards of even columns + rows)."""
        return self.kind is TargetKind.CHESSBOARD and (self.columns + self.rows) % 2 == 0

    def __str__(self) -> str:
        if self.kind is TargetKind.WAND:
            return f"wand with {len(self.markers_m)} markers over {self.markers_m[-1] - self.markers_m[0]:g} m"
        size = f"{self.columns} x {self.rows} squares of {1000 * self.square_m:g} mm"
        markers = f", {self.dictionary}{', inverted' if self.inverted else ''}" if self.dictionary else ""
        return f"{self.kind} of {size}{markers}"


def dictionaries() -> list[str]:
    """Names of the marker dictionaries that OpenCV knows."""
    import cv2

    return sorted(n for n in dir(cv2.aruco) if n.startswith("DICT_"))


_KEYS = {
    TargetKind.CHARUCO: ("columns", "rows", "square_m", "marker_m", "dictionary"),
    TargetKind.CHESSBOARD: ("columns", "rows", "square_m"),
    TargetKind.WAND: ("markers_m",),
}
_OPTIONAL = {
    TargetKind.CHARUCO: ("inverted", "legacy"),
    TargetKind.CHESSBOARD: ("inverted", "marker_m", "dictionary"),
    TargetKind.WAND: ("image_size",),
}


def read_board(path: Path) -> BoardDefinition:
    """Read a board.toml.

    Raises
    ------
    CalibrationError
        Not TOML, a missing, unknown or ill-typed key, or a target that cannot be; names file and key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(
            "the board definition cannot be read", found=str(error), where=str(path),
            hint="write what the board is, see docs/calibration.md",
        ) from error  # fmt: skip
    except tomllib.TOMLDecodeError as error:
        raise CalibrationError("the board definition is not valid TOML", found=str(error), where=str(path)) from error
    table = document.get("board")
    if not isinstance(table, dict):
        raise CalibrationError(
            "the board definition has no [board] section", expected='[board] with kind = "charuco", columns = ...',
            found=", ".join(f"[{k}]" for k in document) or "an empty file", where=str(path),
        )  # fmt: skip
    kinds = [k.value for k in TargetKind]
    if table.get("kind") not in kinds:
        raise CalibrationError(
            "the kind of target is not known", expected=f"kind = one of {', '.join(kinds)}",
            found=repr(table.get("kind")), where=f"{path}: board.kind",
        )  # fmt: skip
    kind = TargetKind(table["kind"])
    _check_keys(table, kind, path)
    # The names of a chessboard's markers say nothing: such a file was made by changing `kind` alone.
    skipped = ("marker_m", "dictionary") if kind is TargetKind.CHESSBOARD else ()
    values = {k: _value(v, k, path) for k, v in table.items() if k != "kind" and k not in skipped}
    try:
        return BoardDefinition(kind, **values)
    except CalibrationError as error:
        raise CalibrationError(
            error.problem, expected=error.expected, found=error.found, where=str(path), hint="correct the definition"
        ) from error


def _check_keys(table: dict[str, Any], kind: TargetKind, path: Path) -> None:
    known = [*_KEYS[kind], *_OPTIONAL[kind]]
    for key in table:
        if key != "kind" and key not in known:
            close = difflib.get_close_matches(key, known, 1, 0.5)
            raise CalibrationError(
                f"a {kind} has no {key!r}", expected=f"kind, {', '.join(known)}", where=f"{path}: board",
                hint=f"did you mean {close[0]!r}?" if close else f"remove {key}",
            )  # fmt: skip
    missing = [k for k in _KEYS[kind] if k not in table]
    if missing:
        raise CalibrationError(
            f"{' and '.join(missing)} of the {kind} {'is' if len(missing) == 1 else 'are'} missing",
            expected=", ".join(_KEYS[kind]), found=", ".join(table), where=f"{path}: board",
            hint="measure the printed board and add it",
        )  # fmt: skip


def _value(value: Any, key: str, path: Path) -> Any:
    wanted = {f.name: f.type for f in fields(BoardDefinition)}[key]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted == "float" and number:
        return float(value)
    if wanted == "int" and isinstance(value, int) and number:
        return value
    if wanted in ("bool", "str") and type(value).__name__ == wanted:
        return value
    if key == "markers_m" and isinstance(value, list) and all(isinstance(v, int | float) for v in value):
        return tuple(float(v) for v in value)
    if key == "image_size" and isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value):
        return tuple(value)
    names = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text in quotes"}
    raise CalibrationError(
        "a value of the wrong type", expected=names.get(str(wanted), "a list of numbers"), found=repr(value),
        where=f"{path}: board.{key}",
    )  # fmt: skip
