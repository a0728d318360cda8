"""What the benchmarks share: how much is drawn, the program, ../shared."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

SHARED = Path(__file__).resolve().parents[3] / "shared"
PROGRAM = [sys.executable, "-m", "flows.cli"]


@dataclass(frozen=True)
class Effort:
    """How much is drawn; every row says what it was measured on."""

    scene_frames: int = 600
    crowd_frames: int = 250
    bound_draws: int = 4
    peer_draws: int = 2
    sync_draws: int = 1
    sync_kinds: int = 5
    kinematics_skeletons: int = 2
    storage_frames: int = 100_000
    poses: int = 1_000_000
    demo_frames: int = 100


FULL = Effort()
QUICK = Effort(
    scene_frames=120, crowd_frames=60, bound_draws=1, peer_draws=1, sync_kinds=1, kinematics_skeletons=1,
    storage_frames=5_000, poses=20_000, demo_frames=30,
)  # fmt: skip
"""To see whether everything runs; its figures say nothing."""


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
    """Something of ../shared; MissingError where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        raise MissingError(f"needs ../shared/{'/'.join(parts)}")
    return path


def scorer(bench: str) -> ModuleType:
    """The scoring program of a shared benchmark."""
    spec = importlib.util.spec_from_file_location(f"score_{bench}", shared("bench", bench, "score.py"))
    if spec is None or spec.loader is None:
        raise MissingError(f"../shared/bench/{bench}/score.py is no program")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Least wall time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def core_seconds(run: Callable[[], object], repeats: int = 1) -> float:
    """Least processor time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)
