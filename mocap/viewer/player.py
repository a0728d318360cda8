"""Which frame is shown: play state apart from any window."""

from __future__ import annotations

from dataclasses import dataclass

SPEEDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Speeds to choose from; 1 is real time."""


@dataclass
class Player:
    """The state of a timeline.

    Attributes
    ----------
    n_frames : int
    fps : float
    frame : float
        Row shown, with the share of the next that has passed.
    playing : bool
    speed : float
        1 is real time.
    loop : bool
        Whether playing starts again at the end, or stops there.
    """

    n_frames: int
    fps: float
    frame: float = 0.0
    playing: bool = True
    speed: float = 1.0
    loop: bool = True

    @property
    def row(self) -> int:
        """The row to show."""
        return int(self.frame) % self.n_frames

    def advance(self, seconds: float) -> None:
        """Time passes."""
        if not self.playing:
            return
        self.frame += seconds * self.fps * self.speed
        if self.loop:
            self.frame %= self.n_frames
        elif self.frame >= self.n_frames - 1:
            self.frame, self.playing = float(self.n_frames - 1), False

    def toggle(self) -> None:
        """Play or pause; from the last frame, where it does not loop, playing starts again."""
        self.playing = not self.playing
        if self.playing and not self.loop and self.row == self.n_frames - 1:
            self.frame = 0.0

    def step(self, rows: int) -> None:
        """Pause and go some rows on or back, round the ends."""
        self.playing = False
        self.frame = float((self.row + rows) % self.n_frames)

    def go(self, row: int) -> None:
        """Pause and go to a row; -1 is the last."""
        self.playing = False
        self.frame = float(row % self.n_frames)

    def faster(self, steps: int) -> None:
        """So many speeds up or down."""
        nearest = min(range(len(SPEEDS)), key=lambda i: abs(SPEEDS[i] - self.speed))
        self.speed = SPEEDS[min(max(nearest + steps, 0), len(SPEEDS) - 1)]


class Rounds:
    """Goes to rows one after the other, from the first again once the timeline has been elsewhere."""

    def __init__(self, rows: list[int]) -> None:
        self._rows, self._at = rows, -1

    def next(self, player: Player) -> None:
        """Pause at the next row."""
        if not self._rows:
            return
        still = self._at >= 0 and player.row == self._rows[self._at] and not player.playing
        self._at = (self._at + 1) % len(self._rows) if still else 0
        player.go(self._rows[self._at])
