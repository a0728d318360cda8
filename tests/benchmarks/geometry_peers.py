"""Speed and memory of triangulation and filter beside other tools, on the same input.

python tests/benchmarks/geometry_peers.py [--peer-python PYTHON] [--long FRAMES]

--peer-python (or MOCAP_BENCH_PYTHON) names a Python that has aniposelib: it brings another OpenCV
than this project's and must not be installed beside it. --long triangulates and filters that many
frames (a million is asked for) in a process of its own and prints its peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from calibration.projection import Lenses, project
from mocap.filtering import FilterSettings, filter_trajectories
from mocap.skeleton import H36M_17
from mocap.synthetic import ring_rig
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.triangulation import triangulate
from mocap.triangulation.dlt import refine, weighted_dlt
from mocap.types import Keypoints2D, Matches

FRAMES = 1500
STUDIO = NoiseSettings(sigma_px=4.0, outlier_rate=0.03, miss_rate=0.05, person_miss_rate=0.0, shuffle=False)
ANIPOSE = """
import sys, time
import numpy as np
from aniposelib.cameras import Camera, CameraGroup
z = np.load(sys.argv[1])
cameras = [Camera(matrix=K, dist=d, size=(1000, 1000), rvec=r, tvec=t)
           for K, d, r, t in zip(z["K"], z["distortion"], z["rvec"], z["t"])]
group, pixels = CameraGroup(cameras), z["pixels"]
def clock(run):
    run()
    start = time.process_time(); run(); return time.process_time() - start
