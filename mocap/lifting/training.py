"""Training of the lifting networks: resumable, seeded, logged."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import mocap
from mocap.devices import DeviceChoice, resolve_device
from mocap.errors import WeightsError
from mocap.lifting import evaluation
from mocap.lifting.augmentation import Windows, WindowSampler, both_ways
from mocap.lifting.dataset import HELD_OUT_CAMERAS, Motion, read_cameras, read_motion
from mocap.lifting.features import WindowInput, window_input
from mocap.lifting.network import Lifted, LiftNet
from mocap.lifting.settings import TrainingSettings
from mocap.lifting.smoothing import smooth_window
from mocap.lifting.weights import StdCalibration, StdScales, Weights, write_weights
from mocap.metrics import mpjpe
from mocap.storage.atomic import atomic_path

log = logging.getLogger(__name__)

_WARM_UP = 0.03  # share of the schedule in which the learning rate rises
_FINITE_GRADIENT = 1.0
_REFERENCE = 2000  # windows of the training people, of which the correlation of errors follows


@dataclass(frozen=True)
class Report:
    """What a training run measured on the validation people, millimetres.

    Attributes
    ----------
    step : int
    minutes : float
    loss : float
        Mean training loss since the last report.
    exact, noisy, exact_bones, noisy_bones : float
        MPJPE without and with known bone lengths.
    """

    step: int
    minutes: float
    loss: float
    exact: float
    noisy: float
    exact_bones: float
    noisy_bones: float


def loss_of(lifted: Lifted, truth: Tensor, camera_from_virtual: Tensor) -> Tensor:
    """Mean joint error plus the Gaussian negative log likelihood of what is left.

    The error counts in metres x 10; the likelihood sees it detached, so that uncertainty is learnt
    without holding back the mean (the concern of Seitzer et al. 2022).
    """
    target = torch.bmm(truth, camera_from_virtual)
    error = (lifted.positions - target)[:, 1:]
    distance = error.square().sum(-1).add(1e-8).sqrt().mean()
    log_std = lifted.log_std[:, 1:]
    square = error.detach().square()
    across, along = square[..., :2].sum(-1), square[..., 2]
    likelihood = (
        2 * log_std[..., 0] + log_std[..., 1]
        + 0.5 * across * torch.exp(-2 * log_std[..., 0])
        + 0.5 * along * torch.exp(-2 * log_std[..., 1])
    )  # fmt: skip
    return 10 * distance + 0.05 * likelihood.mean()


class _Run:
    """Everything that changes while training; what a checkpoint holds."""

    def __init__(self, settings: TrainingSettings, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.net = LiftNet(settings.network).to(device)
        self.average = LiftNet(settings.network).to(device).eval()
        self.average.load_state_dict(self.net.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.generator = torch.Generator(device=device).manual_seed(settings.seed)
        self.step, self.seconds = 0, 0.0
        self.report: Report | None = None

    def state(self) -> dict[str, object]:
        """All that the training goes on from, as torch writes it."""
        return {
            "net": self.net.state_dict(), "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(), "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(), "step": self.step, "seconds": self.seconds,
            "report": None if self.report is None else dataclasses.asdict(self.report),
        }  # fmt: skip

    def restore(self, path: Path, device: torch.device) -> None:
        """Go on from a checkpoint; WeightsError where it is damaged or of other network settings."""
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            self.net.load_state_dict(state["net"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.generator.set_state(state["generator"].cpu())
            torch.set_rng_state(state["torch"].cpu())
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.report = None if state["report"] is None else Report(**state["report"])
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, TypeError, pickle.UnpicklingError) as error:
            raise WeightsError(
                "the checkpoint does not fit", expected="one of the same network settings",
                found=f"{type(error).__name__}: {str(error)[:200]}", where=str(path),
                hint="remove it to start anew",
            ) from error  # fmt: skip

    def update_average(self, decay: float) -> None:
        """Move the running mean of the weights towards the present ones by the share ``1 - decay``."""
        # Early on the running mean must not remember the initialisation.
        decay = min(decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - decay)
                else:
                    mean.copy_(now)


def _learning_rate(settings: TrainingSettings, progress: float) -> float:
    if progress < _WARM_UP:
        return settings.learning_rate * (progress / _WARM_UP + 1e-3)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _progress(settings: TrainingSettings, run: _Run) -> float:
    by_steps = run.step / settings.steps
    return max(by_steps, run.seconds / (60 * settings.minutes)) if settings.minutes else by_steps


def _precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 where the machine has it: emulated, it is sixty times slower than float32."""
    fast = device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.autocast(device.type, torch.bfloat16) if fast else contextlib.nullcontext()


