"""The benchmarks: each yields rows, on scenes the project makes or on ../shared."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from bench_table import Row

from calibration.camera import CameraRig
from calibration.formats import write_rig_toml
from calibration.projection import Lenses, undistort
from mocap.interchange import write_keypoints
from mocap.metrics import mpjpe, pa_mpjpe
from mocap.skeleton import COCO_17, H36M_17
from mocap.storage.hdf5 import encode_record, read_record, write_record
from mocap.synthetic import NoiseSettings, observe, procedural_motion, ring_rig, truth_positions, write_truth
from mocap.types import Keypoints2D

SHARED = Path(__file__).resolve().parents[3] / "shared"
PROGRAM = [sys.executable, "-m", "flows.cli"]
SCENE_FRAMES = 600
LEVELS: dict[str, NoiseSettings] = {
    "clean": NoiseSettings(sigma_px=2.0, outlier_rate=0.0, miss_rate=0.0, person_miss_rate=0.0),
    "studio": NoiseSettings(sigma_px=4.0, outlier_rate=0.03, miss_rate=0.05, correlation_s=0.1),
    "hard": NoiseSettings(sigma_px=6.0, outlier_rate=0.08, miss_rate=0.12, correlation_s=0.2, flip_rate=0.03),
}


class MissingError(Exception):
    """What a benchmark needs is not here."""


def mocap(*arguments: object) -> tuple[str, float]:
    """Output and wall seconds of the program."""
    start = time.perf_counter()
    done = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("mocap:")] or done.stderr.splitlines()
        raise RuntimeError(f"mocap {arguments[0]}: {said[0] if said else done.returncode}")
    return done.stdout, time.perf_counter() - start


def session(folder: Path, keypoints: Path, rig: Path) -> float:
    """Make and run a session; seconds of the run."""
    mocap("init", folder, "--keypoints", keypoints, "--calibration", rig)
    return mocap("run", folder)[1]


def shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        raise MissingError(f"needs ../shared/{'/'.join(parts)}")
    return path


def pairwise_opencv(keypoints: Keypoints2D, rig: CameraRig) -> np.ndarray:
    """Positions [T, J, 3] of the first slot: the mean over view pairs of cv2.triangulatePoints, undistorted."""
    rays = undistort(Lenses.of(rig), keypoints.keypoints[:, :, 0].astype(float))
    V, T, J, _ = rays.shape
    total, count = np.zeros((T * J, 3)), np.zeros((T * J, 1))
    P = [np.hstack([c.R, c.t[:, None]]) for c in rig.cameras]
    for a in range(V):
        for b in range(a + 1, V):
            x, y = (rays[v].reshape(-1, 2).T for v in (a, b))
            ok = np.isfinite(x).all(0) & np.isfinite(y).all(0)
            h = cv2.triangulatePoints(P[a], P[b], x[:, ok], y[:, ok])
            total[ok] += (h[:3] / h[3]).T
            count[ok] += 1
    return (total / np.where(count > 0, count, np.nan)).reshape(T, J, 3)


def synthetic_geometry() -> Iterator[Row]:
    """One person, four cameras, three noise levels, through the whole program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rig = ring_rig(4, seed=11)
        write_rig_toml(rig, folder / "rig.toml")
        motion = procedural_motion(SCENE_FRAMES, 50.0, seed=12)
        write_truth(folder / "truth.npz", motion)
        truth = truth_positions(motion, H36M_17)
        for level, noise in LEVELS.items():
            keypoints = observe(truth, rig, noise, seed=13, joint_names=H36M_17.joints, fps=50.0)
            write_keypoints(keypoints, folder / f"{level}.npz")
            seconds = session(folder / level, folder / f"{level}.npz", folder / "rig.toml")
            out, _ = mocap("evaluate", folder / level, "--ground-truth", folder / "truth.npz", "--json")
            peer = 1000 * mpjpe(pairwise_opencv(keypoints, rig), truth[:, 0])
            s = json.loads(out)
            case = f"synthetic, {level}"
            yield Row(
                "geometry",
                case,
                "MPJPE",
                s["mpjpe_filled_mm"],
                "mm",
                peer=peer,
                note=f"peer: OpenCV view pairs, {peer:.1f} mm",
            )
            yield Row("geometry", case, "PA-MPJPE", s["pa_mpjpe_mm"], "mm")
            yield Row("geometry", case, "speed", SCENE_FRAMES / seconds, "frames/s", note="mocap run, all stages")


def shared_geometry() -> Iterator[Row]:
    """The shared geometry benchmark; the limit is the oracle smoother."""
    bench = shared("bench", "geometry")
    limits = json.loads((bench / "limits_mm.json").read_text())
    with tempfile.TemporaryDirectory() as name:
        for level in ("clean", "studio", "hard"):
            folder = Path(name) / level
            session(folder, bench / f"keypoints_{level}.npz", bench / "rig.toml")
            out, _ = mocap("evaluate", folder, "--ground-truth", bench / f"truth_{level}.npz", "--json")
            s, limit = json.loads(out), limits[level]["oracle_smoother_with_conf_mean"]
            note = f"limit: oracle smoother (knows no bones), {limit:.2f} mm"
            yield Row(
                "geometry", f"Human3.6M rig, {level}", "MPJPE", s["mpjpe_filled_mm"], "mm", limit=limit, note=note
            )


