"""Benchmarks of the whole program: each yields rows, on scenes the project makes or on ../shared."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench_peers import anipose, pairwise_opencv
from bench_pose2sim import pose2sim
from bench_run import SHARED, Effort, MissingError, mocap, scorer, session, shared
from bench_table import Row

from calibration.camera import CameraRig
from calibration.formats import write_rig_toml
from calibration.formats.rig_toml import read_rig_toml
from mocap.interchange import read_keypoints, write_keypoints
from mocap.metrics import mpjpe
from mocap.metrics.filling import fill_gaps
from mocap.skeleton import COCO_17, H36M_17
from mocap.synthetic import NoiseSettings, observe, procedural_motion, ring_rig, truth_positions, write_truth
from mocap.types import Keypoints2D

LEVELS: dict[str, NoiseSettings] = {
    "clean": NoiseSettings(sigma_px=2.0, outlier_rate=0.0, miss_rate=0.0, person_miss_rate=0.0),
    "studio": NoiseSettings(sigma_px=4.0, outlier_rate=0.03, miss_rate=0.05, correlation_s=0.1),
    "hard": NoiseSettings(sigma_px=6.0, outlier_rate=0.08, miss_rate=0.12, correlation_s=0.2, flip_rate=0.03),
}


def _peers(keypoints: Keypoints2D, rig: CameraRig, truth: np.ndarray) -> tuple[float, str]:
    """Least error (mm) of the other programs, of the points they return, and what each has."""
    pixels = keypoints.keypoints[:, :, 0].astype(float)
    found = {"OpenCV view pairs": 1000 * mpjpe(pairwise_opencv(pixels, rig), truth)}
    try:
        # Its RANSAC does a few frames a second: no figure over the same frames could be had.
        found["aniposelib (linear)"] = 1000 * mpjpe(anipose(pixels, rig).linear, truth)
        theirs = pose2sim(keypoints, rig).positions[:, :1]
        found["Pose2Sim"] = 1000 * mpjpe(fill_gaps(theirs, keypoints.frames)[:, 0], truth)
    except MissingError as missing:
        return min(found.values()), f"peers: {_listed(found)}; {missing}"
    return min(found.values()), f"peers: {_listed(found)}"


def _listed(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} mm" for name, value in found.items())


def synthetic_geometry(effort: Effort) -> Iterator[Row]:
    """One person, four cameras, three noise levels, through the whole program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rig = ring_rig(4, seed=11)
        write_rig_toml(rig, folder / "rig.toml")
        motion = procedural_motion(effort.scene_frames, 50.0, seed=12)
        write_truth(folder / "truth.npz", motion)
        truth = truth_positions(motion, H36M_17)
        for level, noise in LEVELS.items():
            keypoints = observe(truth, rig, noise, seed=13, joint_names=H36M_17.joints, fps=50.0)
            write_keypoints(keypoints, folder / f"{level}.npz")
            spent = session(folder / level, folder / f"{level}.npz", folder / "rig.toml")
            out, _ = mocap("evaluate", folder / level, "--ground-truth", folder / "truth.npz", "--json")
            s, case = json.loads(out), f"synthetic, {level}"
            peer, note = _peers(keypoints, rig, truth[:, 0])
            yield Row("geometry", case, "MPJPE", s["mpjpe_filled_mm"], "mm", peer=peer, note=note, main=True)
            yield Row("geometry", case, "PA-MPJPE", s["pa_mpjpe_mm"], "mm")
            speed = effort.scene_frames / spent
            yield Row("geometry", case, "speed", speed, "frames/s", note="mocap run, all stages, start included")


def shared_geometry(effort: Effort) -> Iterator[Row]:
    """The shared geometry benchmark by its own program; the limit is the oracle smoother."""
    bench = shared("bench", "geometry")
    limits, score = json.loads((bench / "limits_mm.json").read_text()), scorer("geometry").score
    rig = read_rig_toml(bench / "rig.toml")
    with tempfile.TemporaryDirectory() as name:
        for level in ("clean", "studio", "hard"):
            folder, case = Path(name) / level, f"Human3.6M rig, {level}"
            session(folder, bench / f"keypoints_{level}.npz", bench / "rig.toml")
            mocap("export", folder, "--format", "npz", "--output", folder / "r.npz")
            s, limit = score(folder / "r.npz", level), limits[level]
            with np.load(bench / f"truth_{level}.npz") as z:
                truth = z["positions"]
            keypoints = read_keypoints(bench / f"keypoints_{level}.npz")
            peer, peers = _peers(keypoints, rig, truth.reshape(len(truth), 17, 3))
            oracle = limit["oracle_smoother_with_conf_mean"]
            note = f"limit: oracle smoother (knows no bones), {oracle:.2f} mm; {peers}"
            yield Row("geometry", case, "MPJPE", s["mpjpe"], "mm", limit=oracle, peer=peer, note=note, main=True)
            yield Row("geometry", case, "jitter", s["jitter"], "mm/frame2",
                      limit=limit["oracle_smoother_with_conf_jitter"], note="limit: that of the oracle")  # fmt: skip
            if "covered_95_pct" in s:
                yield Row("geometry", case, "truth in the 95 % ellipsoid", s["covered_95_pct"], "%", limit=95.0)


