"""What a person should know and do about a calibration: camera, reason, what to film again."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from calibration.quality import CameraQuality, RigQuality

# A lens is known where corners were: below these shares of the image it is an extrapolation.
_TRUSTED_COVERAGE, _GOOD_COVERAGE = 0.4, 0.65
_FEW_VIEWS = 12
_FOCAL_STD = 0.005
_KNOWN_CHANGE = 0.01
_REJECTED = 0.05
_WORSE_THAN_OTHERS = 2.0
# Joint residuals so many times those of single views, growing with speed: cameras disagree in time.
_ABOVE_FLOOR = 2.0
_GROWS = 0.1
_SCALE_BIAS = 0.003
# Time offsets that reduce the residuals to this share are no accident.
_EXPLAINED = 0.85


class Severity(enum.StrEnum):
    """How much a remark matters: PROBLEM spoils results, WARNING may, NOTE is good to know."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Advice:
    """One remark.

    Attributes
    ----------
    severity : Severity
    camera : str
        Empty when it concerns all.
    topic : str
        One of coverage, views, synchronisation, residual, outliers, intrinsics, scale, connection.
    text : str
        What was found, why it matters, what to do.
    """

    severity: Severity
    camera: str
    topic: str
    text: str


def advise(quality: RigQuality, square_m: float) -> tuple[Advice, ...]:
    """Remarks on a calibration, the most important first.

    Parameters
    ----------
    quality : RigQuality
    square_m : float
        Distance of adjacent target points, m.
    """
    remarks: list[Advice] = [*_synchronisation(quality), *_scale(quality, square_m)]
    for camera in quality.cameras:
        remarks += [*_coverage(camera), *_views(camera, len(quality.cameras)), *_intrinsics(camera)]
        remarks += _outliers(camera, quality)
    order = list(Severity)
    return tuple(sorted(remarks, key=lambda a: order.index(a.severity)))


def suspects_synchronisation(quality: RigQuality) -> bool:
    """Whether the remaining error looks like cameras that do not expose at the same time."""
    ratio = [c.inlier_rms_px / c.single_view_rms_px for c in quality.cameras if c.single_view_rms_px > 0]
    return (
        len(quality.cameras) > 1
        and len(ratio) > 0
        and float(np.median(ratio)) > _ABOVE_FLOOR
        and quality.speed_correlation > _GROWS
        and quality.jitter_s > 0
    )


def _synchronisation(q: RigQuality) -> list[Advice]:
    remarks = [_offset(c, q) for c in q.cameras if _is_off(c)]
    if suspects_synchronisation(q):
        floor = np.nanmedian([c.single_view_rms_px for c in q.cameras])
        joint = np.nanmedian([c.inlier_rms_px for c in q.cameras])
        remarks.append(
            Advice(
                Severity.WARNING, "", "synchronisation",
                f"Synchronisation is the likely cause of the remaining error: single views fit to {floor:.2f} px, all "
                f"cameras together only to {joint:.2f} px, and the residual grows with the board's speed. "
                f"{_explanation(q)} Use hardware sync, or move the board slowly and pause in each place.",
            )
        )  # fmt: skip
    return remarks


def _is_off(c: CameraQuality) -> bool:
    return bool(np.isfinite(c.time_offset_std_s)) and abs(c.time_offset_s) > 3 * max(c.time_offset_std_s, 1e-9)


def _helps(q: RigQuality) -> bool:
    """Whether the offsets explain a good part of the residuals."""
    without, with_offsets = q.rms_offsets_px
    return with_offsets < _EXPLAINED * without


def _offset(c: CameraQuality, q: RigQuality) -> Advice:
    frames = f" ({c.time_offset_s / q.frame_s:+.2f} frames)" if q.frame_s > 0 else ""
    late = abs(c.time_offset_s) > 0.3 * q.frame_s if q.frame_s > 0 else True
    return Advice(
        Severity.WARNING if late else Severity.NOTE, c.name, "synchronisation",
        f"{c.name} {'is' if _helps(q) else 'may be'} off in time by {1000 * c.time_offset_s:+.1f} ms{frames}, "
        f"+-{1000 * c.time_offset_std_s:.1f} ms (to be added to its time stamps). Check trigger or sync "
        "cable, or write the offset into offsets.toml and calibrate again.",
    )  # fmt: skip


def _explanation(q: RigQuality) -> str:
    """What in the cameras' times would explain residuals that grow with speed: offsets if they do, else scatter."""
    if _helps(q) and any(_is_off(c) for c in q.cameras):
        return "With the cameras' time offsets (said here) all fit to {1:.2f} px instead of {0:.2f} px.".format(
            *q.rms_offsets_px
        )
    frames = f", {q.jitter_s / q.frame_s:.2f} frames" if q.frame_s > 0 else ""
    return f"Exposure times that scatter by about {1000 * q.jitter_s:.0f} ms{frames} would explain it."


