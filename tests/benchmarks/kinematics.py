"""How good and how fast the solve is: known rotations, lengths and contacts, with noise.

python tests/benchmarks/kinematics.py [--levels studio ...] [--speed-only]

`studio` is the noise of ../shared/bench/geometry's studio level; `correlated` has errors that last
0.1 s and are half as large again. Angles are medians over frames of elbows and knees, against the
limit of 2 degrees; lengths the worst of four limb bones, against 3 mm; slide the worse foot (mean of its contacts),
against 3 mm; borders the 95th percentile of ankles' and toes' acceleration near the ends of contacts over the same
without locking. Frames/s are per second of one core and person, against 300.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

from mocap.filtering import FilterSettings, filter_trajectories
from mocap.kinematics import SolveSettings, fit_error, joint_positions, joint_rotations, solve_motion
from mocap.kinematics.humanoid import NAMES
from mocap.matching import match_people
from mocap.skeleton import BLAZEPOSE_33, COCO_17, H36M_17, HALPE_26, Skeleton
from mocap.synthetic import Motion, NoiseSettings, observe, procedural_motion, ring_rig, truth_positions
from mocap.triangulation import triangulate
from mocap.types import SkeletalMotion, Trajectories3D

FPS = 30.0
FRAMES = 450
LEVELS = {
    "clean": NoiseSettings(sigma_px=1.0, outlier_rate=0.0, miss_rate=0.0),
    "studio": NoiseSettings(sigma_px=2.7, outlier_rate=0.03, miss_rate=0.08),
    "correlated": NoiseSettings(sigma_px=4.0, outlier_rate=0.03, miss_rate=0.05, correlation_s=0.1),
}
SKELETONS = (BLAZEPOSE_33, HALPE_26, COCO_17, H36M_17)
SPEED_FRAMES = (500, 1000, 2000, 4000)
SIDES = (("l", "Left", 1.0), ("r", "Right", -1.0))


def scene(skeleton: Skeleton, noise: NoiseSettings, seed: int) -> tuple[Motion, Trajectories3D]:
    motion = procedural_motion(FRAMES, FPS, seed=seed)
    rig = ring_rig(4, seed=seed + 1)
    truth = truth_positions(motion, skeleton)
    keypoints = observe(truth, rig, noise, seed=seed + 2, joint_names=skeleton.joints, fps=FPS)
    found = triangulate(match_people(keypoints, rig), rig)
    return motion, filter_trajectories(found, FilterSettings())


def angle_error(result: SkeletalMotion, motion: Motion, bones: tuple[str, str], names: tuple[str, str, str]) -> float:
    """Median over both sides of the error of the angle between two bones, degrees."""
    world, truth = joint_rotations(result)[:, 0], motion.world[0][:, 0]
    errors = []
    for s, side, sign in SIDES:
        a, b, c = (truth[:, H36M_17.index(f"{s}_{n}")] for n in names)
        u, v = b - a, c - b
        true = np.arccos((u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1))
        rest = np.array([sign, 0, 0]) if bones[0] == "Arm" else np.array([0, 0, -1.0])
        d = [world[:, NAMES.index(side + n)] @ rest for n in bones]
        errors.append(np.abs(np.arccos(np.clip((d[0] * d[1]).sum(-1), -1, 1)) - true))
    return float(np.degrees(np.median(errors)))


def length_error(result: SkeletalMotion, motion: Motion) -> float:
    """Worst error of a limb's length, mm."""
    found, true = np.linalg.norm(result.offsets[0], axis=-1), np.linalg.norm(motion.bodies[0].offsets, axis=-1)
    pairs = [("ForeArm", "elbow"), ("Hand", "wrist"), ("Leg", "knee"), ("Foot", "ankle")]
    return 1e3 * max(abs(found[NAMES.index("Left" + b)] - true[H36M_17.index(f"l_{j}")]) for b, j in pairs)


def runs(mask: np.ndarray) -> Iterator[slice]:
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0]))
    yield from (slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True))


