"""The quality report of a calibration as text and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from calibration.advice import Advice, suspects_synchronisation
from calibration.quality import CameraQuality, RigQuality

_SHADES = " .:-=+*#%@"


@dataclass(frozen=True)
class CalibrationReport:
    """All that is said about one calibration.

    Attributes
    ----------
    target : str
        The board or wand.
    timing : str
        Where it is known from which frames belong together.
    world : str
        What decided the world frame.
    poses : bool
        Whether the cameras' places were estimated; False for intrinsics alone.
    quality : RigQuality
    advice : tuple of Advice
    notes : tuple of str
    """

    target: str
    timing: str
    world: str
    poses: bool
    quality: RigQuality
    advice: tuple[Advice, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """JSON text; numbers that are not known are null."""
        value = asdict(self)
        value["quality"]["synchronisation_suspected"] = suspects_synchronisation(self.quality)
        return json.dumps(_plain(value), indent=1)

    def to_text(self) -> str:
        """Text for a person, at most 120 columns wide."""
        q = self.quality
        lines = [
            f"target: {self.target}; {q.poses} poses, {q.shared_poses} seen by two or more cameras ({self.timing})"
        ]
        if self.poses:
            lines += [
                f"world: {self.world}",
                f"all cameras together: {_number(q.rms_px, '.2f')} px RMS; adjacent target points off by "
                f"{_number(q.scale.mean_error_mm, '+.2f')} mm in the mean, {_number(q.scale.rmse_mm, '.2f')} mm RMS",
                f"expected 3D error from calibration alone: {_number(q.expected_error_mm, '.2f')} mm",
            ]
        else:
            lines.append("intrinsics only: lenses are calibrated, the cameras' places are NOT; the file cannot give 3D")
        lines += ["", *_table(q.cameras), ""]
        lines += [f"{a.severity.value}: {a.text}" for a in self.advice] or ["nothing to complain about"]
        lines += [f"note: {n}" for n in self.notes]
        return "\n".join(lines)


def coverage_picture(camera: CameraQuality) -> str:
    """The image of a camera as characters: the darker, the more corners were seen there."""
    most = max(max(row) for row in camera.coverage_map) or 1
    step = (len(_SHADES) - 1) / math.log1p(most)
    return "\n".join("".join(_SHADES[math.ceil(math.log1p(n) * step)] for n in row) for row in camera.coverage_map)


def _table(cameras: tuple[CameraQuality, ...]) -> list[str]:
    width = max(6, *(len(c.name) for c in cameras))
    head = f"{'camera':<{width}}  views shared corners  left out  RMS px  alone px  coverage  focal px"
    rows = [
        f"{c.name:<{width}}  {c.views:>5} {c.shared_views:>6} {c.observations:>7}  {c.rejected:>8}"
        f"  {_number(c.inlier_rms_px, '.2f'):>6}  {_number(c.single_view_rms_px, '.2f'):>8}  {100 * c.coverage:6.0f} %"
        f"  {c.focal_px:.1f} +- {_number(c.focal_std_px, '.1f')}"
        for c in cameras
    ]
    return [head, *rows]


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "?"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
