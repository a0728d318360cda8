"""What was recorded beside the pictures of when they were taken: time stamps and timecode."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.synchronisation import Gap
from calibration.time_evidence import ClockEvidence
from calibration.time_stamps import Stamp, camera_called, read_stamps
from mocap.errors import DataError

Array = NDArray[np.float64]

# A recorder's clock is read to no better than this.
_LEAST_STD_S = 1e-4
_LEAST_FRAMES = 3
_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d+)")
# Above this rate timecode often counts every second frame, and the file does not say so.
_ALL_COUNTED_FPS = 30.5


@dataclass(frozen=True, eq=False)
class Recorded:
    """What is known of the cameras' clocks before looking at the people.

    Attributes
    ----------
    evidence : tuple of ClockEvidence
    gaps : tuple of Gap
        Frames that were lost.
    row_delay_s : float64 [V] or None
        Of rolling shutters, see `TimeModel`; None where all rows are exposed together.
    """

    evidence: tuple[ClockEvidence, ...] = ()
    gaps: tuple[Gap, ...] = ()
    row_delay_s: Array | None = None

    def row_delays(self, views: int) -> Array:
        """Of all cameras [V], s."""
        return np.zeros(views) if self.row_delay_s is None else self.row_delay_s


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
        Not such a table, a camera or a frame of it that occurs twice, or a number that two cameras share.
    """
    offset, std, drift, drift_std = np.full((4, len(cameras)), np.nan)
    gaps: list[Gap] = []
    stamps = [s for s in read_stamps(path, DataError) if np.isfinite(s.seconds)]
    for v, mine in enumerate(_by_camera(stamps, cameras, path)):
        if len(mine) < _LEAST_FRAMES:
            continue
        frames, times = _in_order(mine, f"{path}, camera {cameras[v]}")
        counts, lost = _counts(frames, times)
        gaps += [Gap(v, frame, missing) for frame, missing in lost]
        own = counts / fps[v]
        slope, offset[v], std[v] = _line(own, times)
        drift[v] = slope - 1
        drift_std[v] = std[v] / max(float(own.std()), 1e-9) / np.sqrt(len(own))
    if not np.isfinite(offset).any():
        raise DataError(
            "the time stamps are of other cameras", expected=f"cam_id {', '.join(cameras)}",
            found=", ".join(sorted({s.camera for s in stamps})[:8]), where=str(path),
        )  # fmt: skip
    return ClockEvidence(path.name, offset, std, drift, drift_std), tuple(gaps)


def _by_camera(stamps: Sequence[Stamp], cameras: Sequence[str], path: Path) -> list[list[Stamp]]:
    """The stamps of each camera: those with its name, or with the last number in it."""
    names: dict[str, str] = {}
    for name in dict.fromkeys(s.camera for s in stamps):
        own = camera_called(name, cameras, path, DataError)
        if own is None:
            continue
        if own in names:
            raise DataError(
                f"camera {own} occurs twice in the time stamps", expected="one cam_id",
                found=f"{names[own]} and {name}", where=str(path),
            )  # fmt: skip
        names[own] = name
    return [[s for s in stamps if s.camera == names.get(c)] for c in cameras]


def _in_order(stamps: Sequence[Stamp], where: str) -> tuple[NDArray[np.int64], Array]:
    """Frames and times (s) of one camera, both increasing."""
    frames = np.array([s.frame for s in stamps], np.int64)
    order = np.argsort(frames, kind="stable")
    frames, times = frames[order], np.array([s.seconds for s in stamps])[order]
    again = np.flatnonzero(np.diff(frames) == 0)
    if len(again):
        k = int(again[0])
        raise DataError(
            "a frame has two time stamps", expected="one row per camera and frame", where=f"{where}, frame {frames[k]}",
            found=f"{times[k]:.6f} s and {times[k + 1]:.6f} s",
        )  # fmt: skip
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        k = int(back[0])
        raise DataError(
            "time stamps do not increase", where=f"{where}, frame {frames[k + 1]}",
            expected=f"more than {times[k]:.6f} s", found=f"{times[k + 1]:.6f} s",
        )  # fmt: skip
    return frames, times


def _line(own: Array, times: Array) -> tuple[float, float, float]:
    """Slope, start (s) and jitter (s) of a line through stamps.

    Least squares three times: of all, then of what lies within four times the jitter (by the median) of the line
    before.
    """
    keep = np.ones(len(own), bool)
    for _ in range(3):
        slope, start = np.polyfit(own[keep], times[keep], 1)
        left = times - start - slope * own
        jitter = max(1.4826 * float(np.median(np.abs(left[keep]))), _LEAST_STD_S)
        keep = np.abs(left) < 4 * jitter
    return float(slope), float(start), jitter


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
    # Timecode exists for whole rates and for these slowed down by 1001/1000 (29.97); what a file states of its rate
    # may be rounded or averaged, which hours of timecode would multiply.
    return count / min((float(base), base * 1000 / 1001), key=lambda rate: abs(rate - fps))


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