print(clock(lambda: group.triangulate(pixels)))
some = z["few"]
start = time.process_time(); group.triangulate_ransac(some, min_cams=2); print(time.process_time() - start)
"""


def as_matches(k: Keypoints2D) -> Matches:
    V, T, P, J = k.confidence.shape
    slot = np.broadcast_to(np.arange(P), (V, T, P))
    nothing = np.full(slot.shape, np.nan)
    return Matches(
        keypoints=k.keypoints, confidence=k.confidence, uncertainty=k.uncertainty,
        observation=slot[..., None] * J + np.arange(J), slot=slot, score=nothing, runner_up=nothing,
        person_ids=np.arange(P), frames=k.frames, cameras=k.cameras, joint_names=k.joint_names, fps=k.fps,
    )  # fmt: skip


def as_keypoints(m: Matches, frames: int) -> Keypoints2D:
    """The first frames as a detector would give them."""
    return Keypoints2D(
        keypoints=m.keypoints[:, :frames], confidence=m.confidence[:, :frames], uncertainty=m.uncertainty[:, :frames],
        frames=m.frames[:frames], cameras=m.cameras, joint_names=m.joint_names, fps=m.fps,
    )  # fmt: skip


def scene(frames: int, cameras: int = 4) -> tuple:
    """Matches and rig of one person."""
    rig = ring_rig(cameras, seed=11)
    truth = truth_positions(procedural_motion(min(frames, FRAMES), 30.0, seed=12), H36M_17)
    k = observe(truth, rig, STUDIO, 13, joint_names=H36M_17.joints, fps=30.0)
    if frames > len(k.frames):
        # The same motion to and fro, so that it goes on.
        row = np.arange(frames) % (2 * len(k.frames))
        row = np.minimum(row, 2 * len(k.frames) - 1 - row)
        k = Keypoints2D(
            keypoints=k.keypoints[:, row], confidence=k.confidence[:, row], uncertainty=k.uncertainty[:, row],
            frames=np.arange(frames), cameras=k.cameras, joint_names=k.joint_names, fps=k.fps,
        )  # fmt: skip
    return as_matches(k), rig


def best(run: Callable[[], object], repeats: int = 3) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def ours(matches: Matches, rig: object) -> Iterator[tuple[str, float]]:
    """Frames per second of one core."""
    found = triangulate(matches, rig)  # type: ignore[arg-type]
    a, b = best(lambda: triangulate(matches, rig)), best(lambda: filter_trajectories(found, FilterSettings()))  # type: ignore[arg-type]
    frames = len(matches.frames)
    yield "mocap triangulate", frames / a
    yield "mocap filter", frames / b
    yield "mocap triangulate + filter", frames / (a + b)


def opencv(matches: Matches, rig: object) -> tuple[str, float]:
    from bench_peers import pairwise_opencv

    pixels = matches.keypoints[:, :, 0]
    return "OpenCV, mean over view pairs", len(matches.frames) / best(lambda: pairwise_opencv(pixels, rig))  # type: ignore[arg-type]


def anipose(matches: Matches, rig: object, python: str | None) -> Iterator[tuple[str, float]]:
    """aniposelib in its own Python: linear, and RANSAC on the first 50 frames."""
    if not python:
        raise LookupError("needs --peer-python or MOCAP_BENCH_PYTHON: a Python with aniposelib")
    from scipy.spatial.transform import Rotation

    lenses = Lenses.of(rig)  # type: ignore[arg-type]
    pixels = matches.keypoints[:, :, 0].astype(float)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.npz"
        np.savez(
            path, K=lenses.K, distortion=lenses.distortion, t=lenses.t, rvec=Rotation.from_matrix(lenses.R).as_rotvec(),
            pixels=pixels.reshape(len(pixels), -1, 2), few=pixels[:, :50].reshape(len(pixels), -1, 2),
        )  # fmt: skip
        done = subprocess.run([python, "-c", ANIPOSE, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [str(done.returncode)]
        raise LookupError(f"aniposelib did not run: {said[-1]}")
    linear, ransac = (float(s) for s in done.stdout.split()[-2:])
    yield "aniposelib, linear", len(matches.frames) / linear
    yield "aniposelib, RANSAC", 50 / ransac


def gpu(joints: int = 2_000_000) -> tuple[str, float]:
    """Joints per second of batched DLT and two refinement steps, float64, four views."""
    if not torch.cuda.is_available():
        raise LookupError("needs a GPU that torch can use")
    rig = ring_rig(4, seed=11)
    X = np.random.default_rng(0).uniform([-1, -1, 0], [1, 1, 1.8], (joints, 3))
    lenses = Lenses.of(rig).to_torch("cuda")
    pixels = torch.as_tensor(project(Lenses.of(rig), X), device="cuda")
    weights = torch.ones(pixels.shape[:2], dtype=torch.float64, device="cuda")

    def run() -> None:
        for part in range(0, joints, 500_000):
            some = slice(part, part + 500_000)
            refine(
                lenses, pixels[:, some], weights[:, some], weighted_dlt(lenses, pixels[:, some], weights[:, some]), 2
            )
        torch.cuda.synchronize()

    run()
    start = time.perf_counter()
    run()
    return "torch DLT + refinement on the GPU, joints/s", joints / (time.perf_counter() - start)


def long_take(frames: int) -> str:
    matches, rig = scene(frames)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    held = sum(getattr(matches, n).nbytes for n in ("keypoints", "confidence", "uncertainty", "observation")) / 1e9
    start = time.process_time()
    found = triangulate(matches, rig)
    middle, between = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    result = filter_trajectories(found, FilterSettings())
    seconds, peak = time.process_time() - middle, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    size = sum(getattr(result, n).nbytes for n in ("positions", "covariance", "reprojection_error", "views_used")) / 1e9
    return (
        f"{frames} frames: input {held:.2f} GB, result {size:.2f} GB; peak {before:.2f} GB with the input made, "
        f"{between:.2f} GB after triangulate ({frames / (middle - start):.0f} frames/s), "
        f"{peak:.2f} GB after filter ({frames / seconds:.0f} frames/s)"
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=os.environ.get("MOCAP_BENCH_PYTHON"))
    parser.add_argument("--long", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.long:
        say(long_take(arguments.long))
        return
    matches, rig = scene(FRAMES)
    rows = list(ours(matches, rig))
    rows.append(opencv(matches, rig))
    try:
        rows += anipose(matches, rig, arguments.peer_python)
    except LookupError as reason:
        say(f"aniposelib left out: {reason}")
    say(f"one core, 4 views x 17 joints, {FRAMES} frames, studio-like noise:")
    for name, speed in rows:
        say(f"  {name:32s}{speed:12.0f} frames/s{speed / rows[2][1]:10.2f} x ours")
    try:
        say("  {}: {:.3g}".format(*gpu()))
    except LookupError as reason:
        say(f"  GPU left out: {reason}")


if __name__ == "__main__":
    main()
