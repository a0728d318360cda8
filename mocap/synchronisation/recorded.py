"""What was recorded beside the pictures of when they were taken: time stamps and timecode."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.synchronisation import Gap
from calibration.time_evidence import ClockEvidence
from mocap.errors import DataError

Array = NDArray[np.float64]

_COLUMNS = ("cam_id", "frame_index", "frame_time")
# A recorder's clock is read to no better than this.
_LEAST_STD_S = 1e-4
_LEAST_FRAMES = 3
_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d+)")
# Above this rate timecode often counts every second frame, and the file does not say so.
_ALL_COUNTED_FPS = 30.5


@dataclass(frozen=True, eq=False)
class Recorded:
    """What is known of the cameras' clocks before looking at the people."""

    evidence: tuple[ClockEvidence, ...] = ()
    gaps: tuple[Gap, ...] = ()


def read_timestamps(path: Path, cameras: Sequence[str], fps: Array) -> tuple[ClockEvidence, tuple[Gap, ...]]:
    """A table of the moment of every frame.

    Parameters
    ----------
    path : Path
        CSV with the columns cam_id (camera name, or the number in it), frame_index (as stored, from 0)
        and frame_time (seconds of one clock for all cameras); others, as Caliscope's sync_index, may stand
        beside them.
    cameras : sequence of str
    fps : float64 [V]
        Frame rates that the videos state.

    Returns
    -------
    evidence : ClockEvidence
        Offset and drift of each camera by a line through its stamps. A constant delay of the stamps is
        unknown, but hardly larger than their jitter, which is therefore the standard deviation.
    gaps : tuple of Gap
        Frames that were lost between two stored ones.

    Raises
    ------
    DataError
        Not such a table, or a camera of it that occurs twice.
    """
    rows = _rows(path)
    V = len(cameras)
    offset, std, drift, drift_std = np.full((4, V), np.nan)
    gaps: list[Gap] = []
    for v, camera in enumerate(cameras):
        digits = re.findall(r"\d+", camera)
        mine = {f: t for name, f, t in rows if name == camera}
        if not mine and digits:
            mine = {f: t for name, f, t in rows if name.isdigit() and int(name) == int(digits[-1])}
        if len(mine) < _LEAST_FRAMES:
            continue
        frames = np.array(sorted(mine))
        times = np.array([mine[f] for f in frames.tolist()])
        if (np.diff(times) <= 0).any():
            k = int(np.flatnonzero(np.diff(times) <= 0)[0])
            raise DataError(
                "time stamps do not increase", where=f"{path}, camera {camera}, frame {int(frames[k + 1])}",
                expected=f"more than {times[k]:.6f} s", found=f"{times[k + 1]:.6f} s",
            )  # fmt: skip
        counts, lost = _counts(frames, times)
        gaps += [Gap(v, frame, missing) for frame, missing in lost]
        # Theil-Sen like: the line through robust thirds, then least squares of what lies near it.
        own = counts / fps[v]
        keep = np.ones(len(own), bool)
        for _ in range(3):
            slope, start = np.polyfit(own[keep], times[keep], 1)
            left = times - start - slope * own
            jitter = max(1.4826 * float(np.median(np.abs(left[keep]))), _LEAST_STD_S)
            keep = np.abs(left) < 4 * jitter
        offset[v], drift[v], std[v] = start, slope - 1, jitter
        drift_std[v] = jitter / max(float(own.std()), 1e-9) / np.sqrt(len(own))
    if not np.isfinite(offset).any():
        raise DataError(
            "the time stamps are of other cameras", expected=f"cam_id {', '.join(cameras)}",
            found=", ".join(sorted({r[0] for r in rows})[:8]), where=str(path),
        )  # fmt: skip
    return ClockEvidence(path.name, offset, std, drift, drift_std), tuple(gaps)


def _rows(path: Path) -> list[tuple[str, int, float]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.DictReader(file))
        if not table or any(table[0].get(c) is None for c in _COLUMNS):
            raise DataError(
                "the time stamps are not understood", expected=f"columns {', '.join(_COLUMNS)}",
                found=", ".join(table[0]) if table else "no rows", where=str(path),
            )  # fmt: skip
        rows = [(r["cam_id"].strip(), int(r["frame_index"]), float(r["frame_time"])) for r in table]
    except (OSError, UnicodeDecodeError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise DataError("the time stamps cannot be read", found=str(error), where=str(path)) from error
    return [r for r in rows if np.isfinite(r[2])]


def _counts(frames: NDArray[np.int64], times: Array) -> tuple[Array, list[tuple[int, int]]]:
    """What frames would be numbered had none been lost, and (first frame behind, number) of each loss."""
    steps = np.diff(times) / np.maximum(np.diff(frames), 1)
    period = float(np.median(steps))
    expected = np.diff(frames)
    real = np.maximum(np.round(np.diff(times) / period), 1).astype(np.int64)
    missing = np.maximum(real - expected, 0)
    # A stamp that is late for once is followed by one that seems early: no loss.
    late = np.flatnonzero(missing > 0)
    for k in late.tolist():
        after = times[min(k + 4, len(times) - 1)] - times[k]
        usual = (frames[min(k + 4, len(frames) - 1)] - frames[k]) * period
        missing[k] = min(missing[k], max(round((after - usual) / period), 0))
    counts = frames + np.concatenate([[0], np.cumsum(missing)])
    lost = [(int(frames[k + 1]), int(missing[k])) for k in np.flatnonzero(missing).tolist()]
    return counts.astype(np.float64), lost


def read_timecode(videos: Sequence[Path | None], fps: Array) -> ClockEvidence | None:
    """The timecode of the first frame that video files carry.

    Parameters
    ----------
    videos : sequence of Path or None
        Per camera.
    fps : float64 [V]

    Returns
    -------
    ClockEvidence or None
        None where fewer than two files have one. Timecode counts whole frames: the standard deviation is
        that of a uniform error of one frame, and of half a second where it may count every second frame.
    """
    texts = [_timecode_text(p) if p is not None else "" for p in videos]
    found = [_TIMECODE.fullmatch(t.strip()) for t in texts]
    largest = max((int(m[5]) for m in found if m), default=0)
    offset, std = np.full((2, len(videos)), np.nan)
    for v, m in enumerate(found):
        if m is None or not any(int(m[k]) for k in (1, 2, 3, 5)):  # all zero: the camera has no timecode
            continue
        base = max(1, round(float(fps[v])))
        unsure = fps[v] > _ALL_COUNTED_FPS and largest < base // 2
        offset[v] = _timecode_seconds(m, base, float(fps[v]))
        std[v] = (0.5 if unsure else 1 / fps[v]) / np.sqrt(12)
    return ClockEvidence("timecode", offset, std) if np.isfinite(offset).sum() >= 2 else None


def _timecode_seconds(match: re.Match[str], base: int, fps: float) -> float:
    hours, minutes, seconds, frames = (int(match[k]) for k in (1, 2, 3, 5))
    count = (3600 * hours + 60 * minutes + seconds) * base + frames
    if match[4] != ":":  # drop frame: two numbers per 30 frames/s are left out each minute but every tenth
        total = 60 * hours + minutes
        count -= (base // 30) * 2 * (total - total // 10)
        return count / fps
    return count / base


def _timecode_text(path: Path) -> str:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as file:
            for metadata in (*(s.metadata for s in file.streams), file.metadata):
                for name, value in metadata.items():
                    if name.lower() == "timecode":
                        return str(value)
    except (FFmpegError, OSError):
        return ""  # the detect stage says what is wrong with the file
    return ""
