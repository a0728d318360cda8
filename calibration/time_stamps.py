"""Tables of the moment at which each frame was taken, as Caliscope and other recorders write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calibration.errors import CalibrationError, MocapError

_COLUMNS, _INSTANT = ("cam_id", "frame_index", "frame_time"), "sync_index"


@dataclass(frozen=True)
class Stamp:
    """One row.

    Attributes
    ----------
    camera : str
        As the table calls it (cam_id): its name, or the number in it.
    frame : int
    seconds : float
        May be NaN.
    instant : int
        Which frames of the cameras belong together (sync_index); -1 where that was not asked for.
    """

    camera: str
    frame: int
    seconds: float
    instant: int = -1


def read_stamps(path: Path, error: type[MocapError] = CalibrationError, *, instants: bool = False) -> list[Stamp]:
    """Read a CSV with the columns cam_id, frame_index and frame_time (s), and sync_index where `instants` are needed.

    Raises
    ------
    MocapError
        Of the kind `error`: a file that cannot be read or is no such table.
    """
    wanted = (_INSTANT, *_COLUMNS) if instants else _COLUMNS
    try:
        # Spreadsheets put a byte order mark in front.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        if not rows or any(rows[0].get(w) is None for w in wanted):
            raise error(
                "the time stamps are not understood", expected=f"columns {', '.join(wanted)}",
                found=", ".join(map(str, rows[0])) if rows else "no rows", where=str(path),
            )  # fmt: skip
        return [
            Stamp(r["cam_id"].strip(), int(r["frame_index"]), float(r["frame_time"]),
                  int(r[_INSTANT]) if instants else -1)
            for r in rows
        ]  # fmt: skip
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as wrong:
        raise error(
            "the time stamps cannot be read", expected="a CSV in UTF-8, numbers in its columns", found=str(wrong),
            where=str(path),
        ) from wrong  # fmt: skip


def last_number(name: str) -> int | None:
    """The last number in a name, by which cameras are paired where names differ."""
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else None


def camera_called(
    name: str, cameras: Sequence[str], path: Path, error: type[MocapError] = CalibrationError
) -> str | None:
    """The camera that a table calls `name`: the one of that name, or else of that last number; None if none is.

    Raises
    ------
    MocapError
        Of the kind `error`: several cameras have that number.
    """
    number = int(name) if name.isdecimal() else None
    own = [c for c in cameras if c == name] or [c for c in cameras if last_number(c) == number is not None]
    if len(own) > 1:
        raise error(
            f"the time stamps of cam_id {name} could be of several cameras", found=", ".join(own),
            expected="one camera with this number", where=str(path), hint="write the cameras' names as cam_id",
        )  # fmt: skip
    return own[0] if own else None
