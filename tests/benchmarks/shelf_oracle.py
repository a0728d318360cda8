"""Shelf: what the 2D points hold at most. Parts that no choice of views can make right.

python tests/benchmarks/shelf_oracle.py

The truth picks the person in every view, and for every limb joint the subset of views whose triangulation
comes nearest to it; head and torso count as right. What is lost even so is not in the points.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.formats.rig_toml import read_rig_toml
from calibration.projection import Lenses, project
from mocap.interchange import read_keypoints
from mocap.metrics.pcp import SCORED_ACTORS, SHELF_PARTS, pcp_mean
from mocap.triangulation.dlt import refine, weighted_dlt
from mocap.types import Keypoints2D

BENCH = Path(__file__).resolve().parents[3] / "shared" / "bench" / "shelf"
LIMBS = 12
"""The first joints of SHELF_JOINTS; each is one joint of the detector's skeleton."""

SOURCES = {
    "coco17": (16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9),
    "body25": (11, 10, 9, 12, 13, 14, 4, 3, 2, 5, 6, 7),
}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Oracle:
    """Best that a choice of views gives for the limb joints of all actors.

    Attributes
    ----------
    positions : float64 [T, A, 12, 3], metres
    views : float64 [T, A, V]
        Median distance of the taken person from the projected truth, px; NaN where nobody is near.
    """

    positions: Array
    views: Array


def oracle(keypoints: Keypoints2D, rig: CameraRig, truth: Array, joints: tuple[int, ...], near_px: float) -> Oracle:
    """People picked by the truth [T, A, 15, 3], then for every limb joint the best of all subsets of views."""
    lenses = Lenses.of(rig)
    limbs = truth[:, :, :LIMBS]
    pixels = project(lenses, limbs.reshape(-1, 3)).reshape(len(rig), *limbs.shape[:3], 2)
    points = keypoints.keypoints[:, :, :, list(joints)].astype(float)  # [V, T, S, 12, 2]
    points[keypoints.confidence[:, :, :, list(joints)] <= 0] = np.nan
    away = np.linalg.norm(points[:, :, None] - pixels[:, :, :, None], axis=-1)  # [V, T, A, S, 12]
    seen = np.isfinite(away)
    median = np.nanmedian(np.where(seen.any(-1, keepdims=True), away, np.inf), axis=-1)
    slot = median.argmin(-1)
    distance = median.min(-1)  # [V, T, A]
    taken = np.take_along_axis(points[:, :, None], slot[..., None, None, None], 3)[:, :, :, 0]
    taken[~(distance < near_px)] = np.nan
    return Oracle(
        best_of_subsets(taken, limbs, lenses), np.moveaxis(np.where(distance < near_px, distance, np.nan), 0, 2)
    )


def best_of_subsets(points: Array, truth: Array, lenses: Lenses) -> Array:
    """Of the triangulations from every subset of at least two views, the nearest to the truth; NaN if none."""
    V = len(points)
    best = np.full(truth.shape, np.nan)
    least = np.full(truth.shape[:-1], np.inf)
    torch_lenses, pixels = lenses.to_torch(), torch.from_numpy(points)
    for count in range(2, V + 1):
        for views in combinations(range(V), count):
            weights = torch.zeros(points.shape[:-1], dtype=torch.float64)
            weights[list(views)] = 1.0
            # Subsets in which a view is missing are other subsets' work.
            weights[:, ~torch.isfinite(pixels[list(views)]).all(-1).all(0)] = 0.0
            x = weighted_dlt(torch_lenses, pixels, weights)
            x = refine(torch_lenses, pixels, weights, x)[0].numpy()
            error = np.linalg.norm(x - truth, axis=-1)
            closer = error < least
            best[closer], least[closer] = x[closer], error[closer]
    return best


def report(near_px: float = 60.0) -> Iterator[str]:
    """PCP of the oracle, and where it loses parts."""
    if not BENCH.exists():
        yield "Shelf is not here (../shared/bench/shelf)"
        return
    rig = read_rig_toml(BENCH / "rig.toml")
    with np.load(BENCH / "truth_dev_300_449.npz") as file:
        frames, truth = file["frames"], file["joints"].astype(float)
    for name, joints in SOURCES.items():
        keypoints = read_keypoints(BENCH / f"keypoints_{name}.npz")
        rows = np.searchsorted(keypoints.frames, frames)
        keypoints = replace(keypoints, keypoints=keypoints.keypoints[:, rows], confidence=keypoints.confidence[:, rows],
                            uncertainty=keypoints.uncertainty[:, rows], frames=keypoints.frames[rows])  # fmt: skip
        found = oracle(keypoints, rig, truth, joints, near_px).positions
        best = truth.copy()  # Head and torso: right.
        best[:, :, :LIMBS] = found
        yield from lines(name, frames, truth, best)


def lines(name: str, frames: NDArray[np.int64], truth: Array, best: Array) -> Iterator[str]:
    """PCP as the benchmark's scorer averages it, and the lost parts by actor."""
    known = np.isfinite(truth).all((-1, -2))[:, :SCORED_ACTORS]
    right = pcp_mean(best, truth)[:, :SCORED_ACTORS]
    by_actor = [100 * right[known[:, a], a].mean() for a in range(SCORED_ACTORS) if known[:, a].any()]
    yield f"{name}: the best choice of views for every limb joint, head and torso right: {np.mean(by_actor):.2f} PCP"
    for a in range(SCORED_ACTORS):
        for p, (part, start, end) in enumerate(SHELF_PARTS):
            lost = frames[known[:, a] & ~right[:, a, p]]
            if len(lost):
                yield f"  actor {a + 1}, {part} ({start} - {end}): lost in frames {', '.join(map(str, lost))}"


def main() -> None:
    for line in report():
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
