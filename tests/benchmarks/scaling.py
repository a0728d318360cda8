"""How triangulate and filter grow with frames, views and joints: time, and memory from artifact to artifact.

python tests/benchmarks/scaling.py [--only frames views joints] [--frames 10000 100000 1000000] [--folder DIR]

Each case is a process of its own that makes a take on disk, triangulates it and filters it as the stages do,
piece by piece. Times are process time of one core; memory is the peak of the process, the libraries in it. The
exponent is that of the time between the first and the last case; linear is asked. One person of 17 joints,
4 views, 30 frames/s, studio-like noise, unless the case says otherwise.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from mocap.filtering import FilterSettings
from mocap.filtering.stage import filter_rows
from mocap.rows import Pieces, spans
from mocap.skeleton import H36M_17
from mocap.storage.rows import StoredRows, write_pieces
from mocap.synthetic import ring_rig
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.triangulation.estimate import triangulate_rows
from mocap.types import Matches, Trajectories3D

FPS, MOTION, PIECE = 30.0, 1500, 4096
SIGMA_PX, OUTLIERS, MISSES = 4.0, 0.03, 0.05


@dataclass(frozen=True)
class Case:
    """A take: so many frames, views and joints (17 are a known skeleton, whose bones are held)."""

    frames: int
    views: int
    joints: int
    bones: bool = True


@dataclass(frozen=True)
class Measured:
    """Seconds of one core per stage, and the process's peak memory, bytes, after each."""

    triangulate_s: float
    filter_s: float
    made_bytes: int
    triangulated_bytes: int
    filtered_bytes: int

    @property
    def seconds(self) -> float:
        return self.triangulate_s + self.filter_s


def observations(case: Case, rig: CameraRig) -> Iterator[Matches]:
    """The take, piece by piece: a motion to and fro, seen with noise that is new in every frame."""
    base = truth_positions(procedural_motion(min(case.frames, MOTION), FPS, seed=12), H36M_17)[:, 0]
    copies = np.arange(case.joints)
    truth = base[:, copies % 17] + 0.05 * (copies // 17)[:, None] * np.array([1.0, 0.5, 0.2])
    pixels = project(Lenses.of(rig), truth)
    names = H36M_17.joints if case.joints == 17 and case.bones else tuple(f"point_{j}" for j in range(case.joints))
    rng = np.random.default_rng(13)
    for rows in spans(case.frames, PIECE):
        at = np.arange(rows.start, rows.stop) % (2 * len(base))
        at = np.minimum(at, 2 * len(base) - 1 - at)
        shape = (case.views, len(at), 1, case.joints)
        spread = np.where(rng.random(shape) < OUTLIERS, 100.0, SIGMA_PX)[..., None]
        seen = rng.random(shape) >= MISSES
        noisy = pixels[:, at, None] + spread * rng.normal(size=(*shape, 2))
        slot, nothing = np.zeros(shape[:3], np.int16), np.full(shape[:3], np.nan)
        yield Matches(
            keypoints=np.where(seen[..., None], noisy, np.nan), confidence=np.where(seen, 0.9, 0.0),
            uncertainty=np.full(shape, np.nan), observation=np.where(seen, np.arange(case.joints), -1), slot=slot,
            score=nothing, runner_up=nothing, person_ids=np.arange(1), frames=np.arange(rows.start, rows.stop),
            cameras=rig.names, joint_names=names, fps=FPS,
        )  # fmt: skip


def peak() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(case: Case, folder: Path) -> Measured:
    """In this process; what is compiled or loaded once is so before the clock starts."""
    rig = ring_rig(case.views, seed=11)

    def stages(part: Case) -> Measured:
        paths = [folder / f"{name}.h5" for name in ("matches", "found", "smooth")]
        write_pieces(paths[0], Pieces(part.frames, observations(part, rig)))
        made, start = peak(), time.process_time()
        write_pieces(paths[1], triangulate_rows(StoredRows(paths[0], Matches), rig))
        middle, between = time.process_time(), peak()
        write_pieces(paths[2], filter_rows(StoredRows(paths[1], Trajectories3D), FilterSettings()))
        return Measured(middle - start, time.process_time() - middle, made, between, peak())

    stages(Case(200, case.views, case.joints, case.bones))
    return stages(case)


def apart(case: Case, folder: str | None) -> Measured:
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, __file__, "--child", json.dumps(vars(case)), "--folder", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return Measured(**json.loads(done.stdout.splitlines()[-1]))


def series(name: str, frames: list[int]) -> tuple[list[Case], list[int]]:
    """Cases, and the number that grows in them."""
    if name == "views":
        sizes = [2, 4, 8, 16, 32, 64]
        return [Case(1500, v, 17) for v in sizes], sizes
    if name == "joints":
        sizes = [17, 33, 133]
        return [Case(1500, 4, j, bones=False) for j in sizes], sizes
    return [Case(t, 4, 17) for t in frames], frames


def lines(name: str, frames: list[int], folder: str | None) -> Iterator[str]:
    """The table of one series."""
    cases, sizes = series(name, frames)
    found = []
    for case in cases:
        m = apart(case, folder)
        found.append(m)
        yield (
            f"{case.frames:8d} frames, {case.views:2d} views, {case.joints:3d} joints: {case.frames / m.seconds:7.0f} "
            f"frames/s (triangulate {1e3 * m.triangulate_s / case.frames:.3f}, filter "
            f"{1e3 * m.filter_s / case.frames:.3f} ms/frame); peak memory {m.made_bytes / 1e6:.0f} MB with the input "
            f"made, {m.triangulated_bytes / 1e6:.0f} after triangulate, {m.filtered_bytes / 1e6:.0f} after filter"
        )
    if len(sizes) > 1:
        growth = np.log(sizes[-1] / sizes[0])
        both, first, second = (
            np.log(getattr(found[-1], what) / getattr(found[0], what)) / growth
            for what in ("seconds", "triangulate_s", "filter_s")
        )
        yield f"grows with {name} to the power {both:.2f} (triangulate {first:.2f}, filter {second:.2f}); 1 asked"
        memory = found[-1].filtered_bytes / found[0].filtered_bytes
        yield f"peak memory of the last over that of the first: {memory:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=("frames", "views", "joints"), default=("frames", "views", "joints")
    )
    parser.add_argument("--frames", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", help="where the artifacts are made (2.5 GB for a million frames)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        case = Case(**json.loads(arguments.child))
        sys.stdout.write(json.dumps(vars(measure(case, Path(arguments.folder)))) + "\n")
        return
    for name in arguments.only:
        for line in lines(name, arguments.frames, arguments.folder):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
