"""What each step of triangulation gains on ../shared/bench/geometry, and how fast it is.

python tests/benchmarks/geometry.py [--levels studio ...] [--blind] [--lags] [--quick]

mpjpe (mm) counts all joint-frames, gaps filled by interpolation; `returned` only what a step
returned. Frames/s are per second of one core. --blind sets all confidences to 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from calibration.camera import CameraRig
from calibration.formats.rig_toml import read_rig_toml
from calibration.projection import Lenses
from mocap.filtering.settings import FilterMethod, FilterSettings
from mocap.filtering.stage import filter_trajectories
from mocap.matching import MatchingSettings, match_people
from mocap.triangulation import TriangulationSettings, triangulate
from mocap.triangulation.dlt import refine, weighted_dlt
from mocap.triangulation.estimate import learn_noise
from mocap.types import Keypoints2D, Matches, Trajectories3D

BENCH = Path(__file__).resolve().parents[3] / "shared" / "bench" / "geometry"
LEVELS = ("clean", "studio", "hard")


@dataclass(frozen=True)
class Step:
    """One line of the table: positions [T, P, J, 3] m and covariance or None."""

    name: str
    run: Callable[[], tuple[np.ndarray, np.ndarray | None]]


def load(level: str, blind: bool) -> Keypoints2D:
    z = np.load(BENCH / f"keypoints_{level}.npz")
    confidence = (z["confidence"] > 0).astype(np.float32) if blind else z["confidence"]
    return Keypoints2D(
        keypoints=z["keypoints"], confidence=confidence, uncertainty=np.full(confidence.shape, np.nan, np.float32),
        frames=z["frames"], cameras=tuple(z["cameras"]), joint_names=tuple(z["joint_names"]), fps=float(z["fps"]),
    )  # fmt: skip


def dlt(matches: Matches, rig: CameraRig, use_confidence: bool) -> tuple[np.ndarray, None]:
    confidence = torch.as_tensor(matches.confidence, dtype=torch.float64)
    weights = confidence if use_confidence else (confidence > 0).double()
    pixels = torch.as_tensor(matches.keypoints, dtype=torch.float64)
    return weighted_dlt(Lenses.of(rig).to_torch(), pixels, weights**2).numpy(), None


def consistent(matches: Matches, rig: CameraRig, weight: float) -> np.ndarray:
    """The robust estimate's views refined again with the multi-view consistency term, where points were found."""
    noise = learn_noise(matches, rig, TriangulationSettings())
    found = triangulate(matches, rig)
    confidence = matches.confidence.astype(float)
    sigma, _ = noise.of(confidence, np.full(confidence.shape, np.nan))
    bit = np.uint64(1) << np.arange(len(rig), dtype=np.uint64)
    used = (found.views_used[None] & bit[:, None, None, None]) > 0
    weights = torch.as_tensor(np.where(used, sigma**-2.0, 0.0))
    pixels = torch.as_tensor(matches.keypoints, dtype=torch.float64)
    start = torch.as_tensor(found.positions, dtype=torch.float64)
    return refine(Lenses.of(rig).to_torch(), pixels, weights, start, 4, weight)[0].numpy()


