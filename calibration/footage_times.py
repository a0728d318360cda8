"""When the frames of calibration footage were taken, and which belong together: timestamps.csv, offsets.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.time_stamps import camera_called, read_stamps

if TYPE_CHECKING:
    from calibration.footage import Clip

TIMESTAMPS, OFFSETS = "timestamps.csv", "offsets.toml"


def frame_times(
    folder: Path, clips: Sequence[Clip]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.int64]], str]:
    """Per camera: time (s) and instant of each frame, and where they come from, in words.

    Raises
    ------
    CalibrationError
        Files that are damaged or do not fit the cameras.
    """
    if clips and (folder / TIMESTAMPS).is_file():
        times, instants = _read_timestamps(folder / TIMESTAMPS, clips)
        if not (folder / OFFSETS).is_file():
            return times, instants, TIMESTAMPS
        return (*_shifted(times, instants, _read_offsets(folder / OFFSETS, clips)), f"{TIMESTAMPS} and {OFFSETS}")
    numbers = {c.camera: np.array(c.numbers or range(c.n_frames), dtype=np.int64) for c in clips}
    offsets = {c.camera: 0.0 for c in clips}
    timing = "equal frame numbers are equal times"
    if clips and (folder / OFFSETS).is_file():
        offsets |= _read_offsets(folder / OFFSETS, clips)
        timing = f"{OFFSETS}"
    rate = next((c.fps for c in clips if c.fps > 0), 1.0)
    shifts = {c.camera: round(offsets[c.camera] * rate) for c in clips}
    # An instant is a frame number on the common clock; what is left below a frame stays in the times.
    instants = {name: n + shifts[name] for name, n in numbers.items()}
    times = {name: n / rate + offsets[name] for name, n in numbers.items()}
    lowest = min((int(i.min()) for i in instants.values() if len(i)), default=0)
    instants = {name: i - min(lowest, 0) for name, i in instants.items()}
    return times, instants, timing


def _shifted(
    times: dict[str, NDArray[np.float64]], instants: dict[str, NDArray[np.int64]], offsets: dict[str, float]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.int64]]]:
    """Stamps with the offsets added; frames go to the instant that is nearest to their new time."""
    rates = []
    for camera, instant in instants.items():
        use = np.flatnonzero(instant >= 0)
        apart = np.diff(instant[use])
        rates.append((np.diff(times[camera][use]) / np.where(apart == 0, 1, apart))[apart > 0])
    each = np.concatenate(rates)
    step = float(np.median(each)) if len(each) else 0.0
    shift = {c: round(s / step) if step > 0 else 0 for c, s in offsets.items()}
    moved = {c: np.where(i >= 0, i + shift.get(c, 0), -1) for c, i in instants.items()}
    lowest = min((int(m[instants[c] >= 0].min()) for c, m in moved.items() if (instants[c] >= 0).any()), default=0)
    moved = {c: np.where(instants[c] >= 0, m - min(lowest, 0), -1) for c, m in moved.items()}
    return {c: t + offsets.get(c, 0.0) for c, t in times.items()}, moved


def _read_offsets(path: Path, clips: Sequence[Clip]) -> dict[str, float]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("offsets_s")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CalibrationError("the time offsets are not valid TOML", found=str(error), where=str(path)) from error
    names = {c.camera for c in clips}
    if not isinstance(table, dict) or set(table) - names or not all(isinstance(v, int | float) for v in table.values()):
        raise CalibrationError(
            "the time offsets do not fit", expected=f"[offsets_s] with seconds for {', '.join(sorted(names))}",
            found=str(table), where=str(path),
        )  # fmt: skip
    return {k: float(v) for k, v in table.items()}


def _named(written: Iterable[str], cameras: Sequence[str], path: Path) -> dict[str, str]:
    """The camera that each cam_id of a table stands for: the one of that name, or else of that last number."""
    found = {}
    for name in written:
        own = camera_called(name, cameras, path)
        if own is not None:
            found[name] = own
    return found


def _read_timestamps(
    path: Path, clips: Sequence[Clip]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.int64]]]:
    """Caliscope's table: sync_index, cam_id, frame_index, frame_time (s), one row per frame."""
    table = read_stamps(path, instants=True)
    named = _named(dict.fromkeys(s.camera for s in table), [c.camera for c in clips], path)
    times, instants = {}, {}
    for clip in clips:
        mine = [s for s in table if named.get(s.camera) == clip.camera]
        if not mine:
            raise CalibrationError(
                f"no time stamps of camera {clip.camera}", where=str(path), expected=f"rows with cam_id {clip.camera}",
                found=f"cam_id {', '.join(sorted({s.camera for s in table}))}", hint="add them, or remove the file",
            )  # fmt: skip
        base = min(s.frame for s in mine)
        # Recorders number frames from the start of the recording or of the program.
        shift = base if base > 0 and max(s.frame for s in mine) >= clip.n_frames else 0
        when, which = np.full(clip.n_frames, np.nan), np.full(clip.n_frames, -1, np.int64)
        for s in mine:
            if 0 <= s.frame - shift < clip.n_frames and np.isfinite(s.seconds):
                when[s.frame - shift], which[s.frame - shift] = s.seconds, s.instant
        times[clip.camera], instants[clip.camera] = when, which
    return times, instants