def shared_shelf(effort: Effort) -> Iterator[Row]:
    """Shelf with two detectors' points, by its own program."""
    bench = shared("bench", "shelf")
    score = scorer("shelf").score
    with tempfile.TemporaryDirectory() as name:
        for joints in ("coco17", "body25"):
            folder = Path(name) / joints
            session(folder, bench / f"keypoints_{joints}.npz", bench / "rig.toml")
            mocap("export", folder, "--format", "npz", "--output", folder / "r.npz")
            truth = [bench / "truth_dev_300_449.npz"]
            s, case = score(folder / "r.npz", truth), f"Shelf, {joints}"
            note = f"frames 300-449, {s['id_switches']} switches"
            peer, said = 96.27, "peer: 4D Association on these points (not run by us), 96.27"
            try:
                keypoints = read_keypoints(bench / f"keypoints_{joints}.npz")
                theirs = pose2sim(keypoints, read_rig_toml(bench / "rig.toml"), several=True)
                np.savez(folder / "p.npz", positions=theirs.positions, joint_names=np.array(keypoints.joint_names),
                         frames=keypoints.frames, person_ids=np.arange(theirs.positions.shape[1]))  # fmt: skip
                other = score(folder / "p.npz", truth)
                speed = len(keypoints.frames) / theirs.seconds
                peer = other["pcp_average"]
                said = f"peer: Pose2Sim {theirs.version}, {peer:.2f} at {speed:.0f} frames/s of one core"
            except MissingError as missing:
                said += f"; {missing}"
            yield Row("people", case, "PCP", s["pcp_average"], "%", limit=100.0, peer=peer, note=f"{note}; {said}",
                      main=True)  # fmt: skip


def synthetic_people(effort: Effort) -> Iterator[Row]:
    """Three people among five cameras, slots shuffled, false positives."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rig = ring_rig(5, seed=21)
        write_rig_toml(rig, folder / "rig.toml")
        motion = procedural_motion(effort.crowd_frames, 25.0, seed=22, n_people=3)
        write_truth(folder / "truth.npz", motion, COCO_17.joints)
        noise = NoiseSettings(false_positives=0.1, correlation_s=0.1)
        keypoints = observe(truth_positions(motion, COCO_17), rig, noise, 23, joint_names=COCO_17.joints, fps=25.0)
        write_keypoints(keypoints, folder / "k.npz")
        session(folder / "s", folder / "k.npz", folder / "rig.toml")
        s = json.loads(mocap("evaluate", folder / "s", "--ground-truth", folder / "truth.npz", "--json")[0])
        yield Row("people", "synthetic, 3 people", "MPJPE", s["mpjpe_mm"], "mm", main=True)
        yield Row("people", "synthetic, 3 people", "IDF1", 100 * s["identity"]["idf1"], "%", limit=100.0)
        yield Row("people", "synthetic, 3 people", "MOTA", 100 * s["identity"]["mota"], "%", limit=100.0)


def real_board(effort: Effort) -> Iterator[Row]:
    """Real ChArUco footage of four webcams, by the shared program; peer: Caliscope's stored solution."""
    footage = shared("data", "calibration", "charuco_4cam")
    corners = shared("bench", "calibration", "corners_charuco_4cam.csv")
    score = scorer("calibration").score
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        mocap("calibrate", footage, "--board", footage / "board.toml", "--output", folder / "rig.toml")
        spent = time.perf_counter() - start
        mocap("convert-calibration", footage / "caliscope_camera_array.toml", folder / "peer.toml")
        s, peer = (score(folder / f"{n}.toml", corners, 0.054) for n in ("rig", "peer"))
    case = "ChArUco footage, 4 webcams"
    for figure, asked, main in (
        ("rms_px", 1.19, True),
        ("square_rmse_mm", 0.52, True),
        ("square_bias_mm", 0.05, False),
    ):
        label, _, unit = figure.rpartition("_")
        yield Row("calibration", case, label.replace("_", " "), abs(s[figure]), unit, limit=asked,
                  peer=abs(peer[figure]), main=main, note=f"limit: {asked} asked; peer: Caliscope's stored solution"
                  )  # fmt: skip
    yield Row("calibration", case, "time", spent, "s", note="mocap calibrate, detection included")