def borders(locked: SkeletalMotion, free: SkeletalMotion) -> float:
    """Accelerations near the ends of contacts over those without locking."""
    sizes: list[list[np.ndarray]] = [[], []]
    for foot, side in enumerate(("Left", "Right")):
        near = np.zeros(len(locked.frames), bool)
        for point in (0, 1):
            for row in np.flatnonzero(np.diff(locked.contacts[:, 0, foot, point].astype(int))):
                near[max(0, row - 3) : row + 4] = True
        for bone in ("Foot", "ToeBase"):
            for out, m in zip(sizes, (locked, free), strict=True):
                second = np.diff(joint_positions(m)[:, 0, NAMES.index(side + bone)], 2, axis=0)
                out.append(np.linalg.norm(second, axis=-1)[near[1:-1]])
    return float(np.percentile(np.concatenate(sizes[0]), 95) / np.percentile(np.concatenate(sizes[1]), 95))


def quality(level: str) -> Iterator[str]:
    yield (
        f"  {'joints':12s}{'filtered':>9s}{'fit':>7s}{'elbow':>7s}{'knee':>7s}{'length':>8s}{'slide':>13s}"
        f"{'borders':>9s}{'contact precision, recall':>28s}"
    )
    for i, skeleton in enumerate(SKELETONS):
        motion, found = scene(skeleton, LEVELS[level], 100 + 10 * i)
        locked, free = (solve_motion(found, SolveSettings(contacts=c)) for c in (True, False))
        filtered = 1e3 * np.nanmean(np.linalg.norm(found.positions - truth_positions(motion, skeleton), axis=-1))
        fit = 1e3 * np.nanmean(fit_error(locked, found))
        elbow = angle_error(locked, motion, ("Arm", "ForeArm"), ("shoulder", "elbow", "wrist"))
        knee = angle_error(locked, motion, ("UpLeg", "Leg"), ("hip", "knee", "ankle"))
        before, after = (1e3 * np.nanmax(s) for s in (locked.slide_before, locked.slide_after))
        stands, planted = locked.contacts[:, 0].any(-1), motion.planted[:, 0]
        hit = (stands & planted).sum()
        yield (
            f"  {skeleton.name:12s}{filtered:9.2f}{fit:7.2f}{elbow:7.2f}{knee:7.2f}{length_error(locked, motion):8.2f}"
            f"{before:7.2f} ->{after:5.2f}{borders(locked, free):8.2f}"
            f"{hit / max(stands.sum(), 1):16.3f}{hit / planted.sum():12.3f}"
        )


def speed() -> Iterator[str]:
    """Process seconds of the solve against the frames; linear when the last column stays."""
    yield f"  {'frames':>8s}{'frames/s':>10s}{'to limit':>10s}"
    rng = np.random.default_rng(0)
    for frames in (200, *SPEED_FRAMES):
        motion = procedural_motion(frames, 50.0, seed=7)
        positions = truth_positions(motion, BLAZEPOSE_33)
        positions = positions + 0.003 * rng.normal(size=positions.shape)
        shape = positions.shape[:3]
        take = Trajectories3D(
            positions=positions, covariance=np.broadcast_to(1e-5 * np.eye(3), (*shape, 3, 3)), source=np.ones(shape),
            reprojection_error=np.ones(shape), consistency=np.ones(shape), views_used=np.ones(shape), person_ids=[0],
            frames=np.arange(frames), joint_names=BLAZEPOSE_33.joints, fps=50.0,
        )  # fmt: skip
        start = time.process_time()
        solve_motion(take, SolveSettings())
        rate = frames / (time.process_time() - start)
        if frames in SPEED_FRAMES:  # the first run compiles
            yield f"  {frames:8d}{rate:10.0f}{rate / 300:10.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", nargs="+", choices=list(LEVELS), default=list(LEVELS))
    parser.add_argument("--speed-only", action="store_true")
    arguments = parser.parse_args()
    for level in () if arguments.speed_only else arguments.levels:
        sys.stdout.write(f"{level} (mm, degrees)\n")
        for line in quality(level):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    sys.stdout.write("speed, one person, BlazePose-33\n")
    for line in speed():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
