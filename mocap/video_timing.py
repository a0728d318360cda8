"""When the frames of a video were taken, and the even time grid that they are numbered by.

The pipeline takes frame k for time k / fps. A video whose frames come evenly is numbered as it lies
in the file. In any other (variable frame rate, frames that the camera dropped) each frame gets the
number of the grid point nearest to its own timestamp; grid points that no frame is near to are
missing frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# In frame periods: container clocks round by up to half a tick (1 ms in Matroska, 0.12 of a period at 240 fps).
_EVEN = 0.25


@dataclass(frozen=True, eq=False)
class Timing:
    """The grid of a video.

    Attributes
    ----------
    fps : float
        Grid points per second.
    n_frames : int
        Grid points from the first to the last frame.
    numbers : int64 [n]
        Grid point of each stored frame in order of time; -1 where another frame is nearer to it.
    even : bool
        Frames come evenly: `numbers` counts them.
    deviation_s : float
        Largest distance of a frame's timestamp from its grid point, seconds.
    """

    fps: float
    n_frames: int
    numbers: NDArray[np.int64]
    even: bool
    deviation_s: float

    @property
    def dropped(self) -> int:
        """Grid points without a frame."""
        return self.n_frames - int((self.numbers >= 0).sum())

    @property
    def surplus(self) -> int:
        """Frames left out because another one is nearer to their grid point."""
        return int((self.numbers < 0).sum())


def even_grid(times: NDArray[np.float64], nominal_fps: float) -> Timing:
    """Number frames by their times.

    Parameters
    ----------
    times : float [n]
        Presentation times, seconds, not falling; n >= 1.
    nominal_fps : float
        Rate that the container states; used as it is where the frames come evenly at that rate.

    Returns
    -------
    Timing
        At the stated rate where the times bear it out, else at the rate that fits the times best.
    """
    n = len(times)
    counted = np.arange(n)
    if n < 3:
        return Timing(nominal_fps, n, counted, True, 0.0)
    steps = np.diff(times)
    typical = float(np.median(steps))
    if not typical > 0:
        return Timing(nominal_fps, n, counted, True, 0.0)
    # Either every frame is the next one, or long steps have gaps in them: whichever fits the times better.
    gaps = np.concatenate([[0], np.cumsum(np.maximum(np.round(steps / typical), 1))]).astype(np.int64)
    fits = [_fit(times, counted), _fit(times, gaps)]
    period, start, residual = min(fits, key=lambda fit: float(np.square(fit[2]).mean()))
    stated = abs(period * nominal_fps - 1) < max(1e-3, 1 / n)
    if residual is fits[0][2] and np.abs(residual).max() < _EVEN:
        return Timing(nominal_fps if stated else 1 / period, n, counted, True, float(np.abs(residual).max() * period))
    position = (times - start) / period
    position -= np.round(position[0])
    slots = np.round(position).astype(np.int64)
    off = np.abs(position - slots)
    # Of the frames at one grid point the nearest one stays.
    order = np.lexsort((off, slots))
    first = np.ones(n, dtype=bool)
    first[1:] = slots[order][1:] != slots[order][:-1]
    numbers = np.full(n, -1, dtype=np.int64)
    numbers[order[first]] = slots[order[first]]
    return Timing(1 / period, int(slots[-1]) + 1, numbers, False, float(off.max() * period))


def _fit(times: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float, NDArray[np.float64]]:
    """Period and start (s) of the even grid nearest to times with these numbers, and what is left, in periods."""
    period, start = (float(v) for v in np.polyfit(counts, times, 1))
    return period, start, (times - start - period * counts) / period
