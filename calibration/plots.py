"""Pictures of a calibration: per camera corners with residuals and coverage; the rig seen from above."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera
from calibration.errors import CalibrationError
from calibration.footage_calibration import CalibratedFootage
from calibration.observations import TargetObservations
from calibration.quality import CameraQuality
from calibration.solution import CalibrationSolution

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

_WIDTH, _HEADER = 1280, 64
_INK, _GRID, _PAPER = (40, 40, 40), (215, 215, 215), 255
# Blue green red; told apart by people who see no red or green, too (Okabe & Ito).
_GOOD, _BAD, _COVERED = (178, 114, 0), (0, 94, 213), (115, 158, 0)
_TOP_VIEW, _MARGIN = 1000, 90
_VECTOR_PX = 0.012  # of the picture's width: how long the typical residual is drawn


def draw_calibration(result: CalibratedFootage) -> dict[str, bytes]:
    """PNG files by name: `<camera>.png` for each camera and, where places are known, `rig_from_above.png`."""
    o, pictures = result.observations, {}
    for c, name in enumerate(o.cameras):
        alone = len(result.solution) > 1 or not result.report.poses
        solution = result.solution[c] if alone else result.solution[0]
        rows = np.flatnonzero(o.camera == c)
        residual = solution.residual if alone else solution.residual[rows]
        inlier = solution.inlier if alone else solution.inlier[rows]
        picture = _camera_picture(o, c, rows, residual, inlier, result.report.quality.cameras[c])
        pictures[f"{name}.png"] = _png(picture)
    if result.report.poses:
        pictures["rig_from_above.png"] = _png(_from_above(result, result.solution[0]))
    return pictures


def _png(image: Image) -> bytes:
    done, data = cv2.imencode(".png", image)
    if not done:
        raise CalibrationError("a picture could not be made into a PNG")
    return bytes(data.tobytes())


def _camera_picture(
    o: TargetObservations, c: int, rows: NDArray[np.int64], residual: Array, inlier: NDArray[np.bool_],
    quality: CameraQuality,
) -> Image:  # fmt: skip
    w, h = o.sizes[c]
    scale = _WIDTH / max(w, h)
    width, height = max(round(scale * w), 640), round(scale * h)
    image: Image = np.full((height + _HEADER, width, 3), _PAPER, np.uint8)
    panel = image[_HEADER:, : round(scale * w)]
    _coverage(panel, np.array(quality.coverage_map))
    length = np.linalg.norm(residual, axis=1)
    known = np.isfinite(length)
    typical = float(np.median(length[known & inlier])) if (known & inlier).any() else 1.0
    # A round magnification, so that lengths can be read.
    wanted = _VECTOR_PX * _WIDTH / max(typical * scale, 1e-9)
    decade = 10 ** np.floor(np.log10(wanted))
    factor = float(decade * max(n for n in (1, 2, 5) if n * decade <= wanted * (1 + 1e-9)))
    for i in np.flatnonzero(known):
        # Residuals are observed minus projected: the line runs from the corner to where the model puts it.
        start = scale * (o.pixel[rows[i]] + 0.5) - 0.5
        end = start - factor * scale * residual[i]
        colour = _GOOD if inlier[i] else _BAD
        _line(panel, start, end, colour)
        cv2.circle(panel, _at(start), 2, colour, -1, cv2.LINE_AA)
    cv2.rectangle(panel, (0, 0), (panel.shape[1] - 1, panel.shape[0] - 1), _INK, 1)
    _text(
        image,
        f"{quality.name}: {quality.inlier_rms_px:.2f} px RMS, {quality.observations} corners, "
        f"{quality.rejected} left out (orange), coverage {100 * quality.coverage:.0f} % (green)",
        (10, 24),
        0.55,
    )
    _text(image, f"lines: residuals, {factor:g} times enlarged", (10, 50), 0.5)
    return image


def _coverage(panel: Image, count: Array) -> None:
    """Cells with corners in green, the more the stronger."""
    rows, columns = count.shape
    h, w = panel.shape[:2]
    most = max(float(np.log1p(count.max())), 1e-9)
    for i in range(rows):
        for j in range(columns):
            a, b = (j * w // columns, i * h // rows), ((j + 1) * w // columns, (i + 1) * h // rows)
            share = 0.12 + 0.4 * np.log1p(count[i, j]) / most if count[i, j] else 0.0
            tint = [round(_PAPER + share * (k - _PAPER)) for k in _COVERED]
            cv2.rectangle(panel, a, b, tint, -1)
            cv2.rectangle(panel, a, b, _GRID, 1)


def _from_above(result: CalibratedFootage, solution: CalibrationSolution) -> Image:
    """Cameras as wedges with their names, and where the target was; x to the right, y up, metres."""
    image: Image = np.full((_TOP_VIEW, _TOP_VIEW, 3), _PAPER, np.uint8)
    centres = result.rig.centres
    targets = _targets_in_world(result, solution)
    points = np.concatenate([centres[:, :2], targets[:, :2], np.zeros((1, 2)), 0.1 * np.eye(2)])
    low, high = points.min(0), points.max(0)
    span = max(float((high - low).max()), 0.1)
    scale = (_TOP_VIEW - 2 * _MARGIN) / span
    middle = (low + high) / 2

    def place(p: Array) -> Array:
        return np.array([_TOP_VIEW / 2, _TOP_VIEW / 2]) + scale * (p[:2] - middle) * np.array([1, -1])

    step = 10 ** np.floor(np.log10(span / 2))
    for k in (0, 1):
        for value in np.arange(np.floor((middle[k] - span) / step), np.ceil((middle[k] + span) / step) + 1) * step:
            a, b = middle - span, middle + span
            a[k] = b[k] = value
            _line(image, place(a), place(b), _GRID)
    for p in targets:
        cv2.circle(image, _at(place(p)), 2, _COVERED, -1, cv2.LINE_AA)
    reach = 0.1 * span
    for camera, centre in zip(result.rig.cameras, centres, strict=True):
        _wedge(image, camera, centre, reach, place)
    for axis, name, colour in ((0, "x", _BAD), (1, "y", _GOOD)):
        tip = np.eye(2)[axis] * reach
        cv2.arrowedLine(image, _at(place(np.zeros(2))), _at(place(tip)), colour, 2, cv2.LINE_AA, 0, 0.2)
        _text(image, name, _at(place(1.15 * tip)), 0.5)
    _text(image, f"from above, grid {step:g} m; green: the target; world: {result.report.world}", (10, 24), 0.5)
    return image


def _wedge(image: Image, camera: Camera, centre: Array, reach: float, place: Callable[[Array], Array]) -> None:
    half = camera.size[0] / 2 / camera.K[0, 0]
    for x in (-half, half, 0.0):
        ray = camera.R.T @ np.array([x, 0.0, 1.0])
        _line(image, place(centre), place(centre + reach * ray), _INK if x else _GOOD)
    cv2.circle(image, _at(place(centre)), 5, _INK, -1, cv2.LINE_AA)
    _text(image, f"{camera.name} ({centre[2]:.2f} m up)", _at(place(centre) + np.array([8, -8])), 0.5)


def _targets_in_world(result: CalibratedFootage, solution: CalibrationSolution) -> Array:
    """Middle of the target in every solved pose [n, 3], moved as the rig's first camera was."""
    from scipy.spatial.transform import Rotation

    vectors, shifts = solution.rig_from_target
    solved = np.isfinite(shifts).all(-1)
    middle = Rotation.from_rotvec(vectors[solved]).apply(result.observations.points.mean(0)) + shifts[solved]
    before, after = solution.rig.cameras[0], result.rig.cameras[0]
    in_camera = middle @ before.R.T + before.t
    return np.asarray((in_camera - after.t) @ after.R)


def _at(p: Array) -> tuple[int, int]:
    x, y = np.clip(np.nan_to_num(p), -1e5, 1e5)
    return round(float(x)), round(float(y))


def _line(image: Image, a: Array, b: Array, colour: Colour) -> None:
    cv2.line(image, _at(a), _at(b), colour, 1, cv2.LINE_AA)


def _text(image: Image, text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
