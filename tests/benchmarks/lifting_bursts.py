"""One camera left for a second at a time: `python -m tests.benchmarks.lifting_bursts`.

The geometry benchmark, of whose four cameras only one is kept for about 20 % of the time in bursts
of 1 s. Compared in the bursts and elsewhere: straight lines, the MAP filter without lifting, and
with it. Needs ../shared.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from calibration.camera import CameraRig
from calibration.formats import read_rig
from mocap.filtering import filter_trajectories
from mocap.filtering.settings import FilterMethod, FilterSettings
from mocap.interchange import read_keypoints
from mocap.lifting.fallback import lift_missing
from mocap.timeline import segments
from mocap.triangulation import triangulate
from mocap.types import Keypoints2D, Matches, Source, Trajectories3D

EVERY_S = 5.0


def bursts(keypoints: Keypoints2D, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(bool [T] in a burst, int [T] the view that stays)."""
    rng = np.random.default_rng(seed)
    second = round(keypoints.fps)
    inside, kept = np.zeros(len(keypoints.frames), bool), np.zeros(len(keypoints.frames), int)
    for part in segments(keypoints.frames, 2):
        start = part.start + second
        while start + 2 * second <= part.stop:
            begin = start + int(rng.integers(0, second))
            rows = slice(begin, min(begin + second, part.stop - 5))
            inside[rows], kept[rows] = True, rng.integers(0, len(keypoints.cameras))
            start += round(EVERY_S * second)
    return inside, kept


def as_matches(keypoints: Keypoints2D, inside: np.ndarray, kept: np.ndarray) -> Matches:
    """One person; in bursts only the kept view."""
    shape = keypoints.confidence.shape
    gone = inside[None] & (np.arange(shape[0])[:, None] != kept)
    confidence = np.where(gone[..., None, None], 0, keypoints.confidence)
    points = np.where(gone[..., None, None, None], np.nan, keypoints.keypoints)
    return Matches(
        keypoints=points, confidence=confidence, uncertainty=keypoints.uncertainty,
        observation=np.zeros(shape), slot=np.zeros(shape[:3]), score=np.zeros(shape[:3]),
        runner_up=np.full(shape[:3], np.nan), person_ids=np.arange(shape[2]), frames=keypoints.frames,
        cameras=keypoints.cameras, joint_names=keypoints.joint_names, fps=keypoints.fps,
    )  # fmt: skip


def straight(trajectories: Trajectories3D) -> np.ndarray:
    """Positions [T, J, 3] of the first person with gaps closed by straight lines."""
    p = trajectories.positions[:, 0].astype(float)
    for part in segments(trajectories.frames, 2):
        rows = np.arange(part.stop - part.start)
        for joint in range(p.shape[1]):
            good = np.isfinite(p[part, joint, 0])
            for axis in range(3):
                p[part, joint, axis] = np.interp(rows, rows[good], p[part, joint, axis][good])
    return p


def covered(trajectories: Trajectories3D, truth: np.ndarray, where: np.ndarray) -> float:
    """Share of the lifted joints whose truth lies in the 95 % ellipsoid."""
    lifted = (trajectories.source[:, 0] == Source.LIFTED) & where[:, None]
    d = (trajectories.positions[:, 0] - truth)[lifted].astype(float)
    C = trajectories.covariance[:, 0][lifted].astype(float)
    return float((np.einsum("ni,nij,nj->n", d, np.linalg.inv(C), d) < 7.815).mean())


def level_lines(folder: Path, level: str, rig: CameraRig, seed: int) -> list[str]:
    """Rows of the table for one noise level."""
    keypoints = read_keypoints(folder / f"keypoints_{level}.npz")
    truth = np.load(folder / f"truth_{level}.npz")["positions"].reshape(len(keypoints.frames), -1, 3)
    inside, kept = bursts(keypoints, seed)
    matches = as_matches(keypoints, inside, kept)
    before = triangulate(matches, rig)
    start = time.process_time()
    lifted = lift_missing(before, matches, rig)
    seconds = time.process_time() - start
    settings = FilterSettings(method=FilterMethod.MAP, max_gap_s=1.5)
    plain, full = (filter_trajectories(t, settings) for t in (before, lifted))
    rows = {
        "straight lines": straight(before), "MAP filter, no lifting": plain.positions[:, 0],
        "lifted": lifted.positions[:, 0], "lifted, MAP filter": full.positions[:, 0],
    }  # fmt: skip
    lines = []
    for name, p in rows.items():
        error = 1000 * np.linalg.norm(p - truth, axis=-1)
        lines.append(
            f"| {level} | {name} | {np.nanmean(error[inside]):.1f} | {np.nanmedian(error[inside]):.1f} "
            f"| {np.nanmean(error[~inside]):.1f} | {100 * np.isnan(error).mean():.1f} % |"
        )
    share = (lifted.source == Source.LIFTED).mean()
    lines.append(
        f"\n{level}: {100 * inside.mean():.0f} % of the frames in bursts, {100 * share:.0f} % of the joints lifted in "
        f"{seconds:.1f} s CPU time; in bursts {100 * covered(lifted, truth, inside):.0f} % have the truth in their "
        "95 % ellipsoid\n"
    )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.shared / "bench" / "geometry"
    if not folder.is_dir():
        sys.stdout.write("skipped: needs the geometry benchmark in ../shared, which is not here\n")
        return
    rig = read_rig(folder / "rig.toml")
    sys.stdout.write("| level | | in bursts, mean mm | median | elsewhere | missing |\n|---|---|---|---|---|---|\n")
    for level in ("clean", "studio", "hard"):
        sys.stdout.write("\n".join(level_lines(folder, level, rig, options.seed)) + "\n")


if __name__ == "__main__":
    main()
