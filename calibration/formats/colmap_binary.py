"""COLMAP's cameras.bin and images.bin: little-endian records, see COLMAP's page on its output format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from calibration.errors import CalibrationError
from calibration.formats.colmap import MODELS, ColmapCamera, ColmapImage
from calibration.formats.common import read_bytes

_POINT_BYTES = 24  # x, y, id of the 3D point


class _Reader:
    """A position in the bytes of a file; a record that ends too early is an error that says so."""

    def __init__(self, path: Path) -> None:
        self.path, self.content, self.position = path, read_bytes(path), 0

    def take(self, layout: str) -> tuple[float, ...]:
        values = struct.unpack_from(f"<{layout}", self.content, self._advance(struct.calcsize(f"<{layout}")))
        return tuple(values)

    def text(self) -> str:
        end = self.content.find(b"\0", self.position)
        start = self._advance((end if end >= 0 else len(self.content)) + 1 - self.position)
        return self.content[start:end].decode("utf-8", errors="replace")

    def skip(self, count: int) -> None:
        self._advance(count)

    def _advance(self, count: int) -> int:
        start, self.position = self.position, self.position + count
        if self.position > len(self.content):
            raise CalibrationError(
                "the file ends in the middle of a record",
                expected=f"at least {self.position} bytes",
                found=f"{len(self.content)}",
                where=str(self.path),
            )
        return start


def read_cameras(path: Path) -> list[ColmapCamera]:
    """Cameras of a cameras.bin; CalibrationError when it is damaged or has an unknown model."""
    by_id = {model[0]: (name, model[1]) for name, model in MODELS.items()}
    reader = _Reader(path)
    (count,) = reader.take("Q")
    cameras = []
    for _ in range(int(count)):
        camera_id, model_id, width, height = (int(v) for v in reader.take("IiQQ"))
        if model_id not in by_id:
            raise CalibrationError(
                f"camera {camera_id}: model number {model_id} is not supported",
                expected=", ".join(MODELS),
                where=str(path),
                hint="run colmap with --ImageReader.camera_model OPENCV or OPENCV_FISHEYE",
            )
        name, parameters = by_id[model_id]
        cameras.append(ColmapCamera(camera_id, name, (width, height), np.array(reader.take(f"{parameters}d"))))
    return cameras


def read_images(path: Path) -> list[ColmapImage]:
    """Images of an images.bin, without their points; CalibrationError when it is damaged."""
    reader = _Reader(path)
    (count,) = reader.take("Q")
    images = []
    for _ in range(int(count)):
        reader.take("I")
        pose = np.array(reader.take("7d"))
        (camera_id,) = reader.take("I")
        name = reader.text()
        (points,) = reader.take("Q")
        reader.skip(int(points) * _POINT_BYTES)
        images.append(ColmapImage(pose[:4], pose[4:], int(camera_id), name))
    return images
