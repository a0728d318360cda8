"""What filtering leaves of fast swings, and what it does on scenes of the project's own of two kinds.

python tests/benchmarks/geometry_swing.py [--draws 3] [--frames 500]

Swings: a person swings the right arm by 120 degrees and back about the shoulder, in 0.25 to 0.4 s each way
(peak speeds of 5 to 9 m/s). Printed: the peak speed of the filtered wrist over the true one, mean and extremes
of all swings; 1 is right, less than 0.97 over-smoothed.

Scenes: mean error (mm), jitter (mean norm of the error's second difference, mm) and the share of truths inside
the stated 95 % ellipsoid, where errors of different frames are independent and where they last.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from geometry_peers import as_matches
from scipy.spatial.transform import Rotation

from mocap.filtering import FilterSettings, filter_trajectories
from mocap.skeleton import H36M_17
from mocap.synthetic import NoiseSettings, observe, procedural_motion, ring_rig, truth_positions
from mocap.triangulation import triangulate
from mocap.types import Trajectories3D

FPS = 50.0
BASE = NoiseSettings(person_miss_rate=0.0, shuffle=False)
KINDS = {
    "clean": replace(BASE, sigma_px=2.0, outlier_rate=0.0, miss_rate=0.0),
    "studio": replace(BASE, sigma_px=4.0, outlier_rate=0.03, miss_rate=0.05),
    "studio, errors last 0.1 s": replace(BASE, sigma_px=4.0, outlier_rate=0.03, miss_rate=0.05, correlation_s=0.1),
    "hard": replace(BASE, sigma_px=6.0, outlier_rate=0.08, miss_rate=0.12),
    "hard, errors last 0.2 s": replace(BASE, sigma_px=6.0, outlier_rate=0.08, miss_rate=0.12, correlation_s=0.2),
    "studio, half of it bias": replace(BASE, sigma_px=3.0, bias_px=3.0, outlier_rate=0.03, miss_rate=0.05),
}
_EVERY_S = 1.6


def swings(truth: np.ndarray, seed: int) -> tuple[np.ndarray, list[slice]]:
    """The motion [T, 1, 17, 3] with the right arm swung about its shoulder, and the spans of frames of it."""
    rng = np.random.default_rng(seed)
    out, spans = truth.copy(), []
    shoulder, elbow, wrist = (H36M_17.joints.index(n) for n in ("r_shoulder", "r_elbow", "r_wrist"))
    for start in np.arange(0.8, len(truth) / FPS - 1.4, _EVERY_S):
        seconds, axis = rng.uniform(0.25, 0.4), rng.normal(size=3)
        t = np.arange(len(truth)) / FPS - start
        # There and back with a smooth start and end (minimum jerk, Flash & Hogan 1985).
        s = np.clip(t / seconds, 0, 1) - np.clip(t / seconds - 1, 0, 1)
        angle = np.radians(120) * (10 * s**3 - 15 * s**4 + 6 * s**5)
        arm = out[round(start * FPS), 0, wrist] - out[round(start * FPS), 0, shoulder]
        axis = np.cross(axis, arm)
        turn = Rotation.from_rotvec(angle[:, None] * axis / np.linalg.norm(axis))
        for joint in (elbow, wrist):
            out[:, 0, joint] = out[:, 0, shoulder] + turn.apply(out[:, 0, joint] - out[:, 0, shoulder])
        spans.append(slice(int((start - 0.1) * FPS), int((start + 2 * seconds + 0.1) * FPS)))
    return out, spans


def take(kind: str, truth: np.ndarray, seed: int) -> Trajectories3D:
    rig = ring_rig(4, seed=seed)
    keypoints = observe(truth, rig, KINDS[kind], seed, joint_names=H36M_17.joints, fps=FPS)
    return triangulate(as_matches(keypoints), rig)


def peak(positions: np.ndarray, span: slice) -> float:
    """Highest speed (m/s) by central differences."""
    return float(np.nanmax(np.linalg.norm(positions[2:] - positions[:-2], axis=-1)[span]) * FPS / 2)


def swing_row(kind: str, draws: int, frames: int) -> str:
    ratios, wrist = [], H36M_17.joints.index("r_wrist")
    for seed in range(100, 100 + draws):
        truth, spans = swings(truth_positions(procedural_motion(frames, FPS, seed), H36M_17), seed)
        result = filter_trajectories(take(kind, truth, seed), FilterSettings())
        ratios += [peak(result.positions[:, 0, wrist], s) / peak(truth[:, 0, wrist], s) for s in spans]
    return f"  {kind:28s}{np.mean(ratios):10.3f}{np.min(ratios):10.3f}{np.max(ratios):10.3f}{len(ratios):8d}"


def score(result: Trajectories3D, truth: np.ndarray) -> tuple[float, float, float]:
    """Mean error and jitter, mm, and share inside the 95 % ellipsoid, %; of what is there."""
    d = result.positions[:, 0].astype(float) - truth[:, 0]
    cov = result.covariance[:, 0].astype(float)
    found = np.isfinite(d).all(-1)
    inside = np.einsum("ni,nij,nj->n", d[found], np.linalg.inv(cov[found] + 1e-9 * np.eye(3)), d[found]) < 7.815
    jitter = np.linalg.norm(np.diff(d, 2, axis=0), axis=-1)
    return (
        1000 * float(np.linalg.norm(d[found], axis=-1).mean()), 1000 * float(np.nanmean(jitter)),
        100 * float(inside.mean()),
    )  # fmt: skip


def scene_row(kind: str, draws: int, frames: int) -> str:
    rows, told = [], []
    for seed in range(200, 200 + draws):
        truth = truth_positions(procedural_motion(frames, FPS, seed), H36M_17)
        found = take(kind, truth, seed)
        blind = replace(found, lasting_share=0.0, constant_share=0.0)
        told.append((found.lasting_share, found.lasting_s, found.constant_share))
        rows.append([*score(filter_trajectories(found, FilterSettings()), truth),
                     *score(filter_trajectories(blind, FilterSettings()), truth)])  # fmt: skip
    m, (share, seconds, constant) = np.mean(rows, 0), np.median(told, 0)
    learnt = f"{share:.2f} for {seconds:.2f} s, {constant:.2f} for good" if share + constant > 0 else "none"
    return f"  {kind:28s}{m[0]:8.2f}{m[1]:8.2f}{m[2]:8.1f}{m[3]:10.2f}{m[4]:8.2f}{m[5]:8.1f}   {learnt}"


def report(draws: int, frames: int) -> Iterator[str]:
    yield f"peak speed of swings, filtered over true:\n  {'':28s}{'mean':>10s}{'least':>10s}{'most':>10s}{'swings':>8s}"
    for kind in KINDS:
        yield swing_row(kind, draws, frames)
    yield f"own scenes, {draws} draws:"
    yield f"  {'':28s}{'mm':>8s}{'jitter':>8s}{'in 95%':>8s}{'as if independent':>26s}   learnt"
    for kind in KINDS:
        yield scene_row(kind, draws, frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--frames", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for line in report(arguments.draws, arguments.frames):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
