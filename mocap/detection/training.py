"""Training of detectors: seeded, resumable to the bit, logged."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import pickle
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mocap.detection.checkpoints import load_strictly
from mocap.detection.labelled import Crops, CropSampler, LabelledPicture
from mocap.detection.objectives import HeatmapObjective, Objective, objective
from mocap.detection.training_settings import DetectorTraining
from mocap.errors import DataError, WeightsError
from mocap.metrics.keypoints2d import box_size, pck
from mocap.storage.atomic import atomic_path

log = logging.getLogger(__name__)

_WARM_UP = 0.03  # share of the steps in which the learning rate rises
_FINITE_GRADIENT = 1.0
_SCORED = 256  # pictures
# What may change between the parts of an interrupted training.
_FREE = ("steps", "evaluate_every")


@dataclass(frozen=True)
class TrainingReport:
    """What a training reached on pictures it was not trained on.

    Attributes
    ----------
    step : int
    loss : float
        Mean training loss since the last report.
    validation_loss : float
    pck_10, pck_20 : float
        Share of joints (0..1) within 0.1 and 0.2 of the person's box; NaN for networks that see whole pictures.
    """

    step: int
    loss: float
    validation_loss: float
    pck_10: float
    pck_20: float


class _Run:
    """Everything that changes while training; what a checkpoint holds."""

    def __init__(self, goal: Objective, settings: DetectorTraining, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.step = settings, device, 0
        self.report: TrainingReport | None = None
        network = goal.network()
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def save(self, path: Path) -> None:
        state = {
            "network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step,
            "torch": torch.get_rng_state(), "settings": json.dumps(dataclasses.asdict(self.settings)),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.zeros(0),
            "report": json.dumps(self.report and dataclasses.asdict(self.report)),
        }  # fmt: skip
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def restore(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            before = json.loads(state["settings"])
            now = json.loads(json.dumps(dataclasses.asdict(self.settings)))
            changed = [k for k, v in now.items() if k not in _FREE and before.get(k) != v]
            if changed:
                raise ValueError(f"other {', '.join(changed)}")
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["torch"])
            if self.device.type == "cuda" and len(state["cuda"]):
                torch.cuda.set_rng_state(state["cuda"], self.device)
            self.step = int(state["step"])
            self.report = TrainingReport(**json.loads(state["report"]))
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, TypeError, pickle.UnpicklingError) as error:
            raise WeightsError(
                "the checkpoint does not fit", expected="one of the same settings",
                found=f"{type(error).__name__}: {str(error)[:200]}", where=str(path), hint="remove it to start anew",
            ) from error  # fmt: skip


def train_detector(
    pictures: Sequence[LabelledPicture], output: Path, device: torch.device, settings: DetectorTraining, *,
    start: Path | None = None,
) -> TrainingReport:  # fmt: skip
    """Train a network and write its weights, as `mocap models add` takes them.

    Parameters
    ----------
    pictures : sequence of LabelledPicture
        In the network's joint set, those of a scene one after the other. The last ones are kept for validation,
        cut between two scenes where there is more than one.
    output : Path
        Weights (.pth). Beside them lie `<output>.checkpoint.pt`, from which an interrupted training goes on by
        itself to the same bits, and `<output>.log.jsonl`, one line per report.
    device : torch.device
        On a GPU in bfloat16, where it has that.
    settings : DetectorTraining
    start : Path, optional
        Weights to start from instead of random ones. Once there is a checkpoint, that counts.

    Returns
    -------
    TrainingReport
        The last one; of a training that is over, the one it ended with.

    Raises
    ------
    DataError
        Too few pictures, or pictures of another joint set.
    WeightsError
        A checkpoint of other settings; weights to start from of another network.
    StorageError
        Output that cannot be written.
    """
    goal = objective(settings)
    training, validation = _samplers(goal, pictures, settings)
    run = _Run(goal, settings, device)
    checkpoint, journal = output.with_suffix(".checkpoint.pt"), output.with_suffix(".log.jsonl")
    if checkpoint.exists():
        run.restore(checkpoint)
        log.info("going on from step %d of %s", run.step, checkpoint)
        if start is not None:
            log.warning("%s is not read again: the checkpoint counts; remove that to start anew", start)
    elif start is not None:
        load_strictly(run.network, start, add_command="give the weights of the network that is trained")
    if run.report is not None and run.step >= settings.steps:
        if not output.exists():
            _write(run, output)
        return run.report
    with contextlib.closing(_crops(training, settings, run.step)) as crops:
        while run.report is None or run.step < settings.steps:
            loss = _some_steps(run, goal, crops)
            run.report = _evaluate(run, goal, validation, loss)
            log.info("%s", run.report)
            with journal.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(run.report)) + "\n")
            _write(run, output)
            run.save(checkpoint)  # the last, so that what it counts as done is there
    return run.report


def _write(run: _Run, output: Path) -> None:
    with atomic_path(output) as path:
        torch.save({k: v.detach().cpu() for k, v in run.network.state_dict().items()}, path)


def _samplers(
    goal: Objective, pictures: Sequence[LabelledPicture], settings: DetectorTraining
) -> tuple[CropSampler, CropSampler]:
    """For training and for validation."""
    kept = max(1, round(len(pictures) * settings.validation_share))
    joints = {p.joints.shape[1] for p in pictures}
    if len(pictures) <= kept or joints != {len(goal.skeleton.joints)}:
        raise DataError(
            "not enough pictures of the network's joints",
            expected=f"at least 2 with {len(goal.skeleton.joints)} joints ({goal.skeleton.name})",
            found=f"{len(pictures)} with {sorted(joints)}", where="train-detector",
        )  # fmt: skip
    cut = _cut(pictures, len(pictures) - kept)
    parts = (pictures[:cut], pictures[cut:])
    training, validation = (
        CropSampler(part, goal.skeleton, goal.crop_size, settings, whole=goal.whole) for part in parts
    )
    return training, validation


def _cut(pictures: Sequence[LabelledPicture], wished: int) -> int:
    """The place nearest to the wished one between two pictures that do not show the same people."""
    pairs = zip(pictures[:-1], pictures[1:], strict=True)
    between = [k for k, (a, b) in enumerate(pairs, 1) if a.scene is None or a.scene != b.scene]
    if not between:
        log.warning("all pictures are of one scene: the scores are those of people that were trained on")
        return wished
    return min(between, key=lambda k: abs(k - wished))


def _crops(sampler: CropSampler, settings: DetectorTraining, first: int) -> Generator[Crops]:
    """Batches from that of step `first` on, cut while the network is busy with the one before.

    Each is a function of the seed and its step alone, so that nothing of the order needs to be remembered.
    """
    with ThreadPoolExecutor(1) as ahead:

        def cut(step: int) -> Crops:
            return sampler.draw(settings.batch, np.random.default_rng([settings.seed, step]))

        waiting = ahead.submit(cut, first)
        step = first
        while True:
            crops, step = waiting.result(), step + 1
            waiting = ahead.submit(cut, step)
            yield crops


def _precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()


def _learning_rate(settings: DetectorTraining, step: int) -> float:
    progress = step / settings.steps
    if progress < _WARM_UP:
        return settings.learning_rate * (progress / _WARM_UP + 1e-3)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _some_steps(run: _Run, goal: Objective, crops: Iterator[Crops]) -> float:
    """Steps until the next report; the mean loss."""
    settings, total, count = run.settings, 0.0, 0
    run.network.train()
    while run.step < settings.steps and (count == 0 or run.step % settings.evaluate_every):
        for group in run.optimiser.param_groups:
            group["lr"] = _learning_rate(settings, run.step)
        batch = goal.prepare(next(crops), run.device)
        with _precision(run.device):
            loss = goal.loss(run.network, batch)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), _FINITE_GRADIENT)
        run.optimiser.step()
        run.step += 1
        total, count = total + loss.item(), count + 1
    return total / max(count, 1)


@torch.inference_mode()
def _evaluate(run: _Run, goal: Objective, sampler: CropSampler, loss: float) -> TrainingReport:
    run.network.eval()
    chosen = range(min(len(sampler.targets), _SCORED))
    losses, found, truth = [], [], []
    for first in range(0, len(chosen), run.settings.batch):
        crops = sampler.plain(chosen[first : first + run.settings.batch])
        batch = goal.prepare(crops, run.device)
        with _precision(run.device):
            losses.append((float(goal.loss(run.network, batch)), len(crops.images)))
            if isinstance(goal, HeatmapObjective):
                found.append(goal.decode(run.network, batch).cpu().double().numpy())
                truth.append(crops.points[:, 0].astype(np.float64))
    mean = sum(v * n for v, n in losses) / sum(n for _, n in losses)
    if not found:
        return TrainingReport(run.step, loss, mean, float("nan"), float("nan"))
    joints, right = np.concatenate(found), np.concatenate(truth)
    size = box_size(right)
    return TrainingReport(run.step, loss, mean, *(pck(joints, right, size, a) for a in (0.1, 0.2)))
