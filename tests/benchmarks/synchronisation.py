"""Camera times from motion: `python tests/benchmarks/synchronisation.py [--drift] [--cost] [--demo FOLDER]`.

Made-up takes with known clocks: offsets of -20 to 20 frames with fractions, 60 fps, 10 s, 4 cameras.
`--drift` adds five-minute takes with up to 50 ppm. `--demo` films the demo's actor with one camera
2.4 frames late and another at 50 instead of 60 frames/s, and scores it against the genlocked one.
`--cost` gives processor seconds against detection on the real clip (../shared/data/single) and against
the length of a take.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.projection import Lenses, project
from calibration.synchronisation import SynchronisationSettings
from mocap.skeleton import H36M_17
from mocap.synchronisation import times_from_motion
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.motion import Motion, procedural_motion, truth_positions
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D

FPS = 60.0
KINDS = (MotionKind.TAKE, MotionKind.WALK, MotionKind.WAVE, MotionKind.SQUAT, MotionKind.JUMPING_JACK)
RIG = ring_rig(4, size=(1920, 1080), focal=1400.0, seed=1)
_FINE = 10  # the motion is made at this many samples per frame, and read between them


@dataclass(frozen=True, eq=False)
class Take:
    """A take of cameras that ran each for itself, and their true clocks."""

    keypoints: Keypoints2D
    offset_s: np.ndarray
    drift: np.ndarray


def make_take(seed: int, kind: MotionKind, sigma: float, seconds: float = 10.0, ppm: float = 0.0) -> Take:
    """Exact projections at each camera's own times, plus independent noise of `sigma` px."""
    # Draws of their own at every noise level: rows of a table that share them count as one.
    rng = np.random.default_rng([seed, round(100 * sigma)])
    V = len(RIG)
    frames = round(seconds * FPS)
    offset = np.concatenate([[0.0], rng.uniform(-20, 20, V - 1) / FPS])
    drift = np.concatenate([[0.0], rng.uniform(-ppm, ppm, V - 1) * 1e-6])
    margin = 0.5
    motion = procedural_motion(round((seconds + 2 * margin) * FPS * _FINE), FPS * _FINE, seed, kind)
    path = truth_positions(motion)[:, 0]
    pixels = []
    for v in range(V):
        at = (offset[v] + (1 + drift[v]) * np.arange(frames) / FPS + margin) * FPS * _FINE
        row = np.clip(np.floor(at).astype(int), 0, len(path) - 2)
        part = (at - row)[:, None, None]
        pixels.append(project(Lenses.of(RIG), (1 - part) * path[row] + part * path[row + 1])[v])
    points = (np.stack(pixels) + rng.normal(0, sigma, (V, frames, 17, 2)))[:, :, None]
    keypoints = Keypoints2D(
        points.astype(np.float32), np.full(points.shape[:-1], 0.9, np.float32),
        np.full(points.shape[:-1], np.nan, np.float32), np.arange(frames), RIG.names, H36M_17.joints, FPS,
    )  # fmt: skip
    return Take(keypoints, offset, drift)


@dataclass(frozen=True, eq=False)
class Found:
    """What was found of some takes: errors (s, and of the drift), in stated standard deviations, and what was not.

    `share` is that of each take's offsets which are within one standard deviation.
    """

    error_s: np.ndarray
    z: np.ndarray
    drift: np.ndarray
    share: np.ndarray
    undecided: int
    seconds: float
    takes: int = 1

    @property
    def rms_ms(self) -> float:
        """Error of the offsets."""
        return _rms(1e3 * self.error_s)

    @property
    def within_one_std(self) -> float:
        """Share of the offsets."""
        return float(np.mean(np.abs(self.z) < 1))

    @property
    def within_error(self) -> float:
        """Standard error of that share; offsets of one take err together, as they share a reference."""
        return float(np.std(self.share, ddof=1) / np.sqrt(len(self.share))) if len(self.share) > 1 else float("nan")

    @staticmethod
    def all_of(parts: Sequence[Found]) -> Found:
        """Several together."""
        joined = (np.concatenate([getattr(p, n) for p in parts]) for n in ("error_s", "z", "drift", "share"))
        undecided, seconds, takes = (sum(getattr(p, n) for p in parts) for n in ("undecided", "seconds", "takes"))
        return Found(*joined, undecided, seconds, takes)