def real_clip(effort: Effort) -> Iterator[Row]:
    """A real capture, from the videos to the joint rotations."""
    clip = shared("data", "single")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mocap("init", folder / "s", "--videos", clip / "videos", "--calibration", clip / "calibration")
        spent = mocap("run", folder / "s")[1]
        yield Row("real clip", "4 videos of 1080p, 100 frames", "time", spent, "s",
                  note="mocap run, all stages, from the pixels")  # fmt: skip
        mocap("export", folder / "s", "--format", "npz", "--output", folder / "r.npz")
        from mocap.metrics import limb_spread
        from mocap.skeleton import identify

        with np.load(folder / "r.npz") as z:
            spread = 100 * float(np.nanmean(limb_spread(z["positions"], identify(tuple(z["joint_names"])))))
        yield Row("real clip", "4 videos of 1080p, 100 frames", "limb length spread", spread, "%", limit=3.0,
                  peer=3.7, main=True,
                  note="limit: 3 asked; peer: Pose2Sim on the same points (not run by us)")  # fmt: skip
        yield Row("workflow", "real clip, nothing to do", "time", mocap("run", folder / "s")[1], "s", limit=1.0,
                  note="limit: asked")  # fmt: skip
        changed = mocap("run", folder / "s", "--set", "filter.cutoff_hz=4")[1]
        yield Row("workflow", "real clip, filter changed", "time", changed, "s", limit=10.0, note="limit: asked")


def demo(effort: Effort) -> Iterator[Row]:
    """The demo: a rendered actor, from the pixels, against the exact truth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spent = mocap("demo", folder, "--frames", effort.demo_frames)[1]
        out, _ = mocap("evaluate", folder / "demo.npz", "--ground-truth", folder / "capture" / "ground_truth.npz",
                       "--json")  # fmt: skip
    s, case = json.loads(out), f"rendered actor, {effort.demo_frames} frames"
    note = "BlazePose's joints mapped to H36M-17"
    yield Row("demo", case, "MPJPE", s["mpjpe_mm"], "mm", note=note, main=True)
    yield Row("demo", case, "PA-MPJPE", s["pa_mpjpe_mm"], "mm", note=note)
    yield Row("demo", case, "time", spent, "s", note="filming, all stages, export, pictures")


def workflow(effort: Effort) -> Iterator[Row]:
    """What the program costs beside its work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rig = ring_rig(4, seed=1)
        write_rig_toml(rig, folder / "rig.toml")
        motion = procedural_motion(300, 30.0, seed=2)
        k = observe(truth_positions(motion, COCO_17), rig, NoiseSettings(), 3, joint_names=COCO_17.joints, fps=30.0)
        write_keypoints(k, folder / "k.npz")
        yield Row("workflow", "mocap --help", "time", min(mocap("--help")[1] for _ in range(3)), "s")
        yield Row("workflow", "mocap run, 300 frames of keypoints", "time",
                  session(folder / "s", folder / "k.npz", folder / "rig.toml"), "s")  # fmt: skip
        idle = min(mocap("run", folder / "s")[1] for _ in range(3))
        yield Row("workflow", "mocap run, nothing to do", "time", idle, "s", limit=1.0, note="limit: asked", main=True)
        yield Row("workflow", "mocap status", "time", min(mocap("status", folder / "s")[1] for _ in range(3)), "s")
        changed = mocap("run", folder / "s", "--set", "filter.cutoff_hz=4")[1]
        yield Row("workflow", "mocap run, filter changed", "time", changed, "s", limit=10.0,
                  note="limit: asked; filter and solve alone", main=True)  # fmt: skip


__all__ = [
    "SHARED", "demo", "real_board", "real_clip", "shared_geometry", "shared_shelf", "synthetic_geometry",
    "synthetic_people", "workflow",
]  # fmt: skip
