"""How good a lifting network is: people and cameras it never saw, exact and noisy 2D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mocap.lifting.augmentation import Windows
from mocap.lifting.dataset import Motion
from mocap.lifting.lift import LiftedPoses, Lifter
from mocap.lifting.smoothing import smooth_window
from mocap.lifting.uncertainty import fit_weights, pooled_intervals
from mocap.lifting.weights import StdCalibration, StdScales, Weights
from mocap.skeleton import H36M_17

Array = NDArray[np.floating]

_FAR = 3.0  # standard deviations at which single errors are cut off
_KEPT = 0.8  # of the correlations found


@dataclass(frozen=True)
class Observation:
    """2D errors of an evaluation.

    Attributes
    ----------
    sigma : float
        Standard deviation of the noise per axis, px.
    outliers : float
        Share of joints displaced by up to `reach` px per axis.
    reach : float
    missing : float
        Share of joints not seen.
    """

    sigma: float = 0.0
    outliers: float = 0.0
    reach: float = 100.0
    missing: float = 0.0


EXACT = Observation()
NOISY = Observation(sigma=5.0, outliers=0.03)


def evaluation_windows(
    motion: Motion,
    cameras: tuple[Array, Array, Array],
    observation: Observation,
    window: int,
    step: int,
    seed: int,
) -> Windows:
    """Windows about every `step`-th frame of every recording, cameras in turn.

    Each recording keeps its path and heading and is centred in the room; confidence is 1, so that
    nothing tells noise or outliers from good points.

    Parameters
    ----------
    motion : Motion
    cameras : K [C,3,3] px, R [C,3,3], t [C,3] m
    observation : Observation
    window : int
        Frames per window; ends of recordings are padded with missing frames.
    step, seed : int
    """
    rng = np.random.default_rng(seed)
    spans = list(zip(motion.starts, motion.counts, strict=True))
    centres = np.concatenate([np.arange(s + min(step, n) // 2, s + n, step) for s, n in spans])
    recording = np.searchsorted(motion.starts, centres, side="right") - 1
    first, last = motion.starts[recording], (motion.starts + motion.counts)[recording] - 1
    wanted = centres[:, None] + np.arange(window) - window // 2
    frames = np.clip(wanted, first[:, None], last[:, None])
    middles = np.stack([motion.roots[s : s + n].mean(0) for s, n in spans])[recording] * [1, 1, 0]
    world = motion.positions(frames) - middles[:, None, None]
    K, R, t = (c[np.arange(len(centres)) % len(c)] for c in cameras)
    points = np.einsum("nij,nwkj->nwki", R, world) + t[:, None, None]
    rays = points[..., :2] / points[..., 2:]
    focal = np.stack([K[:, 0, 0], K[:, 1, 1]], -1)[:, None, None]
    shape = rays.shape
    noise = rng.normal(size=shape) * observation.sigma
    far = rng.random(shape[:-1])[..., None] < observation.outliers
    noise += far * rng.uniform(-observation.reach, observation.reach, shape)
    seen = (rng.random(shape[:-1]) >= observation.missing) & (wanted == frames)[..., None]
    middle = points[:, window // 2]

    def tensor(a: Array) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(a, np.float32))

    return Windows(
        tensor((rays + noise / focal) * seen[..., None]), tensor(seen), tensor(motion.lengths[centres]),
        torch.zeros(len(centres), dtype=torch.bool), tensor(middle - middle[:, :1]), tensor(middle[:, 0]),
        torch.full((len(centres), 17), torch.inf),
    )  # fmt: skip


def coverage(predicted: Array, truth: Array, std: Array, half_95: Array | None = None) -> tuple[float, float]:
    """Shares of the coordinates of joints 1-16 within `std` [N, 17] and within `half_95`, 1.96 times as far if None."""
    off = np.abs(predicted - truth)[:, 1:]
    far = 1.96 * std if half_95 is None else half_95
    return float((off < std[:, 1:, None]).mean()), float((off < far[:, 1:, None]).mean())


def std_scale(ratios: Sequence[Array]) -> float:
    """The factor that puts 68.3 % and 95 % of errors within 1 and 1.96 standard deviations.

    `ratios` are errors over predicted standard deviations. Errors have longer tails than a
    Gaussian: the factor is the geometric mean of what either share asks for.
    """
    one, two = np.quantile(np.abs(np.concatenate([np.ravel(r) for r in ratios])), (0.683, 0.95))
    return float(np.sqrt(one * two / 1.96))


def along_own_axes(poses: LiftedPoses, truth: Array) -> Array:
    """Errors of joints 1-16 along their covariance's axes, over the standard deviations there."""
    values, vectors = np.linalg.eigh(poses.covariance[:, 1:])
    off = np.einsum("njba,njb->nja", vectors, (poses.positions - truth)[:, 1:])
    return off / np.sqrt(values)


def calibrated(weights: Weights, sets: Sequence[Windows], every: int = 3) -> Weights:
    """The weights with the uncertainty fitted on every n-th window.

    An odd n: cameras come in turn, and an even one would leave most of eight out.
    """
    scales = [
        _calibrate(weights, [_errors(Lifter(weights), w, bones, every) for w in sets], bones) for bones in (False, True)
    ]
    return replace(weights, calibration=StdCalibration(*scales))


