"""Calibration of real ChArUco footage with seeded faults: moved corners, wrong ids, a late camera.

python tests/benchmarks/calibration_faults.py [--seeds 3] [--prior]

The corners are the fixed ones of ../shared/bench/calibration (4 webcams); what is calibrated from them after they
were damaged is scored on the undamaged ones by the score.py that lies there: RMS over all corners seen by two or
more cameras, each triangulated from all its views, and the distance of adjacent corners against the board's 54 mm.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from calibration.camera import Camera
from calibration.formats import read_rig, write_rig_toml
from calibration.joint import CalibrationSettings, calibrate_cameras
from calibration.observations import TargetObservations

SHARED = Path(__file__).resolve().parents[3] / "shared"
CORNERS = SHARED / "bench" / "calibration" / "corners_charuco_4cam.csv"
FOOTAGE = SHARED / "data" / "calibration" / "charuco_4cam"
SIZE, SQUARE_M = (1280, 720), 0.054
FAULTS = ("5 % of corners moved", "15 % of corners moved", "15 % of views shuffled", "15 % of views shifted")


def load_corners() -> tuple[TargetObservations, np.ndarray]:
    """The fixed corners, and the sync index of each pose."""
    with CORNERS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sync, pose = np.unique([int(r["sync_index"]) for r in rows], return_inverse=True)
    camera = np.array([int(r["cam_id"]) for r in rows])
    ids, point = np.unique([int(r["keypoint_id"]) for r in rows], return_inverse=True)
    points = np.zeros((len(ids), 3))
    points[point] = [[float(r["obj_loc_x"]), float(r["obj_loc_y"]), 0.0] for r in rows]
    pixel = np.array([[float(r["img_loc_x"]), float(r["img_loc_y"])] for r in rows])
    names = tuple(f"cam_{c}" for c in range(camera.max() + 1))
    o = TargetObservations(
        names, (SIZE,) * len(names), points, _times(rows, pose), camera.astype(np.int64), pose.astype(np.int64),
        point.astype(np.int64), pixel,
    )  # fmt: skip
    return o, sync


def _times(rows: list[dict[str, str]], pose: np.ndarray) -> np.ndarray:
    """Mean time stamp (s) of each pose."""
    stamp = np.array([float(r["frame_time"]) for r in rows])
    return np.bincount(pose, stamp) / np.bincount(pose)


def damaged(o: TargetObservations, fault: str, seed: int) -> TargetObservations:
    """The corners with one of FAULTS."""
    rng = np.random.default_rng(seed)
    share = int(fault.split(maxsplit=1)[0]) / 100
    if "corners" in fault:
        bad = rng.random(len(o)) < share
        angle, length = rng.uniform(0, 2 * np.pi, len(o)), rng.uniform(20, 100, len(o))
        return replace(o, pixel=o.pixel + bad[:, None] * length[:, None] * np.c_[np.cos(angle), np.sin(angle)])
    views, of = np.unique(o.pose * len(o.cameras) + o.camera, return_inverse=True)
    point = o.point.copy()
    for v in np.flatnonzero(rng.random(len(views)) < share):
        mine = np.flatnonzero(of == v)
        order = rng.permutation(len(o.points))[: len(mine)]
        point[mine] = order if "shuffled" in fault else (point[mine] + 3) % len(o.points)
    return replace(o, point=point)


def delayed(o: TargetObservations, sync: np.ndarray, camera: int) -> TargetObservations:
    """The corners with one camera's frames arriving one frame later; what then has no pose is left out."""
    of_sync = {int(s): b for b, s in enumerate(sync)}
    target = np.array([of_sync.get(int(s) + 1, -1) for s in sync])
    pose = np.where(o.camera == camera, target[o.pose], o.pose)
    keep = pose >= 0
    return replace(o, pose=np.maximum(pose, 0)).select(keep)


@dataclass(frozen=True)
class Row:
    """One calibration, scored on the undamaged corners."""

    case: str
    rms_px: float
    square_rmse_mm: float
    square_bias_mm: float
    offset_s: np.ndarray
    seconds: float


def _scorer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shared_score", CORNERS.parent / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def calibrated(case: str, o: TargetObservations, known: dict[str, Camera]) -> Row:
    """Calibrate and score."""
    start = time.process_time()
    solution = calibrate_cameras(o, CalibrationSettings(), known)
    seconds = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rig.toml"
        write_rig_toml(solution.rig, path)
        s = _scorer().score(path, CORNERS, SQUARE_M)
    return Row(case, s["rms_px"], s["square_rmse_mm"], s["square_bias_mm"], solution.time_offset_s, seconds)


def rows(seeds: int, *, prior: bool = False) -> Iterator[Row]:
    """The clean corners first, then every fault."""
    o, sync = load_corners()
    stored = read_rig(FOOTAGE / "caliscope_camera_array.toml") if prior else None
    known = {} if stored is None else {f"cam_{c}": replace(k, name=f"cam_{c}") for c, k in enumerate(stored.cameras)}
    yield calibrated("clean", o, known)
    for fault in FAULTS:
        for seed in range(seeds):
            yield calibrated(fault, damaged(o, fault, seed), known)
    for camera, name in enumerate(o.cameras):
        yield calibrated(f"{name} a frame late", delayed(o, sync, camera), known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prior", action="store_true", help="with the stored Caliscope intrinsics as a prior")
    a = parser.parse_args()
    if not CORNERS.is_file():
        sys.stdout.write(f"skipped: {CORNERS.parent} is not there\n")
        return
    o, _ = load_corners()
    frame_s = float(np.median(np.diff(o.times)[np.diff(o.times) < 0.5]))
    clean: Row | None = None
    for row in rows(a.seeds, prior=a.prior):
        clean = clean or row
        line = (
            f"{row.case:24s} RMS {row.rms_px:.3f} px ({row.rms_px / clean.rms_px:.3f} of clean)  square RMSE "
            f"{row.square_rmse_mm:.3f} mm, bias {row.square_bias_mm:+.3f} mm  {row.seconds:.1f} s"
        )
        if row.case.endswith("late"):
            # Common time is that of the camera that most agree with: offsets compare once it is taken out.
            camera = o.cameras.index(row.case.split()[0])
            change = (row.offset_s - clean.offset_s) / frame_s
            line += f"  delay found {-(change[camera] - np.median(np.delete(change, camera))):+.2f} frames"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
