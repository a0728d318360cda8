"""Where one view places a person whose bones are known: `python -m tests.benchmarks.lifting_root`.

The held-out people of the motion data through Human3.6M's S9 and S11 cameras, four at a time. Every
three seconds all cameras but one are gone for a second. Compared in these gaps, error of the pelvis:
of each frame by itself, with the true bone lengths (the per-frame floor); of a straight line from
before the gap to behind it; and of stage `lift`, which ties both together. Needs ../shared.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.camera import Camera, CameraRig
from mocap.lifting.dataset import HELD_OUT_CAMERAS, Motion, read_cameras, read_motion
from mocap.lifting.evaluation import EXACT, NOISY, Observation
from mocap.lifting.fallback import lift_missing
from mocap.lifting.lift import Lifter
from mocap.lifting.settings import TrainingSettings
from mocap.skeleton import H36M_17
from mocap.triangulation import triangulate
from mocap.types import Matches

GAP_S, EVERY_S = 1.0, 3.0
SIZE = (1000, 1000)


@dataclass(frozen=True, eq=False)
class Take:
    """One recording as four cameras see it, with gaps.

    Attributes
    ----------
    truth : [T, 17, 3] m
    points : [V, T, 17, 2] px
    gap : bool [T]
    kept : int [T]
        The camera that stays in a gap.
    bones : [16] m
    """

    truth: np.ndarray
    points: np.ndarray
    gap: np.ndarray
    kept: np.ndarray
    bones: np.ndarray


def rig_of(K: np.ndarray, R: np.ndarray, t: np.ndarray) -> CameraRig:
    """A rig without distortion."""
    return CameraRig(tuple(Camera(f"cam_{i}", SIZE, K[i], np.zeros(5), R[i], t[i]) for i in range(len(K))))


def take(motion: Motion, recording: int, rig: CameraRig, observation: Observation, seed: int) -> Take:
    """Centred in the room, as in the other benchmark of lifting."""
    rng = np.random.default_rng([seed, recording])
    rows = motion.starts[recording] + np.arange(motion.counts[recording])
    truth = motion.positions(rows).astype(float)
    truth[..., :2] -= truth[:, 0, :2].mean(0)
    count, second = len(rows), round(motion.fps)
    gap, kept = np.zeros(count, bool), np.zeros(count, int)
    for start in range(second, count - round((1 + GAP_S) * second), round(EVERY_S * second)):
        inside = slice(start, start + round(GAP_S * second))
        gap[inside], kept[inside] = True, rng.integers(len(rig))
    camera = [truth @ c.R.T + c.t for c in rig.cameras]
    points = np.stack([
        p[..., :2] / p[..., 2:] * np.diag(c.K)[:2] + c.K[:2, 2] for p, c in zip(camera, rig.cameras, strict=True)
    ])  # fmt: skip
    off = rng.normal(size=points.shape) * observation.sigma
    far = rng.random(points.shape[:-1])[..., None] < observation.outliers
    off += far * rng.uniform(-observation.reach, observation.reach, points.shape)
    return Take(truth, points + off, gap, kept, motion.lengths[rows[0]].astype(float))


def matches_of(one: Take, fps: float) -> Matches:
    """One person; in the gaps only the camera that stays."""
    V, T = one.points.shape[:2]
    gone = one.gap & (np.arange(V)[:, None] != one.kept)
    points = np.where(gone[:, :, None, None], np.nan, one.points)[:, :, None]
    shape = (V, T, 1, 17)
    return Matches(
        keypoints=points, confidence=np.isfinite(points[..., 0]).astype(float), uncertainty=np.full(shape, 5.0),
        observation=np.zeros(shape), slot=np.zeros(shape[:3]), score=np.zeros(shape[:3]),
        runner_up=np.full(shape[:3], np.nan), person_ids=np.zeros(1, int), frames=np.arange(T),
        cameras=tuple(f"cam_{v}" for v in range(V)), joint_names=H36M_17.joints, fps=fps,
    )  # fmt: skip


def frame_by_frame(one: Take, rig: CameraRig, lifter: Lifter) -> np.ndarray:
    """Pelvis [G, 3] in the world in the gaps' frames, each from its own window of the one view."""
    rows, half = np.flatnonzero(one.gap), lifter.window // 2
    views = one.kept[rows][:, None]
    wanted = rows[:, None] + np.arange(-half, half + 1)
    index = np.clip(wanted, 0, len(one.gap) - 1)
    inside = (wanted == index)[..., None] & np.ones(17, bool)
    K = np.stack([c.K for c in rig.cameras])[one.kept[rows]]
    R, t = (np.stack([getattr(c, n) for c in rig.cameras])[one.kept[rows]] for n in ("R", "t"))
    pixels = one.points[views, index]
    rays = (pixels - K[:, None, None, :2, 2]) / K[:, None, None, [0, 1], [0, 1]]
    root = lifter.lift(rays, inside.astype(float), np.tile(one.bones, (len(rows), 1))).root
    return np.einsum("nij,ni->nj", R, root - t)


def errors(one: Take, rig: CameraRig, fps: float, lifter: Lifter) -> np.ndarray:
    """Errors of the pelvis in the gaps [3, G], mm: frame by frame, straight lines, lifted."""
    matches = matches_of(one, fps)
    before = triangulate(matches, rig)
    after = lift_missing(before, matches, rig).positions[one.gap, 0, 0]
    line = before.positions[:, 0, 0].astype(float)
    rows, good = np.arange(len(line)), np.isfinite(line[:, 0]) & ~one.gap
    straight = np.stack([np.interp(rows, rows[good], line[good, a]) for a in range(3)], -1)[one.gap]
    found = np.stack([frame_by_frame(one, rig, lifter), straight, after.astype(float)])
    return 1000 * np.linalg.norm(found - one.truth[one.gap, 0], axis=-1)


def lines(shared: Path, seed: int) -> list[str]:
    """Rows of the table."""
    folder = shared / "data" / "motion"
    _, motion = read_motion([folder / "cmu_h36m17_50fps.h5"]).split(TrainingSettings().validation_subjects.split())
    cameras = folder / "h36m_camera_parameters.json"
    rigs = [rig_of(*(a.astype(float) for a in read_cameras(cameras, [s]))) for s in HELD_OUT_CAMERAS]
    lifter = Lifter()
    rows = [
        "| 2D | gaps | frame by frame, median mm | straight line | tied to what is around |",
        "|---|---|---|---|---|",
    ]
    for name, observation in (("exact", EXACT), ("noisy", NOISY)):
        parts = []
        for recording in np.flatnonzero(motion.counts >= round(4 * motion.fps)):
            rig = rigs[recording % len(rigs)]
            parts.append(errors(take(motion, recording, rig, observation, seed), rig, motion.fps, lifter))
        off = np.concatenate(parts, 1)
        lost = np.isnan(off).any(0).mean()
        medians = " | ".join(f"{m:.1f}" for m in np.nanmedian(off, 1))
        gaps = off.shape[1] / round(GAP_S * motion.fps)
        rows.append(f"| {name} | {gaps:.0f} ({100 * lost:.1f} % of the frames without a pelvis) | {medians} |")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not (options.shared / "data" / "motion").is_dir():
        sys.stdout.write("skipped: needs the motion data in ../shared, which is not here\n")
        return
    sys.stdout.write("\n".join(lines(options.shared, options.seed)) + "\n")


if __name__ == "__main__":
    main()
