"""Text on pictures: frame number, person ids, the key of the drawing."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera, CameraRig
from calibration.projection import Lenses, project
from mocap.types import Source, Trajectories3D
from mocap.viewer.certainty import CERTAIN_M, UNCERTAIN_M
from mocap.viewer.scene import person_colour
from mocap.viewer.settings import Colouring, ViewSettings

Image = NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = (60, 50, 45)
_PAPER = (250, 250, 250)
_KEY = (
    (Source.TRIANGULATED, "triangulated: full"),
    (Source.LIFTED, "lifted: thin"),
    (Source.INTERPOLATED, "interpolated: dashed"),
)
_CERTAINTY = (
    f"yellow: certain to {1000 * CERTAIN_M:.0f} mm, grey: {1000 * (CERTAIN_M * UNCERTAIN_M) ** 0.5:.0f} mm, "
    f"dark blue: {1000 * UNCERTAIN_M:.0f} mm or worse"
)


def write(image: Image, text: str, place: tuple[int, int], scale: float = 0.5,
          ink: tuple[int, int, int] = _INK) -> None:  # fmt: skip
    """Text with a light rim, its lower left corner at `place` (x, y) px; blue green red."""
    thickness = max(1, round(2 * scale))
    # A thicker stroke is also wider text in OpenCV 5, so the rim is the same text moved about.
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1)):
        cv2.putText(image, text, (place[0] + dx, place[1] + dy), _FONT, scale, _PAPER, thickness, cv2.LINE_AA)
    cv2.putText(image, text, place, _FONT, scale, ink, thickness, cv2.LINE_AA)


def ink_of(person_id: int) -> tuple[int, int, int]:
    """A person's colour for OpenCV: blue green red, 0..255."""
    r, g, b = (int(255 * c) for c in person_colour(person_id))
    return b, g, r


def label(image: Image, trajectories: Trajectories3D, t: int, camera: Camera,
          settings: ViewSettings | None = None, compared: bool = False) -> None:  # fmt: skip
    """Write frame number, time, person ids and the key on a picture taken by `camera`, in place."""
    scale = max(0.35, image.shape[0] / 1150)
    step = round(44 * scale)
    frame = int(trajectories.frames[t])
    write(image, f"frame {frame}   {frame / trajectories.fps:.2f} s", (step // 2, step), scale)
    _label_people(image, trajectories, t, camera, scale)
    present = np.unique(trajectories.source)
    shown = [text for source, text in _KEY if source in present]
    by_person = settings is None or settings.colour is Colouring.PERSON
    colours = "left side bright, right side dark" if by_person else _CERTAINTY
    height = image.shape[0]
    for row, text in enumerate(reversed((*shown, colours, *(["grey: the result compared with"] if compared else [])))):
        write(image, text, (step // 2, height - step // 2 - row * round(0.8 * step)), 0.8 * scale)


def _label_people(image: Image, trajectories: Trajectories3D, t: int, camera: Camera, scale: float) -> None:
    pixels = project(Lenses.of(CameraRig((camera,))), trajectories.positions[t].astype(np.float64))[0]
    for p, person in enumerate(trajectories.person_ids):
        seen = pixels[p][np.isfinite(pixels[p]).all(-1)]
        if not len(seen):
            continue
        top = seen[seen[:, 1].argmin()]
        place = (int(np.clip(top[0], -1e4, 1e4)) - 20, int(np.clip(top[1], -1e4, 1e4)) - round(30 * scale))
        write(image, f"person {person}", place, scale, ink_of(int(person)))
