"""What the pipeline needs to know of each video, and whether the videos fit together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mocap.errors import VideoError

_BLACK = 24.0  # mean grey value (0..255) up to which a row or column is a black bar
_LARGEST_BAR = 0.4  # of the image; beyond it the picture itself is dark


@dataclass(frozen=True)
class Footage:
    """One video.

    Attributes
    ----------
    width, height : int
        px, as decoded.
    fps : float
    n_frames : int
    bars : (int, int, int, int)
        Width of the black bars at the left, top, right and bottom edge, px.
    """

    width: int
    height: int
    fps: float
    n_frames: int
    bars: tuple[int, int, int, int] = (0, 0, 0, 0)

    @staticmethod
    def parse(fields: dict[str, Any]) -> Footage:
        """From the values that JSON keeps; TypeError or KeyError when they do not fit."""
        left, top, right, bottom = fields["bars"]
        return Footage(**{**fields, "bars": (left, top, right, bottom)})


def probe_footage(path: Path) -> Footage:
    """Open a video and say what it is; VideoError when it cannot be used."""
    import numpy as np

    from mocap.video import probe, read_frames

    info = probe(path)
    grey = next(iter(read_frames(path, 0, 1, 1)))[0].mean(-1)
    height, width = grey.shape

    def bar(means: Any) -> int:
        bright = np.flatnonzero(means > _BLACK)
        size = int(bright[0]) if len(bright) else len(means)
        return size if size <= _LARGEST_BAR * len(means) else 0

    rows, columns = grey.mean(1), grey.mean(0)
    bars = (bar(columns), bar(rows), bar(columns[::-1]), bar(rows[::-1]))
    return Footage(width, height, info.fps, info.n_frames, bars)


def check_footage(footage: dict[str, Footage], *, free_running: bool = False) -> None:
    """Refuse videos that cannot be of one genlocked take.

    Parameters
    ----------
    footage : dict of camera name to Footage
    free_running : bool
        The cameras were not genlocked; their times are given or will be found.

    Raises
    ------
    VideoError
        Different lengths or frame rates, each camera named.
    """
    if free_running:
        return
    lengths = {name: f.n_frames for name, f in footage.items()}
    rates = {name: round(f.fps, 2) for name, f in footage.items()}
    for what, values, hint in (
        ("frame rates", rates, "convert the videos to one frame rate"),
        ("lengths", lengths, "cut the videos to the same first and last frame"),
    ):
        if len(set(values.values())) > 1:
            listing = ", ".join(f"{name}: {value}" for name, value in values.items())
            raise VideoError(
                f"the videos have different {what}",
                found=listing,
                expected="the same for all cameras, as equal frame numbers mean equal times",
                hint=f"{hint}, or, where the cameras ran each for itself, set synchronise.method to motion "
                "(`--sync motion` of `mocap init`)",
            )