def by_lag(keypoints: Keypoints2D, rig: CameraRig, lags: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """Positions of the causal smoother at several lags, frames."""
    found = triangulate(match_people(keypoints, rig), rig)
    for lag in lags:
        settings = FilterSettings(method=FilterMethod.FIXED_LAG, lag_frames=lag)
        yield lag, filter_trajectories(found, settings).positions


def both(result: Trajectories3D) -> tuple[np.ndarray, np.ndarray]:
    return result.positions, result.covariance


def steps(keypoints: Keypoints2D, rig: CameraRig) -> Iterator[Step]:
    raw = match_people(keypoints, rig, MatchingSettings(repair_flips=False))
    repaired = match_people(keypoints, rig)

    def tri(matches: Matches = repaired, **settings: bool) -> Trajectories3D:
        return triangulate(matches, rig, TriangulationSettings(**settings))

    yield Step("plain DLT", lambda: dlt(raw, rig, False))
    yield Step("+ confidence as weight", lambda: dlt(raw, rig, True))
    yield Step("reprojection, all views", lambda: both(tri(raw, robust=False)))
    yield Step("+ mixture of inliers", lambda: both(tri(raw, use_confidence=False)))
    yield Step("+ noise per confidence", lambda: both(tri(raw)))
    yield Step("  refined again (torch)", lambda: (consistent(raw, rig, 0.0), None))
    for weight in (0.1, 1.0):
        name = f"  + consistency, weight {weight:g}"
        yield Step(name, lambda weight=weight: (consistent(raw, rig, weight), None))
    yield Step("+ flips repaired", lambda: both(tri()))
    yield Step("+ match stage's time", lambda: both(triangulate(match_people(keypoints, rig), rig)))
    yield Step("+ Butterworth 6 Hz", lambda: both(filter_trajectories(tri(), FilterSettings(cutoff_hz=6.0))))
    for method in (FilterMethod.SAVITZKY_GOLAY, FilterMethod.ONE_EURO, FilterMethod.KALMAN):
        settings = FilterSettings(method=method)
        yield Step(f"+ {method.value}", lambda settings=settings: both(filter_trajectories(tri(), settings)))
    yield Step("+ filter, bones free", lambda: both(filter_trajectories(tri(), FilterSettings(bones=False))))
    yield Step("+ filter, bones held", lambda: both(filter_trajectories(tri(), FilterSettings())))


def scorer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("geometry_score", BENCH / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def best_seconds(run: Callable[[], object], repeats: int = 3) -> float:
    run()  # compiled kernels are loaded
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def table(level: str, blind: bool, score: Callable[..., dict[str, float]], quick: bool = False) -> Iterator[str]:
    keypoints = load(level, blind)
    rig = read_rig_toml(BENCH / "rig.toml")
    limits = json.loads((BENCH / "limits_mm.json").read_text())[level]
    yield (
        f"{level}: oracle per frame {limits['oracle_wls_with_conf_mean']:.2f} mm, "
        f"oracle smoother {limits['oracle_smoother_with_conf_mean']:.2f} mm"
    )
    yield f"  {'step':26s}{'mpjpe':>8s}{'returned':>9s}{'missing%':>9s}{'jitter':>8s}{'in 95%':>8s}{'frames/s':>10s}"
    with tempfile.TemporaryDirectory() as folder:
        for step in steps(keypoints, rig):
            start = time.process_time()
            positions, covariance = step.run()
            once = time.process_time() - start
            arrays = {
                "positions": positions,
                "frames": keypoints.frames,
                "joint_names": np.array(keypoints.joint_names),
            }
            if covariance is not None:
                arrays["covariance"] = covariance
            path = Path(folder) / "result.npz"
            np.savez(path, **arrays)
            s = score(path, level)
            speed = len(keypoints.frames) / (once if quick else best_seconds(step.run))
            yield (
                f"  {step.name:26s}{s['mpjpe']:8.2f}{s['mpjpe_returned']:9.2f}{s['missing_pct']:9.2f}{s['jitter']:8.2f}"
                f"{s.get('covered_95_pct', float('nan')):8.1f}{speed:10.0f}"
            )


def lag_table(level: str, score: Callable[..., dict[str, float]]) -> Iterator[str]:
    keypoints, rig = load(level, False), read_rig_toml(BENCH / "rig.toml")
    with tempfile.TemporaryDirectory() as folder:
        for lag, positions in by_lag(keypoints, rig, (0, 2, 5, 10, 30)):
            path = Path(folder) / "result.npz"
            np.savez(path, positions=positions, frames=keypoints.frames, joint_names=np.array(keypoints.joint_names))
            s = score(path, level)
            yield f"  fixed lag {lag:3d} frames      {s['mpjpe']:8.2f}{'':18s}{s['jitter']:8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", nargs="+", choices=LEVELS, default=LEVELS)
    parser.add_argument("--blind", action="store_true", help="all confidences 1")
    parser.add_argument("--lags", action="store_true", help="error of the live smoother as a function of its lag")
    parser.add_argument("--quick", action="store_true", help="every step once: speeds count loading, too")
    arguments = parser.parse_args()
    if not BENCH.is_dir():
        sys.exit("needs ../shared/bench/geometry beside the project, which is not here")
    torch.set_num_threads(1)
    for level in arguments.levels:
        for line in table(level, arguments.blind, scorer().score, arguments.quick):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        for line in lag_table(level, scorer().score) if arguments.lags else ():
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
