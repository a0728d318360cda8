"""Joint positions as marker programs take them: C3D and TRC, millimetres."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mocap.errors import ExportError
from mocap.export.presets import Axes
from mocap.export.reread import reread_c3d, reread_trc
from mocap.export.sampling import sample_sources, sample_values, sampling
from mocap.storage.atomic import atomic_path
from mocap.types import Source, Trajectories3D

Array = NDArray[np.float64]

_MM = 1000.0

_FINEST_RESIDUAL = 0.05

# Frame numbers have sixteen bits.
_MOST_FRAMES = 65535

# The format's camera mask has room for this many.
_MASK_BITS = 7


def marker_names(trajectories: Trajectories3D) -> list[str]:
    """Names person by person; with several people each begins with the person's id."""
    many = len(trajectories.person_ids) > 1
    return [f"p{i}_{j}" if many else j for i in trajectories.person_ids for j in trajectories.joint_names]


def resampled(trajectories: Trajectories3D, rate: float) -> Trajectories3D:
    """The trajectories at another frame rate, or, with rate 0, at even steps.

    Positions by cubic splines (gaps linearly); a sample whose neighbours are not both there is missing;
    covariance is the larger of the two neighbours', frame numbers count from the first frame's time.
    """
    if not rate and (np.diff(trajectories.frames) == 1).all():
        return trajectories
    s = sampling(trajectories.frames, trajectories.fps, rate)
    present = trajectories.source != Source.MISSING
    there = present[s.row] & present[s.after]
    positions = sample_values(_filled(trajectories.positions.astype(np.float64), present), s)
    larger = np.trace(trajectories.covariance[s.after], axis1=-2, axis2=-1) > np.trace(
        trajectories.covariance[s.row], axis1=-2, axis2=-1
    )
    covariance = np.where(larger[..., None, None], trajectories.covariance[s.after], trajectories.covariance[s.row])
    fps = s.fps
    return replace(
        trajectories,
        positions=np.where(there[..., None], positions, np.nan),
        covariance=np.where(there[..., None, None], covariance, np.nan),
        source=np.where(there, sample_sources(trajectories.source, s), Source.MISSING),
        reprojection_error=np.maximum(trajectories.reprojection_error[s.row], trajectories.reprojection_error[s.after]),
        consistency=np.maximum(trajectories.consistency[s.row], trajectories.consistency[s.after]),
        views_used=trajectories.views_used[s.row] & trajectories.views_used[s.after],
        frames=round(trajectories.frames[0] / trajectories.fps * fps) + np.arange(len(s.row)),
        fps=fps,
    )


def _filled(positions: Array, present: NDArray[np.bool_]) -> Array:
    """Positions with missing samples interpolated, for splines to run through; held at the ends, zero if none."""
    out = positions.copy()
    at = np.arange(len(positions))
    for p, j in np.argwhere(~present.all(0)):
        known = present[:, p, j]
        for i in range(3):
            out[:, p, j, i] = np.interp(at, at[known], positions[known, p, j, i]) if known.any() else 0.0
    return out


def file_positions(trajectories: Trajectories3D, axes: Axes) -> Array:
    """Positions [T, P * J, 3] in millimetres and the file's axes; NaN where missing."""
    turned = trajectories.positions.astype(np.float64) @ axes.file_from_world.T * _MM
    return turned.reshape(len(turned), -1, 3)


