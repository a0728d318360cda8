"""Lifting on people and cameras the network never saw: `python -m tests.benchmarks.lifting`.

Motion: three CMU subjects kept for validation. Cameras: Human3.6M's of S9 and S11. Exact 2D, and
noise of 5 px with 3 % of the joints up to 100 px off; confidence says nothing. Needs ../shared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from mocap.lifting.augmentation import Windows, WindowSampler
from mocap.lifting.dataset import HELD_OUT_CAMERAS, Motion, read_cameras, read_motion
from mocap.lifting.dropout import monte_carlo
from mocap.lifting.evaluation import (
    EXACT,
    NOISY,
    Observation,
    along_own_axes,
    coverage,
    evaluation_windows,
    std_scale,
)
from mocap.lifting.features import window_input
from mocap.lifting.lift import LiftedPoses, Lifter, lift_windows
from mocap.lifting.network import LiftNet
from mocap.lifting.settings import TrainingSettings
from mocap.lifting.training import predict as predict_alone
from mocap.lifting.weights import SHIPPED, Weights, read_weights
from mocap.metrics import mpjpe, pa_mpjpe

WINDOW = 27
STEP = 5
POOL = 30_000
Predict = Callable[[Windows, bool], np.ndarray]


@dataclass(frozen=True, eq=False)
class Data:
    """Training and validation motion, and cameras."""

    training: Motion
    validation: Motion
    seen_cameras: tuple[np.ndarray, ...]
    new_cameras: tuple[np.ndarray, ...]

    @staticmethod
    def read(shared: Path) -> Data:
        """From the folder of shared data."""
        folder = shared / "data" / "motion"
        motion = read_motion([folder / "cmu_h36m17_50fps.h5"])
        parts = motion.split(TrainingSettings().validation_subjects.split())
        cameras = folder / "h36m_camera_parameters.json"
        return Data(*parts, read_cameras(cameras), read_cameras(cameras, HELD_OUT_CAMERAS))

    def windows(self, observation: Observation) -> Windows:
        """The validation windows; the same every time."""
        return evaluation_windows(self.validation, self.new_cameras, observation, WINDOW, STEP, seed=7)


class Pool:
    """Poses of the training people as the virtual camera sees them: mean pose and nearest neighbour."""

    def __init__(self, data: Data) -> None:
        settings = TrainingSettings(mix=0.0, perturb=0.0)
        sampler = WindowSampler(data.training, data.seen_cameras[1:], settings, 1, torch.device("cpu"))
        w = sampler.draw(POOL, torch.Generator().manual_seed(0))
        # What the sampler saw with errors is projected anew without.
        points = w.positions + w.root[:, None]
        rays = (points[..., :2] / points[..., 2:])[:, None]
        known = torch.zeros(POOL, dtype=torch.bool)
        seen = window_input(rays, torch.ones(rays.shape[:3]), w.bones, known, w.ray_std)
        self.poses = torch.bmm(w.positions, seen.camera_from_virtual).numpy()
        self.tree = cKDTree(self._flat(seen.tokens[:, 0]))
        self.mean = self.poses.mean(0)

    @staticmethod
    def _flat(tokens: torch.Tensor) -> np.ndarray:
        return tokens.reshape(len(tokens), 17, 3)[..., :2].reshape(len(tokens), -1).numpy()

    @staticmethod
    def _input(w: Windows) -> tuple[torch.Tensor, np.ndarray]:
        m = slice(WINDOW // 2, WINDOW // 2 + 1)
        known = torch.zeros(len(w.rays), dtype=torch.bool)
        seen = window_input(w.rays[:, m], w.confidence[:, m], w.bones, known, w.ray_std)
        return seen.tokens[:, 0], seen.camera_from_virtual.numpy()

    def mean_pose(self, w: Windows, _: bool) -> np.ndarray:
        """The mean training pose, turned to the person."""
        return np.einsum("nik,jk->nji", self._input(w)[1], self.mean)

    def nearest(self, w: Windows, _: bool) -> np.ndarray:
        """The training pose whose 2D is nearest."""
        tokens, turn = self._input(w)
        return np.einsum("nik,njk->nji", turn, self.poses[self.tree.query(self._flat(tokens))[1]])


def lift(lifter: Lifter, w: Windows, bones: bool) -> LiftedPoses:
    """Lift benchmark windows."""
    return lifter.lift(w.rays.numpy().astype(float), w.confidence.numpy().astype(float),
                       w.bones.numpy().astype(float) if bones else None)  # fmt: skip


def accuracy(data: Data, methods: dict[str, Predict]) -> str:
    """Markdown table: MPJPE / PA-MPJPE in mm."""
    head = "| | exact | noisy | exact, known bones | noisy, known bones |\n|---|---|---|---|---|"
    sets = [data.windows(EXACT), data.windows(NOISY)]
    lines = [head]
    for name, predict in methods.items():
        cells = []
        for bones in (False, True):
            for w in sets:
                p, truth = predict(w, bones), w.positions.numpy()
                cells.append(f"{1000 * mpjpe(p, truth):.1f} / {1000 * pa_mpjpe(p, truth):.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def per_subject(data: Data, lifter: Lifter) -> str:
    """Markdown table: the shipped model by person."""
    lines = ["| subject | exact | noisy | exact, known bones | noisy, known bones |", "|---|---|---|---|---|"]
    for subject in sorted(set(data.validation.subjects)):
        one = data.validation.select(np.array(data.validation.subjects) == subject)
        cells = []
        for bones in (False, True):
            for o in (EXACT, NOISY):
                w = evaluation_windows(one, data.new_cameras, o, WINDOW, STEP, seed=7)
                p = lift(lifter, w, bones).positions
                cells.append(
                    f"{1000 * mpjpe(p, w.positions.numpy()):.1f} / {1000 * pa_mpjpe(p, w.positions.numpy()):.1f}"
                )
        lines.append(f"| {subject} | {' | '.join(cells)} |")
    return "\n".join(lines)


def calibration(data: Data, lifter: Lifter) -> str:
    """Markdown table: coverage of the predicted standard deviations, root error."""
    lines = [
        "| | `std` (68.3) | 1.96 `std` | `half_95` (95) | by axis: 68.3 | by axis: 95 | root, median mm |",
        "|---|---|---|---|---|---|---|",
    ]
    for bones in (False, True):
        for name, o in (("exact", EXACT), ("noisy", NOISY)):
            w = data.windows(o)
            poses, truth = lift(lifter, w, bones), w.positions.numpy()
            one, two = coverage(poses.positions, truth, poses.std)
            half = coverage(poses.positions, truth, poses.std, poses.half_95)[1]
            inner, outer = by_axis(poses, truth)
            root = 1000 * np.nanmedian(np.linalg.norm(poses.root - w.root.numpy(), axis=-1))
            label = f"{name}{', known bones' if bones else ''}"
            shares = " | ".join(f"{100 * share:.1f} %" for share in (one, two, half, inner, outer))
            lines.append(f"| {label} | {shares} | {root:.0f} |")
    return "\n".join(lines)


def by_axis(poses: LiftedPoses, truth: np.ndarray) -> tuple[float, float]:
    """Coverage of the covariance along its own axes."""
    z = np.abs(along_own_axes(poses, truth))
    return float((z < 1).mean()), float((z < 1.96).mean())


def alternatives(data: Data, weights: Weights) -> str:
    """Markdown table: the predicted standard deviation against Monte-Carlo dropout, network alone.

    Both are scaled by one factor per column to the right shares; what is left is how well they tell
    large errors from small ones.
    """
    lines = ["| | rank correlation with the error | negative log likelihood | error, mm |", "|---|---|---|---|"]
    net = LiftNet(weights.network)
    net.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in weights.arrays.items()})
    for bones in (False, True):
        for name, o in (("exact", EXACT), ("noisy", NOISY)):
            every = data.windows(o)
            w = Windows(*(getattr(every, f.name)[::8] for f in fields(Windows)))
            positions, truth, std = predict_alone(net.eval(), w, bones, torch.device("cpu"))
            label = f"{name}{', known bones' if bones else ''}"
            lines.append(_alternative(f"{label}: predicted", positions, truth, std))
            for rate in (0.05, 0.1, 0.2):
                drawn, spread = monte_carlo(weights, w, bones, rate, samples=16, seed=0)
                lines.append(_alternative(f"{label}: dropout {rate:g}, 16 samples", drawn, truth, spread))
    return "\n".join(lines)


def _alternative(label: str, positions: np.ndarray, truth: np.ndarray, std: np.ndarray) -> str:
    error = np.abs(positions - truth)[:, 1:]
    sigma = np.maximum(std, 1e-4)[:, 1:, [0, 0, 1]]
    sigma = sigma * std_scale([error / sigma])
    rank = spearmanr(error.ravel(), sigma.ravel()).statistic
    likelihood = np.mean(np.log(sigma) + 0.5 * np.square(error / sigma))
    return f"| {label} | {rank:.2f} | {likelihood:.2f} | {1000 * mpjpe(positions, truth):.1f} |"


def missing(data: Data, lifter: Lifter) -> str:
    """Markdown table: error of all joints against the share of joints not seen (noisy, known bones)."""
    shares = (0.0, 0.1, 0.2, 0.3, 0.4)
    cells = []
    for share in shares:
        w = data.windows(Observation(sigma=5.0, outliers=0.03, missing=share))
        p = lift(lifter, w, True).positions
        ok = np.isfinite(p).all((1, 2))
        cells.append(f"{1000 * mpjpe(p[ok], w.positions.numpy()[ok]):.1f}")
    head = "| missing | " + " | ".join(f"{100 * s:.0f} %" for s in shares) + " |"
    return "\n".join([head, "|" + "---|" * (len(shares) + 1), f"| MPJPE mm | {' | '.join(cells)} |"])


def speed(lifter: Lifter, data: Data) -> str:
    """Time of one window at batch 1, flip included, on one core."""
    w = data.windows(NOISY)
    keypoints, confidence, bones = (a[:1].numpy().astype(float) for a in (w.rays, w.confidence, w.bones))
    keypoints = np.where(confidence[..., None] > 0, 1146 * keypoints + 500, np.nan)
    K = np.array([[[1146.0, 0, 500], [0, 1146, 500], [0, 0, 1]]])
    times = []
    for _ in range(1000):
        start = time.process_time()
        lift_windows(keypoints, confidence, K, bones, lifter)
        times.append(1000 * (time.process_time() - start))
    median, best = np.median(times), np.quantile(times, 0.05)
    return (
        f"{median:.2f} ms CPU time per window at batch 1 (median of 1000; 1 in 20 below {best:.2f}): smoothing, "
        "mirror image, root and fit included"
    )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[3] / "shared")
    parser.add_argument("--weights", type=Path, help="another LiftNet than the shipped one")
    parser.add_argument("--martinez", type=Path, help="weights of the Martinez baseline")
    options = parser.parse_args()
    if not (options.shared / "data" / "motion").is_dir():
        sys.stdout.write("skipped: needs the motion data in ../shared, which is not here\n")
        return
    torch.set_num_threads(1)
    data, pool = Data.read(options.shared), None
    lifter = Lifter(options.weights) if options.weights else Lifter()
    pool = Pool(data)
    methods: dict[str, Predict] = {"mean pose": pool.mean_pose, "nearest neighbour": pool.nearest}
    if options.martinez:
        baseline = Lifter(options.martinez)
        methods["Martinez"] = lambda w, bones: lift(baseline, w, bones).positions
    methods["LiftNet"] = lambda w, bones: lift(lifter, w, bones).positions
    parts = (
        ("MPJPE / PA-MPJPE, mm", accuracy(data, methods)), ("By person", per_subject(data, lifter)),
        ("Uncertainty and root", calibration(data, lifter)),
        ("Monte-Carlo dropout", alternatives(data, read_weights(options.weights or SHIPPED))),
        ("Missing joints", missing(data, lifter)),
        ("Speed", speed(lifter, data)),
    )  # fmt: skip
    for title, text in parts:
        sys.stdout.write(f"\n{title}\n\n{text}\n")


if __name__ == "__main__":
    main()
