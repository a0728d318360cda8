"""A second window: one camera's picture with the detections and where the result lies in it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera, CameraRig
from calibration.projection import Lenses, project
from mocap.types import Source
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.footage import Footage
from mocap.viewer.labels import ink_of, write
from mocap.viewer.overlay import draw_person
from mocap.viewer.panel import to_rgb
from mocap.viewer.scene import bones_of

Image = NDArray[np.uint8]

_HEIGHT = 720
_CROSS_PX = 5


def overlay_picture(exhibit: Exhibit, footage: Footage, camera: Camera, row: int) -> Image:
    """A camera's picture at a row of the result: lines are the result, crosses the detections.

    Returns
    -------
    uint8 [720, width, 3]
        Blue green red; grey where there is no footage.
    """
    width = round(_HEIGHT * camera.size[0] / camera.size[1])
    picture = footage.picture(camera.name, row)
    image = np.full((_HEIGHT, width, 3), 90, np.uint8) if picture is None else picture.copy()
    moment = exhibit.clip.at(row)
    # Pixel centres are whole numbers.
    scale = image.shape[0] / camera.size[1]
    points = moment.part.positions[moment.row].astype(np.float64)
    pixels = (project(Lenses.of(CameraRig((camera,))), points)[0] + 0.5) * scale - 0.5
    strength = np.where(moment.part.source[moment.row] == Source.TRIANGULATED, 1.0, 0.3)
    bones = bones_of(exhibit.clip.joint_names)
    for p, person in enumerate(exhibit.clip.person_ids):
        draw_person(image, pixels[p], strength[p], bones, ink_of(int(person)))
    if exhibit.detections is not None:
        seen = (exhibit.detections.at(camera.name, int(exhibit.clip.frames[row])) + 0.5) * scale - 0.5
        for x, y in seen[np.isfinite(seen).all(-1)]:
            place = int(np.clip(round(x), -99, 9999)), int(np.clip(round(y), -99, 9999))
            cv2.drawMarker(image, place, (255, 255, 255), cv2.MARKER_TILTED_CROSS, 2 * _CROSS_PX, 3, cv2.LINE_AA)
            cv2.drawMarker(image, place, (20, 20, 20), cv2.MARKER_TILTED_CROSS, 2 * _CROSS_PX, 1, cv2.LINE_AA)
    write(image, f"{camera.name}  frame {int(exhibit.clip.frames[row])}", (12, 24), 0.6)
    return image


class FootageWindow:
    """Opened, moved on to the next camera and closed again by one key."""

    def __init__(self, o3d: Any, exhibit: Exhibit) -> None:
        self._o3d, self._exhibit = o3d, exhibit
        self._footage = Footage(exhibit.videos, exhibit.video_frames, _HEIGHT)
        self._cameras = () if exhibit.rig is None else exhibit.rig.cameras
        self._at: int | None = None
        self._visualizer: Any = None
        self._shown: Any = None

    def next_camera(self) -> None:
        """The next camera's picture; after the last, none."""
        after = 0 if self._at is None else self._at + 1
        self.close()
        self._at = after if after < len(self._cameras) else None

    def show(self, row: int) -> None:
        """The picture at a row of the result."""
        if self._at is None:
            return
        camera = self._cameras[self._at]
        picture = self._o3d.geometry.Image(to_rgb(overlay_picture(self._exhibit, self._footage, camera, row)))
        if self._visualizer is None:
            width, height = np.asarray(picture).shape[1::-1]
            self._visualizer = self._o3d.visualization.Visualizer()
            self._visualizer.create_window(f"mocap {camera.name}", int(width), int(height), 40, 40)
        else:
            self._visualizer.clear_geometries()
        self._shown = picture
        self._visualizer.add_geometry(picture)

    def poll(self) -> None:
        """Let the window live; it may be closed by the mouse."""
        if self._visualizer is not None:
            if self._visualizer.poll_events():
                self._visualizer.update_renderer()
            else:
                self.close()
                self._at = None

    def close(self) -> None:
        """Close the window."""
        if self._visualizer is not None:
            self._visualizer.destroy_window()
            self._visualizer = None