def smoothed(windows: Windows, window: int, device: torch.device) -> Windows:
    """The `window` frames about the middle, smoothed as in use, on the device."""
    skip = (windows.rays.shape[1] - window) // 2
    frames = slice(skip, skip + window)
    rays, confidence = windows.rays[:, frames].cpu(), windows.confidence[:, frames].cpu()
    smooth = smooth_window(rays.numpy(), confidence.numpy())
    rays = torch.from_numpy(smooth.rays) * (confidence > 0)[..., None]
    std = torch.from_numpy(smooth.std.astype(np.float32))
    rest = (windows.bones, windows.bones_known, windows.positions, windows.root)
    return Windows(*(a.to(device) for a in (rays, confidence, *rest, std)))


def network_input(windows: Windows) -> WindowInput:
    """What the network takes, of smoothed windows."""
    w = windows
    return window_input(w.rays, w.confidence, w.bones, w.bones_known, w.ray_std)


def predict(
    net: LiftNet, windows: Windows, bones: bool, device: torch.device
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Without test-time flips: positions and truth [N, 17, 3] m in virtual axes, std [N, 17, 2] m."""
    parts = []
    for start in range(0, len(windows.rays), 4096):
        part = slice(start, start + 4096)
        some = Windows(*(getattr(windows, f.name)[part] for f in dataclasses.fields(windows)))
        some = dataclasses.replace(some, bones_known=torch.full((len(some.rays),), bones))
        seen = network_input(smoothed(some, net.settings.window, device))
        with torch.inference_mode():
            lifted = net(seen)
        truth = torch.bmm(some.positions.to(device), seen.camera_from_virtual)
        parts.append([a.float().cpu().numpy() for a in (lifted.positions, truth, lifted.log_std.exp())])
    positions, truths, std = (np.concatenate(p) for p in zip(*parts, strict=True))
    return positions, truths, std


def _evaluate(run: _Run, sets: Sequence[Windows], loss: float, device: torch.device) -> Report:
    errors = []
    for bones in (False, True):
        for windows in sets:
            positions, truth, _ = predict(run.average, windows, bones, device)
            errors.append(1000 * mpjpe(positions, truth))
    return Report(run.step, run.seconds / 60, loss, *errors)


def network_scales(net: LiftNet, sets: Sequence[Windows], device: torch.device) -> StdCalibration:
    """Factors of the network's own standard deviations; see `evaluation.std_scale`."""
    scales = []
    for bones in (False, True):
        found = [predict(net, windows, bones, device) for windows in sets]
        z = [np.abs(p - truth)[:, 1:] / std[:, 1:, [0, 0, 1]] for p, truth, std in found]
        across, along = (evaluation.std_scale([part[..., axes] for part in z]) for axes in (slice(0, 2), slice(2, 3)))
        scales.append(StdScales(across, along))
    return StdCalibration(*scales)


def _validation(motion: Motion, cameras: Path | None) -> list[Windows]:
    if cameras is None:
        azimuth = np.arange(4) * np.pi / 2 + 0.3
        c, s, zero = np.cos(azimuth), np.sin(azimuth), np.zeros(4)
        R = np.stack([-s, c, zero, zero, zero, zero - 1, -c, -s, zero], -1).reshape(4, 3, 3)
        t = -np.einsum("nij,nj->ni", R, np.stack([5 * c, 5 * s, zero + 1.5], -1))
        views = np.tile(np.diag([1146.0, 1146.0, 1.0]), (4, 1, 1)), R, t
    else:
        views = read_cameras(cameras, HELD_OUT_CAMERAS)
    return [
        evaluation.evaluation_windows(motion, views, observation, window=27, step=6, seed=1)
        for observation in (evaluation.EXACT, evaluation.NOISY)
    ]


def train(
    data: Sequence[Path],
    output: Path,
    device: DeviceChoice | None = None,
    settings: TrainingSettings | None = None,
    cameras: Path | None = None,
) -> Report:
    """Train a lifting network and write its weights.

    Parameters
    ----------
    data : sequence of Path
        Motion files, see `mocap.lifting.dataset.read_motion`.
    output : Path
        Weights file (.npz). Beside it lie `<output>.checkpoint.pt`, from which an interrupted run
        goes on by itself, and `<output>.log.jsonl`, one line per report.
    device : DeviceChoice, optional
        Instead of the settings' own.
    settings : TrainingSettings, optional
    cameras : Path, optional
        Human3.6M camera parameters (JSON); random cameras only when None.

    Returns
    -------
    Report
        The last one.

    Raises
    ------
    DataError
        Data that cannot be read or split.
    WeightsError
        A checkpoint of other settings.
    StorageError
        Output that cannot be written.
    """
    settings = settings or TrainingSettings()
    used = resolve_device(device or settings.device)
    data, output = [Path(d) for d in data], Path(output)
    material = _Material.read(data, cameras, settings, used)
    checkpoint, journal = output.with_suffix(".checkpoint.pt"), output.with_suffix(".log.jsonl")
    output.parent.mkdir(parents=True, exist_ok=True)
    run = _Run(settings, used)
    if checkpoint.exists():
        run.restore(checkpoint, used)
        log.info("going on from step %d of %s", run.step, checkpoint)
    # A run that was finished has nothing left to do but to say what it measured.
    while run.report is None or _progress(settings, run) < 1:
        loss = _some_steps(run, material.sampler, settings)
        run.report = _evaluate(run, material.sets, loss, used)
        log.info("%s", run.report)
        _write(run, settings, data, cameras, material, run.report, output, used)
        with journal.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(run.report)) + "\n")
        with atomic_path(checkpoint) as path:
            torch.save(run.state(), path)
    return run.report


