"""A glimpse of the footage before the long search: which cameras may not show the board at all."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from calibration.board_detection import detect_all
from calibration.footage import Clip, Footage
from calibration.mismatch import explain_nothing_seen
from calibration.targets import BoardDefinition

# Frames looked at, all cameras together and per camera. A board in one frame of twenty of each camera is
# missed by all of 120 glimpses once in 500 recordings.
_GLIMPSES = 120
_LEAST, _MOST = 15, 60
# A search no longer than this many glimpses is its own probe.
_WORTH_IT = 3
_FEWEST_CORNERS = 4


def cameras_without_board(
    footage: Footage, board: BoardDefinition, to_search: Mapping[str, int], threads: int
) -> frozenset[str]:
    """The cameras in which a few frames, spread over the recording, show no board.

    Parameters
    ----------
    footage : Footage
    board : BoardDefinition
    to_search : mapping of camera to int
        Frames that the search would look at.
    threads : int

    Raises
    ------
    CalibrationError
        No camera shows the board in any of the frames: the search would be in vain.
    """
    clips = (*footage.shared, *footage.alone)
    each = int(np.clip(-(-_GLIMPSES // len(clips)), _LEAST, _MOST))
    if sum(to_search.values()) < _WORTH_IT * each * len(clips):
        return frozenset()
    with ThreadPoolExecutor(min(threads, len(clips))) as pool:
        seen = list(pool.map(lambda clip: _glimpse(clip, board, each), clips))
    shown = {clip.camera for clip, yes in zip(clips, seen, strict=True) if yes}
    if not shown:
        raise explain_nothing_seen(clips[0], board, min(each, clips[0].n_frames), every_camera=True)
    return frozenset(footage.cameras) - shown


def _glimpse(clip: Clip, board: BoardDefinition, n: int) -> bool:
    """Whether the board is seen in any of n frames; stops at the first."""
    wanted: NDArray[np.int64] = np.unique(((np.arange(n) + 0.5) / n * clip.n_frames).astype(np.int64))
    views = detect_all(board, clip.glimpses(wanted), 1, thorough=False)
    return any(len(view) >= _FEWEST_CORNERS for view in views)