def averaged(parts: Sequence[Weights], shares: Sequence[float], sets: Sequence[Windows], reference: Windows) -> Weights:
    """Weights whose networks' predictions are averaged, calibrated anew.

    Parameters
    ----------
    parts : sequence of Weights
        Networks of the same window, one each, which get 8 bits; the notes are the first one's.
    shares : sequence of float
        Of the others in the mean.
    sets : sequence of Windows
        Of people kept for validation, as `calibrated` takes them.
    reference : Windows
        Smoothed windows of the training people, as `correlated` takes them.
    """
    first, *others = (part.members[0].in_8_bits() for part in parts)
    plain = Weights(
        first.network, first.arrays, StdCalibration(), parts[0].notes, bits=first.bits,
        others=tuple(replace(m, share=share) for m, share in zip(others, shares, strict=True)),
    )  # fmt: skip
    lifter, scales = Lifter(plain), []
    for bones in (False, True):
        ratios = []
        for w in sets:
            rays, confidence, lengths, truth = (
                a.numpy().astype(float) for a in (w.rays, w.confidence, w.bones, w.positions)
            )
            smooth = smooth_window(rays, confidence)
            given = lengths if bones else np.full_like(lengths, np.nan)
            net = lifter.predict(smooth.rays * (confidence > 0)[..., None], confidence, given, smooth.std)
            ratios.append((net.positions - truth @ net.camera_from_virtual)[:, 1:] / net.std[:, 1:, [0, 0, 1]])
        across, along = (std_scale([r[..., axes] for r in ratios]) for axes in (slice(0, 2), slice(2, 3)))
        scales.append(StdScales(across, along))
    return calibrated(correlated(replace(plain, calibration=StdCalibration(*scales)), reference), sets)


def correlated(weights: Weights, windows: Windows) -> Weights:
    """The weights with the correlation of the network's errors of different joints, from windows seen in training.

    Their errors are smaller than those of new people, but hang together alike. The limbs' mirror
    images count as further windows, and the whole is drawn a little towards independence, because
    rare poses err otherwise.
    """
    lifter = Lifter(weights)
    rays, confidence, lengths, truth = (
        a.numpy().astype(float) for a in (windows.rays, windows.confidence, windows.bones, windows.positions)
    )
    known = windows.bones_known.numpy()
    noise = windows.ray_std.numpy()
    net = lifter.predict(rays, confidence, np.where(known[:, None], lengths, np.nan), noise)
    ratio = np.clip((net.positions - truth @ net.camera_from_virtual)[:, 1:] / net.std[:, 1:, [0, 0, 1]], -_FAR, _FAR)
    both = np.concatenate([ratio, ratio[:, H36M_17.mirror[1:] - 1] * [-1, 1, 1]]).reshape(2 * len(ratio), -1)
    some = np.tile(known, 2)
    correlation = np.stack([np.corrcoef(np.concatenate([z, -z]).T) for z in (both[~some], both[some])])
    correlation = _KEPT * correlation + (1 - _KEPT) * np.eye(correlation.shape[-1])
    return replace(weights, correlation=correlation.astype(np.float32))


def _errors(lifter: Lifter, windows: Windows, bones: bool, every: int) -> tuple[Array, Array, Array, Array]:
    """Features [N, 16, 2, F], network's std [N, 16, 2] m and errors [N, 16, 3] m, of joints 1-16.

    The errors in virtual axes, where each axis has its own standard deviation, and in the camera's.
    """
    rays, confidence, lengths, truth = (
        a[::every].numpy().astype(float) for a in (windows.rays, windows.confidence, windows.bones, windows.positions)
    )
    estimate = lifter.estimate(rays, confidence, lengths if bones else None)
    off = estimate.positions - truth @ estimate.camera_from_virtual
    found = estimate.found
    evidence = estimate.evidence
    back = estimate.camera_from_virtual.transpose(0, 2, 1)
    found_errors = off[found][:, 1:], (off @ back)[found][:, 1:]
    return evidence.features()[found][:, 1:], evidence.network[found][:, 1:], *found_errors


def _calibrate(weights: Weights, parts: Sequence[tuple[Array, Array, Array, Array]], bones: bool) -> StdScales:
    """Weights of the features, and scales that put the right shares of errors within their intervals."""
    features, network, errors, in_camera = (np.concatenate([p[i] for p in parts]) for i in range(4))
    found, std = [], []
    for kind, axes in enumerate(((0, 1), (2,))):
        f = np.concatenate([features[:, :, kind].reshape(-1, features.shape[-1])] * len(axes))
        e = np.concatenate([(errors[..., a] / network[..., kind]).ravel() for a in axes])
        w = fit_weights(f, e)
        w[0] += np.log(std_scale([e / np.exp(f @ w)]))
        found.append(tuple(w.tolist()))
        std.append(network[..., kind] * np.exp(features[:, :, kind] @ w))
    own = weights.calibration.known if bones else weights.calibration.guessed
    halves = pooled_intervals(np.stack(std, -1))
    joint, joint_95 = (
        float(np.quantile(np.abs(in_camera / half[..., None]), share))
        for half, share in zip(halves, (0.683, 0.95), strict=True)
    )
    return replace(own, across_weights=found[0], along_weights=found[1], joint=joint, joint_95=joint_95)