def _scale(q: RigQuality, square_m: float) -> list[Advice]:
    if not q.scale.pairs or abs(q.scale.mean_error_mm) < _SCALE_BIAS * 1000 * square_m:
        return []
    text = (
        f"Adjacent target points come out {q.scale.mean_error_mm:+.2f} mm from the {1000 * square_m:g} mm defined: the "
        "board may be bent, or printed at another scale in one direction. Measure it."
    )
    return [Advice(Severity.WARNING, "", "scale", text)]


def _coverage(c: CameraQuality) -> list[Advice]:
    if c.coverage >= _GOOD_COVERAGE:
        return []
    severity = Severity.PROBLEM if c.coverage < _TRUSTED_COVERAGE else Severity.WARNING
    trust = "too small to trust its lens beyond them" if severity is Severity.PROBLEM else "thin"
    where = _empty_parts(c.coverage_map)
    text = (
        f"{c.name}: corners in {100 * c.coverage:.0f} % of the image, {trust}. Film the board {where}, tilted each way."
    )
    return [Advice(severity, c.name, "coverage", text)]


def _empty_parts(coverage: tuple[tuple[int, ...], ...]) -> str:
    seen = np.array(coverage) > 0
    h, w = seen.shape
    rows, columns = (h + 2) // 3, (w + 2) // 3
    third = {"top": seen[:rows], "bottom": seen[h - rows :],
             "left": seen[:, :columns], "right": seen[:, w - columns :]}  # fmt: skip
    empty = [name for name, part in third.items() if part.mean() < _TRUSTED_COVERAGE]
    if not empty:
        return "nearer to the edges"
    if len(empty) == 4:
        return "nearer to the camera and at all edges"
    return f"at the {', '.join(empty[:-1])}{' and ' if len(empty) > 1 else ''}{empty[-1]} edge"


def _views(c: CameraQuality, cameras: int) -> list[Advice]:
    remarks = []
    if c.views < _FEW_VIEWS:
        text = f"{c.name} saw the target in {c.views} poses only; film {_FEW_VIEWS} or more, near and far, tilted."
        remarks.append(Advice(Severity.WARNING, c.name, "views", text))
    if cameras > 1 and 0 < c.shared_views < _FEW_VIEWS:
        text = (
            f"{c.name} shares {c.shared_views} poses with other cameras: its place hangs on few. "
            "Film the target where it and a neighbour see it."
        )
        remarks.append(Advice(Severity.WARNING, c.name, "connection", text))
    return remarks


def _intrinsics(c: CameraQuality) -> list[Advice]:
    remarks = []
    if np.isfinite(c.focal_std_px) and c.focal_std_px > _FOCAL_STD * c.focal_px:
        text = (
            f"{c.name}: the focal length {c.focal_px:.0f} px is known to +-{c.focal_std_px:.1f} px "
            f"({100 * c.focal_std_px / c.focal_px:.1f} %) only. Film the board nearer and tilted by 30-45 degrees."
        )
        remarks.append(Advice(Severity.WARNING, c.name, "intrinsics", text))
    if abs(c.known_focal_change) > max(_KNOWN_CHANGE, 3 * np.nan_to_num(c.focal_std_px) / c.focal_px):
        text = (
            f"{c.name}: the focal length found differs by {100 * c.known_focal_change:+.1f} % from the one given "
            f"(the image by {c.known_change_px:.1f} px). Was zoom, focus, crop or stabilisation changed since?"
        )
        remarks.append(Advice(Severity.WARNING, c.name, "intrinsics", text))
    return remarks


def _outliers(c: CameraQuality, q: RigQuality) -> list[Advice]:
    remarks = []
    if c.observations and c.rejected > _REJECTED * c.observations:
        text = (
            f"{c.name}: {c.rejected} of {c.observations} corners ({100 * c.rejected / c.observations:.0f} %) were "
            "wrong and left out. Look at its plot: reflections, blur, another board in the picture, or wrong numbers?"
        )
        remarks.append(Advice(Severity.WARNING, c.name, "outliers", text))
    others = [o.inlier_rms_px for o in q.cameras if o is not c and np.isfinite(o.inlier_rms_px)]
    if others and c.inlier_rms_px > _WORSE_THAN_OTHERS * float(np.median(others)):
        text = (
            f"{c.name} fits worst: {c.inlier_rms_px:.2f} px where the others have {np.median(others):.2f} px. It may "
            "have been touched during the recording, be out of focus, or run late; film this camera again."
        )
        remarks.append(Advice(Severity.WARNING, c.name, "residual", text))
    return remarks