def write_c3d(path: Path, trajectories: Trajectories3D, axes: Axes) -> None:
    """Write joints as C3D points.

    A point's residual is the standard deviation of its position (millimetres, root mean square of the
    axes), -1 where it is missing; its camera mask says which of the first seven cameras saw it. One
    analog channel per point, ``SOURCE_<name>``, holds the source flag.

    Raises
    ------
    StorageError
        The file cannot be written.
    ExportError
        The take is too long for the format, or what was written does not read back.
    """
    import ezc3d

    even = resampled(trajectories, 0.0)
    if len(even.frames) > _MOST_FRAMES:
        raise ExportError(
            "the take is too long for C3D", expected=f"at most {_MOST_FRAMES} frames", found=f"{len(even.frames)}",
            where=str(path), hint="lower the rate with --fps, or write trc or npz",
        )  # fmt: skip
    names = marker_names(even)
    points = file_positions(even, axes)
    missing = np.isnan(points).any(-1)
    variance = np.trace(even.covariance.astype(np.float64), axis1=-2, axis2=-1).reshape(missing.shape) / 3
    residuals = np.where(missing, -1.0, np.nan_to_num(np.sqrt(variance) * _MM))
    file = ezc3d.c3d()
    parameters = file["parameters"]
    parameters["POINT"]["RATE"]["value"] = [even.fps]
    # The format keeps residuals as whole multiples, up to 255, of this scale; negative: points are floats.
    parameters["POINT"]["SCALE"]["value"] = [-max(_FINEST_RESIDUAL, float(residuals.max(initial=0)) / 250)]
    parameters["POINT"]["UNITS"]["value"] = ["mm"]
    parameters["POINT"]["LABELS"]["value"] = names
    parameters["POINT"]["DESCRIPTIONS"]["value"] = ["joint centre; residual: standard deviation"] * len(names)
    parameters["ANALOG"]["RATE"]["value"] = [even.fps]
    parameters["ANALOG"]["LABELS"]["value"] = [f"SOURCE_{n}" for n in names]
    parameters["ANALOG"]["UNITS"]["value"] = [""] * len(names)
    file.add_parameter("POINT", "X_SCREEN", ["+X"])
    file.add_parameter("POINT", "Y_SCREEN", ["+Z" if axes.up == "Z" else "+Y"])
    file["data"]["points"] = np.concatenate([np.moveaxis(points, -1, 0), np.ones((1, *missing.shape))]).swapaxes(1, 2)
    file["data"]["meta_points"]["residuals"] = residuals.T[None]
    views = even.views_used.reshape(missing.shape)
    masks = [(views >> np.uint64(v) & np.uint64(1)).astype(bool) & ~missing for v in range(_MASK_BITS)]
    file["data"]["meta_points"]["camera_masks"] = np.stack(masks).swapaxes(1, 2)
    file["data"]["analogs"] = even.source.reshape(missing.shape).T[None].astype(np.float64)
    start = int(even.frames[0])
    file["header"]["points"]["first_frame"] = start if start + len(even.frames) <= _MOST_FRAMES else 0
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "take.c3d"  # the library adds this ending to any other
        file.write(str(made))
        reread_c3d(made, names, points, even.fps)
        shutil.copyfile(made, temporary)


def write_trc(path: Path, trajectories: Trajectories3D, axes: Axes) -> None:
    """Write joints as TRC markers (OpenSim): tab-separated millimetres; a missing sample's fields are empty.

    Raises
    ------
    StorageError
        The file cannot be written.
    ExportError
        What was written does not read back.
    """
    even = resampled(trajectories, 0.0)
    names = marker_names(even)
    points = file_positions(even, axes)
    frames = even.frames - even.frames[0]
    values = points.reshape(len(points), -1)
    text = np.where(np.isfinite(values), np.char.mod("%.5f", values), "")
    rate = f"{even.fps:.10g}"
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="ascii", newline="\n") as file:
            file.write(f"PathFileType\t4\t(X/Y/Z)\t{path.name}\n")
            file.write("DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame")
            file.write("\tOrigNumFrames\n")
            file.write(
                f"{rate}\t{rate}\t{len(frames)}\t{len(names)}\tmm\t{rate}\t{even.frames[0] + 1}\t{len(frames)}\n"
            )
            file.write("Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t\n")
            file.write("\t\t" + "\t".join(f"X{k}\tY{k}\tZ{k}" for k in range(1, len(names) + 1)) + "\n\n")
            # Not seconds rounded to a few digits: readers take the rate from the differences.
            lines = zip(frames.tolist(), (frames / even.fps).tolist(), text, strict=True)
            file.writelines(f"{f + 1}\t{t:.9f}\t" + "\t".join(row) + "\n" for f, t, row in lines)
        reread_trc(temporary, names, points, even.fps)
