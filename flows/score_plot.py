"""A picture of scores: error per joint as bars, error over time as lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mocap.errors import SettingsError
from mocap.metrics import Evaluation, worst_frames
from mocap.storage.atomic import write_bytes

Image = NDArray[np.uint8]

_WIDTH, _PANEL, _MARGIN, _LEFT = 1400, 380, 60, 90
_INK, _GRID = (40, 40, 40), (225, 225, 225)
# Blue green red; told apart by people who see no red or green, too (Okabe & Ito).
_COLOURS = ((178, 114, 0), (0, 94, 213), (115, 158, 0), (167, 121, 204), (0, 159, 230), (66, 228, 240))


def plot_scores(results: Mapping[str, Evaluation], path: Path) -> None:
    """Write a PNG: absolute MPJPE per joint above, per compared frame below, one colour per result.

    Raises
    ------
    SettingsError
        A file name that does not end in .png.
    StorageError
        The file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise SettingsError("plots are PNG pictures", expected="--plot FILE.png", found=path.name, where="--plot")
    image: Image = np.full((2 * _PANEL + _MARGIN, _WIDTH, 3), 255, np.uint8)
    evaluations = list(results.values())
    names = evaluations[0].joint_names
    by_joint = np.full((len(evaluations), len(names)), np.nan)
    for i, e in enumerate(evaluations):
        for joint, value in zip(e.joint_names, 1000 * e.per_joint, strict=True):
            if joint in names:
                by_joint[i, names.index(joint)] = value
    _bars(image[:_PANEL], by_joint, names)
    _lines(image[_PANEL : 2 * _PANEL], evaluations)
    for i, name in enumerate(results):
        _text(image, Path(name).name, (_LEFT + 260 * i, 2 * _PANEL + 30), _COLOURS[i % len(_COLOURS)])
    done, data = cv2.imencode(".png", image)
    if not done:
        raise SettingsError("the plot could not be made into a PNG", where=str(path))
    write_bytes(path, data.tobytes())


def _bars(panel: Image, values: NDArray[np.float64], names: tuple[str, ...]) -> None:
    top = _axis(panel, "MPJPE per joint, mm", values)
    slot = (_WIDTH - _LEFT - 20) / len(names)
    width = 0.8 * slot / len(values)
    for j, name in enumerate(names):
        x = _LEFT + slot * (j + 0.1)
        for i, value in enumerate(values[:, j]):
            if np.isfinite(value):
                corner = (int(x + i * width), _row(value, top))
                cv2.rectangle(panel, corner, (int(x + (i + 1) * width) - 1, _row(0, top)), _COLOURS[i % 6], -1)
        _text(panel, name, (int(x), _row(0, top) + (16 if j % 2 else 30)), _INK, 0.36)


def _lines(panel: Image, evaluations: list[Evaluation]) -> None:
    """Error over the frames that any result was compared in; a line ends where a frame is missing."""
    top = _axis(panel, "MPJPE over the compared frames, mm", 1000 * np.concatenate([e.per_frame for e in evaluations]))
    frames = np.unique(np.concatenate([e.frame_numbers for e in evaluations]))
    for i, e in enumerate(evaluations):
        at = np.searchsorted(frames, e.frame_numbers)
        x = _LEFT + at / max(len(frames) - 1, 1) * (_WIDTH - _LEFT - 20)
        known = np.flatnonzero(np.isfinite(e.per_frame))
        for run in np.split(known, np.flatnonzero(np.diff(at[known]) > 1) + 1) if len(known) else ():
            points = np.stack([x[run], [_row(v, top) for v in 1000 * e.per_frame[run]]], -1).astype(np.int32)
            cv2.polylines(panel, [points], False, _COLOURS[i % 6], 1, cv2.LINE_AA)
        for frame, error, _ in worst_frames(e, 1):
            place = (int(x[np.flatnonzero(e.frame_numbers == frame)[0]]), _row(1000 * error, top))
            cv2.circle(panel, place, 5, _COLOURS[i % 6], 1, cv2.LINE_AA)
            _text(panel, f"{frame}", (min(place[0] + 8, _WIDTH - 60), place[1] - 4), _COLOURS[i % 6])
    _text(panel, f"frame {frames[0]}", (_LEFT, _row(0, top) + 18), _INK)
    _text(panel, f"{frames[-1]}", (_WIDTH - 90, _row(0, top) + 18), _INK)


def _axis(panel: Image, title: str, values: NDArray[np.float64]) -> float:
    """Title and grid; the value at the top."""
    known = values[np.isfinite(values)]
    largest = float(known.max()) if known.size else 1.0
    step = 10 ** np.floor(np.log10(max(largest, 1e-6)))
    step *= 0.5 if largest < 2.5 * step else 1 if largest < 5 * step else 2
    top = step * np.ceil(max(largest, 1e-6) / step)
    for value in np.arange(0, top + step / 2, step):
        cv2.line(panel, (_LEFT, _row(value, top)), (_WIDTH - 20, _row(value, top)), _GRID, 1)
        _text(panel, f"{value:g}", (_LEFT - 55, _row(value, top) + 5), _INK)
    _text(panel, title, (_LEFT, 24), _INK, 0.55)
    return float(top)


def _row(value: float, top: float) -> int:
    return int(_PANEL - 45 - value / top * (_PANEL - 90))


def _text(image: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int], size: float = 0.42) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