def shared_shelf() -> Iterator[Row]:
    """Shelf with two detectors' points."""
    bench = shared("bench", "shelf")
    with tempfile.TemporaryDirectory() as name:
        for joints in ("coco17", "body25"):
            folder = Path(name) / joints
            session(folder, bench / f"keypoints_{joints}.npz", bench / "rig.toml")
            out, _ = mocap("evaluate", folder, "--ground-truth", bench / "truth_dev_300_449.npz", "--json")
            s = json.loads(out)
            note = f"frames 300-449; strict {s['pcp_strict_average']} %, {s['id_switches']} switches"
            yield Row("people", f"Shelf, {joints}", "PCP", s["pcp_average"], "%", limit=100.0, note=note)


def synthetic_people() -> Iterator[Row]:
    """Three people among five cameras, slots shuffled, false positives."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rig = ring_rig(5, seed=21)
        write_rig_toml(rig, folder / "rig.toml")
        motion = procedural_motion(250, 25.0, seed=22, n_people=3)
        write_truth(folder / "truth.npz", motion, COCO_17.joints)
        noise = NoiseSettings(false_positives=0.1, correlation_s=0.1)
        keypoints = observe(truth_positions(motion, COCO_17), rig, noise, 23, joint_names=COCO_17.joints, fps=25.0)
        write_keypoints(keypoints, folder / "k.npz")
        session(folder / "s", folder / "k.npz", folder / "rig.toml")
        s = json.loads(mocap("evaluate", folder / "s", "--ground-truth", folder / "truth.npz", "--json")[0])
        yield Row("people", "synthetic, 3 people", "MPJPE", s["mpjpe_mm"], "mm")
        yield Row("people", "synthetic, 3 people", "IDF1", 100 * s["identity"]["idf1"], "%", limit=100.0)
        yield Row("people", "synthetic, 3 people", "MOTA", 100 * s["identity"]["mota"], "%", limit=100.0)


def lifting() -> Iterator[Row]:
    """One camera, people and cameras the network never saw."""
    shared("data", "motion")
    import lifting as bench

    from mocap.lifting.lift import Lifter

    data, lifter = bench.Data.read(SHARED), Lifter()
    for case, observation in (("exact 2D", bench.EXACT), ("noisy 2D", bench.NOISY)):
        w = data.windows(observation)
        for bones in (False, True):
            p = bench.lift(lifter, w, bones).positions
            label = f"CMU, {case}{', known bones' if bones else ''}"
            yield Row("lifting", label, "MPJPE", 1000 * mpjpe(p, w.positions.numpy()), "mm", note="pelvis-relative")


def storage() -> Iterator[Row]:
    """An artifact of 2D keypoints: write, read, size."""
    rig, motion = ring_rig(4, seed=1), procedural_motion(3000, 60.0, seed=2)
    k = observe(truth_positions(motion, COCO_17), rig, NoiseSettings(), 3, joint_names=COCO_17.joints, fps=60.0)
    megabytes = (k.keypoints.nbytes + k.confidence.nbytes + k.uncertainty.nbytes) / 1e6
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "k.h5"
        write, read = seconds(lambda: write_record(path, k)), seconds(lambda: read_record(path, Keypoints2D))
        size = len(encode_record(k)) / 1e6
    case = f"keypoints, {megabytes:.0f} MB"
    yield Row("storage", case, "write", megabytes / write, "MB/s")
    yield Row("storage", case, "read", megabytes / read, "MB/s")
    yield Row("storage", case, "size on disk", size / megabytes, "of memory")


def metrics() -> Iterator[Row]:
    """A million poses of 17 joints."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(1_000_000, 17, 3))
    prediction = truth + 0.1 * rng.normal(size=truth.shape)
    for name, metric in (("MPJPE", mpjpe), ("PA-MPJPE", pa_mpjpe)):
        spent = seconds(lambda metric=metric: metric(prediction, truth), 2)
        yield Row("metrics", "1 000 000 frames x 17", name, spent, "s", note="one core")


def workflow() -> Iterator[Row]:
    """What the program costs beside its work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rig = ring_rig(4, seed=1)
        write_rig_toml(rig, folder / "rig.toml")
        motion = procedural_motion(300, 30.0, seed=2)
        k = observe(truth_positions(motion, COCO_17), rig, NoiseSettings(), 3, joint_names=COCO_17.joints, fps=30.0)
        write_keypoints(k, folder / "k.npz")
        yield Row("workflow", "mocap --help", "time", mocap("--help")[1], "s")
        yield Row("workflow", "mocap run, 300 frames of keypoints", "time",
                  session(folder / "s", folder / "k.npz", folder / "rig.toml"), "s")  # fmt: skip
        yield Row("workflow", "mocap run, nothing to do", "time", mocap("run", folder / "s")[1], "s")
        yield Row("workflow", "mocap status", "time", mocap("status", folder / "s")[1], "s")
        changed = mocap("run", folder / "s", "--set", "filter.cutoff_hz=4")[1]
        yield Row("workflow", "mocap run, filter changed", "time", changed, "s", note="filter and solve alone")


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Least wall time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


CASES: dict[str, Callable[[], Iterator[Row]]] = {
    "geometry": synthetic_geometry,
    "geometry-shared": shared_geometry,
    "people": synthetic_people,
    "shelf": shared_shelf,
    "lifting": lifting,
    "storage": storage,
    "metrics": metrics,
    "workflow": workflow,
}