def measure(
    name: str, kinds: tuple[MotionKind, ...], draws: int, sigma: float, seconds: float, ppm: float, first: int = 0
) -> list[tuple[str, Found]]:
    """Errors over `draws` takes of each kind of motion, seeds from `first` on; all together, then by motion."""
    found = [
        (
            kind.value.replace("_", " "),
            _measured(kind, range(first + 100 * k, first + 100 * k + draws), sigma, seconds, ppm),
        )
        for k, kind in enumerate(kinds)
    ]
    return [(name, Found.all_of([f for _, f in found])), *((f"- {kind}", f) for kind, f in found)]


def _measured(kind: MotionKind, seeds: range, sigma: float, seconds: float, ppm: float) -> Found:
    parts = []
    for seed in seeds:
        take = make_take(seed, kind, sigma, seconds, ppm)
        began = time.process_time()
        found = times_from_motion(take.keypoints, RIG, SynchronisationSettings(method="motion"))  # type: ignore[arg-type]
        decided = np.isfinite(found.offset_s)
        others = decided & (np.arange(len(RIG)) != found.coarse.reference)
        error = found.offset_s - take.offset_s + take.offset_s[found.coarse.reference]
        z = error[others] / found.std_s[others]
        drift = found.times.drift - take.drift
        # With drift, zero is an end of the take: the middle is what the error matters at.
        middle = error + (seconds / 2 * drift if ppm else 0.0)
        spent = time.process_time() - began
        share = np.array([np.mean(np.abs(z) < 1)] if len(z) else [])
        parts.append(Found(middle[others], z, drift[others], share, int((~decided).sum()), spent))
    return Found.all_of(parts)