@dataclass(frozen=True, eq=False)
class _Material:
    """What a run draws from, is validated with, and learns the correlation of its errors from."""

    sampler: WindowSampler
    sets: list[Windows]
    reference: Windows

    @staticmethod
    def read(data: Sequence[Path], cameras: Path | None, settings: TrainingSettings, device: torch.device) -> _Material:
        training, validation = read_motion(data).split(settings.validation_subjects.split())
        real = None if cameras is None else read_cameras(cameras)[1:]
        sampler = WindowSampler(training, real, settings, settings.network.window, device)
        drawn = sampler.draw(_REFERENCE, torch.Generator(device=device).manual_seed(settings.seed + 1))
        reference = smoothed(drawn, sampler.window, torch.device("cpu"))
        return _Material(sampler, _validation(validation, cameras), reference)


def _some_steps(run: _Run, sampler: WindowSampler, settings: TrainingSettings) -> float:
    device, total, count = sampler.device, 0.0, 0
    run.net.train()
    while count < settings.evaluate_every and _progress(settings, run) < 1:
        began = time.monotonic()
        for group in run.optimiser.param_groups:
            group["lr"] = _learning_rate(settings, _progress(settings, run))
        windows = sampler.draw(settings.batch // 2, run.generator)
        windows = both_ways(smoothed(windows, sampler.window, device))
        seen = network_input(windows)
        with _precision(device):
            lifted = run.net(seen)
        loss = loss_of(lifted, windows.positions, seen.camera_from_virtual)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.net.parameters(), _FINITE_GRADIENT)
        run.optimiser.step()
        run.step += 1
        run.update_average(settings.average)
        total, count = total + loss.item(), count + 1
        run.seconds += time.monotonic() - began
    return total / max(count, 1)


def _write(
    run: _Run, settings: TrainingSettings, data: Sequence[Path], cameras: Path | None,
    material: _Material, report: Report, output: Path, device: torch.device,
) -> None:  # fmt: skip
    notes = {
        "data": ", ".join(Path(d).name for d in data),
        "cameras": "random" if cameras is None else f"{Path(cameras).name} without {', '.join(HELD_OUT_CAMERAS)}",
        "settings": json.dumps(dataclasses.asdict(settings), sort_keys=True),
        "code": mocap.__version__,
        "validation": json.dumps({k: v for k, v in dataclasses.asdict(report).items() if k != "minutes"}),
    }
    arrays = {name: value.float().cpu().numpy() for name, value in run.average.state_dict().items()}
    weights = Weights(settings.network, arrays, network_scales(run.average, material.sets, device), notes)
    write_weights(evaluation.calibrated(evaluation.correlated(weights, material.reference), material.sets), output)
