"""Pose2Sim on the same 2D points: its own association, triangulation and filter, in a Python of its own.

It runs with the settings of its shipped example, with three changes in its favour: the points are undistorted, long
gaps are left open (the example repeats the last value), and every stretch between jumps of the frame numbers is a
project of its own. Plots and C3D files are off. Its pose estimation and inverse kinematics (OpenSim) are not run.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_peers import peer_python
from bench_run import MissingError

from calibration.camera import CameraRig
from calibration.formats import write_rig_toml
from mocap.types import Keypoints2D

_DRIVER = """
import logging, sys, time
from importlib.metadata import version
from pathlib import Path
import rtoml
import Pose2Sim
from Pose2Sim.filtering import filter_all
from Pose2Sim.personAssociation import associate_all
from Pose2Sim.triangulation import triangulate_all
logging.disable(logging.ERROR)
joints, several, fps = rtoml.loads(sys.argv[1]).values()
spent = 0.0
for folder in map(Path, sys.argv[2:]):
    config = rtoml.load(Path(Pose2Sim.__file__).parent / "Demo_SinglePerson" / "Config.toml")
    config["project"] |= {"project_dir": str(folder), "multi_person": several, "frame_rate": fps, "frame_range": "all"}
    config["pose"] |= {"pose_model": "OURS", "OURS": {"name": "all", "id": "None", "children": [
        {"name": name, "id": k} for k, name in enumerate(joints)]}}
    config["triangulation"] |= {"undistort_points": True, "fill_large_gaps_with": "nan", "make_c3d": False}
    config["filtering"] |= {"display_figures": False, "save_filt_plots": False, "make_c3d": False}
    start = time.process_time()
    try:
        if several:
            associate_all(config)
        triangulate_all(config)
        filter_all(config)
    except Exception as error:
        sys.exit(f"{folder.name}: {type(error).__name__}: {error}")
    spent += time.process_time() - start
print(spent, version("pose2sim"))
"""


@dataclass(frozen=True, eq=False)
class Pose2Sim:
    """What Pose2Sim makes of a take: positions [T, P, J, 3] m, NaN where nothing; processor seconds, files included."""

    positions: np.ndarray
    seconds: float
    version: str


def pose2sim(keypoints: Keypoints2D, rig: CameraRig, *, several: bool = False) -> Pose2Sim:
    """Pose2Sim's filtered positions of a take; of its first person slot, or with its own association of several."""
    python = peer_python()
    parts = np.split(np.arange(len(keypoints.frames)), np.flatnonzero(np.diff(keypoints.frames) > 1) + 1)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / f"part{k}" for k in range(len(parts))]
        for folder, rows in zip(folders, parts, strict=True):
            _write_project(folder, keypoints, rig, rows)
        names = ", ".join(json.dumps(n) for n in keypoints.joint_names)
        said = f"joints = [{names}]\nseveral = {str(several).lower()}\nfps = {keypoints.fps:g}"
        done = subprocess.run([python, "-c", _DRIVER, said, *map(str, folders)], capture_output=True, text=True,
                              check=False)  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [str(done.returncode)]
            raise MissingError(f"Pose2Sim did not run: {lines[-1]}")
        people = [
            _read_people(folder, len(rows), len(keypoints.joint_names))
            for folder, rows in zip(folders, parts, strict=True)
        ]
    positions = np.full((len(keypoints.frames), max(len(p) for p in people), len(keypoints.joint_names), 3), np.nan)
    for rows, found in zip(parts, people, strict=True):
        positions[rows, : len(found)] = found.swapaxes(0, 1)
    seconds, version = done.stdout.split()[-2:]
    return Pose2Sim(positions, float(seconds), version)


def _write_project(folder: Path, k: Keypoints2D, rig: CameraRig, rows: np.ndarray) -> None:
    """A Pose2Sim project: calibration, and one OpenPose JSON file per camera and frame; missing joints are zeros."""
    (folder / "calibration").mkdir(parents=True)
    (folder / "Config.toml").touch()
    write_rig_toml(rig, folder / "calibration" / "rig.toml")
    seen = np.concatenate([k.keypoints, k.confidence[..., None]], -1).astype(float)
    seen[~np.isfinite(seen).all(-1)] = 0
    for v in range(len(k.cameras)):
        poses = folder / "pose" / f"cam{v}_json"
        poses.mkdir(parents=True)
        for n, t in enumerate(rows):
            people = [{"pose_keypoints_2d": p.ravel().tolist()} for p in seen[v, t] if p[:, 2].any()]
            (poses / f"cam{v}_{n:06d}.json").write_text(json.dumps({"version": 1.3, "people": people}))


def _read_people(folder: Path, frames: int, joints: int) -> np.ndarray:
    """[P, frames, joints, 3] of the filtered TRC files, turned back from y up to z up."""
    found = []
    for path in sorted(folder.glob("pose-3d/*_filt_*.trc")):
        table = np.atleast_2d(np.genfromtxt(path, delimiter="\t", skip_header=5))
        one = np.full((frames, joints, 3), np.nan)
        one[table[:, 0].astype(int)] = table[:, 2 : 2 + 3 * joints].reshape(-1, joints, 3)[..., [2, 0, 1]]
        found.append(one)
    return np.array(found).reshape(-1, frames, joints, 3)