def table(rows: Sequence[tuple[str, Found]], *, drifting: bool = False) -> str:
    """Markdown."""
    lines = [
        "| takes | offsets | error, RMS ms | worst ms | within 1 std (68 %) | error / std, RMS | drift error, RMS ppm "
        "| undecided | CPU s a take |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, f in rows:
        worst, drift = np.abs(1e3 * f.error_s).max(initial=0), f"{_rms(1e6 * f.drift):.1f}" if drifting else ""
        within = f"{100 * f.within_one_std:.0f} +- {100 * f.within_error:.0f} %"
        lines.append(
            f"| {name} | {len(f.z)} | {f.rms_ms:.2f} | {worst:.2f} | {within} | {_rms(f.z):.2f} | {drift} "
            f"| {f.undecided} | {f.seconds / f.takes:.1f} |"
        )
    return "\n".join(lines)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")


def cost() -> str:
    """Processor seconds of the stage against detection, and by the length of a take."""
    from calibration.formats import read_rig
    from mocap.detection.merge import merge_cameras
    from mocap.detection.settings import DetectionSettings
    from mocap.detection.stage import detect_video
    from mocap.devices import DeviceChoice, resolve_device
    from mocap.synchronisation import align_cameras

    lines = ["| cost | CPU s | share |", "|---|---|---|"]
    times_from_motion(make_take(0, KINDS[1], 3.0, 2.0).keypoints, RIG, SynchronisationSettings())  # compiled
    clip = Path(__file__).resolve().parents[3] / "shared/data/single"
    if clip.exists():
        began = time.process_time()
        device = resolve_device(DeviceChoice.CPU)
        parts = [detect_video(p, DetectionSettings(), device) for p in sorted((clip / "videos").glob("*.mp4"))]
        detect = time.process_time() - began
        keypoints = merge_cameras(parts)
        rig = read_rig(clip / "calibration" / "Calib.qca.txt")
        numbers = {int("".join(filter(str.isdigit, n))): n for n in rig.names}
        ours = rig.select([numbers[int("".join(filter(str.isdigit, c)))] for c in keypoints.cameras])
        named = replace(keypoints, cameras=ours.names)
        align_cameras(named, ours, SynchronisationSettings())
        began = time.process_time()
        align_cameras(named, ours, SynchronisationSettings())
        spent = time.process_time() - began
        lines.append(f"| detect, 4 x {len(keypoints.frames)} real frames | {detect:.1f} | 1 |")
        lines.append(f"| synchronise | {spent:.2f} | {spent / detect:.3f} (asked: 0.10) |")
    for seconds in (10.0, 20.0, 40.0, 80.0):
        take = make_take(1, KINDS[0], 3.0, seconds)
        began = time.process_time()
        times_from_motion(take.keypoints, RIG, SynchronisationSettings(search_s=5.0))
        spent = time.process_time() - began
        lines.append(
            f"| {round(seconds * FPS)} frames of 4 cameras | {spent:.1f} | {1e3 * spent / seconds / FPS:.2f} ms/frame |"
        )
    return "\n".join(lines)


def film(folder: Path, motion: Motion, *, free_running: bool, seconds: float) -> Path:
    """Render the demo's actor with four cameras; returns the folder of videos."""
    from calibration.formats import write_rig_toml
    from mocap.synthetic.capture import write_truth
    from mocap.synthetic.render import render_camera
    from mocap.synthetic.scene import make_scene
    from mocap.video import write_video

    scene = make_scene(2, FPS, 7)
    dense = round(motion.fps)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    write_rig_toml(scene.rig, folder / "calibration.toml")
    write_truth(folder / "truth.npz", at_rate(motion, np.arange(0, round(seconds * dense), dense // 60), FPS))
    for v, camera in enumerate(scene.rig.cameras):
        rate = 50 if free_running and v == 2 else 60
        late = round(2.4 * dense / 60) if free_running and v == 1 else 0
        rows = np.arange(0, round(seconds * dense), dense // rate) + late
        one = replace(scene, motion=at_rate(motion, rows, rate))
        write_video(folder / "videos" / f"{camera.name}.mp4", render_camera(one, camera), rate, camera.size)
    return folder / "videos"


def at_rate(motion: Motion, rows: np.ndarray, fps: float) -> Motion:
    """Some frames of a motion, as filmed at `fps`."""
    return Motion(motion.bodies, motion.rotations[rows], motion.root[rows], motion.planted[rows], float(fps))


def demo(folder: Path, seconds: float = 4.0) -> str:
    """MPJPE of the demo's actor: genlocked, free-running, and free-running taken for started together."""
    motion = procedural_motion(round((seconds + 1) * 300), 300.0, 7)
    lines = ["| demo | MPJPE mm | to genlocked |", "|---|---|---|"]
    first = float("nan")
    for name, free, method in (
        ("genlocked", False, "auto"),
        ("free-running, synchronised by the motion", True, "motion"),
        ("free-running, taken for started together", True, "given"),
    ):
        take = folder / ("free" if free else "locked")
        if not (take / "complete").exists():
            film(take, motion, free_running=free, seconds=seconds)
            (take / "complete").touch()
        root = folder / f"session-{take.name}-{method}"
        if method == "given" and not root.exists():  # the same videos: what was detected in them is kept
            shutil.copytree(folder / f"session-{take.name}-motion", root)
        if not (root / "session.toml").exists():
            program("init", root, "--videos", take / "videos", "--calibration", take / "calibration.toml",
                    "--sync", "motion" if free else "auto")  # fmt: skip
        if method == "given":
            text = (root / "session.toml").read_text().replace('"motion"', '"given"\noffsets_s = "cam_0=0"')
            (root / "session.toml").write_text(text)
        program("run", root)
        score = json.loads(program("evaluate", root, "--ground-truth", take / "truth.npz", "--json"))
        first = score["mpjpe_mm"] if np.isnan(first) else first
        lines.append(f"| {name} | {score['mpjpe_mm']:.1f} | {score['mpjpe_mm'] / first:.3f} |")
    return "\n".join(lines)


def program(*arguments: object) -> str:
    """What the command line prints; a process of its own for each, as people use it."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--drift", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="first seed of the draws")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--demo", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    for name, sigma in (("3 px, known calibration", 3.0), ("5 px", 5.0)):
        if options.draws:
            say(table(measure(name, KINDS, options.draws, sigma, 10.0, 0.0, options.seed)))
    if options.drift:
        draws = max(1, options.draws // 2)
        rows = measure("5 minutes, up to 50 ppm, 3 px", KINDS[:2], draws, 3.0, 300.0, 50.0, options.seed)
        say(table(rows, drifting=True))
    if options.cost:
        say(cost())
    if options.demo:
        say(demo(options.demo))


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
