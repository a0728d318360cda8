"""A synthetic capture on disk: videos, calibration and ground truth, as a studio would hand them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.formats.rig_toml import write_rig_toml
from mocap.skeleton import BLAZEPOSE_33, H36M_17
from mocap.storage.atomic import atomic_path
from mocap.synthetic.motion import Motion, named_positions, truth_positions
from mocap.synthetic.scene import Scene
from mocap.video import write_video

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Capture:
    """Files of a written capture.

    Attributes
    ----------
    videos : tuple of Path
        One per camera, named after it, in the rig's order.
    calibration : Path
        Rig TOML.
    ground_truth : Path
        H36M-17, in the layout of a result file.
    surface_truth : Path
        BlazePose-33 points on the same body, in the same layout.
    """

    videos: tuple[Path, ...]
    calibration: Path
    ground_truth: Path
    surface_truth: Path


def write_capture(folder: Path, scene: Scene, progress: Callable[[int, int], None] | None = None) -> Capture:
    """Render a scene and write all that a session needs, and the truth to score it by.

    Parameters
    ----------
    folder : Path
        Gets videos/<camera>.mp4, calibration.toml, ground_truth.npz, ground_truth_blazepose33.npz.
    scene : Scene
    progress : callable, optional
        Called with the frames written so far and their number over all cameras.

    Raises
    ------
    DependencyError
        Open3D cannot be loaded.
    StorageError, VideoError
        The folder cannot be written.
    """
    # Open3D is needed only here.
    from mocap.synthetic.render import render_camera

    folder = Path(folder)
    capture = Capture(
        tuple(folder / "videos" / f"{name}.mp4" for name in scene.rig.names),
        folder / "calibration.toml",
        folder / "ground_truth.npz",
        folder / "ground_truth_blazepose33.npz",
    )
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    write_rig_toml(scene.rig, capture.calibration)
    write_truth(capture.ground_truth, scene.motion, H36M_17.joints)
    write_truth(capture.surface_truth, scene.motion, BLAZEPOSE_33.joints)
    total = len(scene.rig) * scene.motion.n_frames
    for v, (camera, path) in enumerate(zip(scene.rig.cameras, capture.videos, strict=True)):
        pictures = _counted(render_camera(scene, camera), v * scene.motion.n_frames, total, progress)
        write_video(path, pictures, scene.motion.fps, camera.size)
    return capture


def _counted(
    pictures: Iterator[Image], done: int, total: int, progress: Callable[[int, int], None] | None
) -> Iterator[Image]:
    for i, picture in enumerate(pictures, done + 1):
        yield picture
        if progress is not None:
            progress(i, total)


def write_truth(path: Path, motion: Motion, joint_names: tuple[str, ...] = H36M_17.joints) -> None:
    """Ground truth as a result file: positions [T, P, J, 3] m, joint_names, frames, fps, person_ids."""
    known = {s.joints: s for s in (H36M_17, BLAZEPOSE_33)}
    skeleton = known.get(joint_names)
    positions = named_positions(motion, joint_names) if skeleton is None else truth_positions(motion, skeleton)
    arrays = {
        "positions": positions.astype(np.float32),
        "source": np.ones(positions.shape[:3], np.uint8),
        "joint_names": np.array(joint_names),
        "frames": motion.frames,
        "person_ids": np.arange(positions.shape[1]),
        "fps": np.array(motion.fps),
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
