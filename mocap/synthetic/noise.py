"""What an imperfect detector makes of the truth: 2D keypoints with the failures of real ones."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from mocap.errors import DataError, SettingsError
from mocap.skeleton import Skeleton, identify
from mocap.types import Keypoints2D

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class NoiseSettings:
    """How good the made-up detector is. The defaults are those of a good one on a clear view."""

    sigma_px: float = 3.0
    """Standard deviation of a joint's position per axis, px; the median over joints and frames."""
    sigma_spread: float = 0.5
    """Spread of the natural logarithm of the joint-wise standard deviation (0: all alike)."""
    correlation_s: float = 0.0
    """Time over which the error of a joint stays similar (to 1/e), s; 0: independent frames."""
    bias_px: float = 0.0
    """Standard deviation of an error that a joint of a view keeps throughout, px."""
    outlier_rate: float = 0.01
    """Share of joints placed wrongly."""
    outlier_px: float = 60.0
    """Standard deviation of the error of an outlier per axis, px."""
    miss_rate: float = 0.01
    """Share of joints not found."""
    person_miss_rate: float = 0.005
    """Share of persons not found in a view and frame."""
    flip_rate: float = 0.0
    """Share of the time that a view has left and right of a whole person swapped."""
    limb_flip_rate: float = 0.0
    """Share of the time that a view has only the arms, or only the legs, swapped."""
    flip_s: float = 0.4
    """Mean length of a swap, s."""
    dropout_rate: float = 0.0
    """Share of the time that a camera shows nobody."""
    dropout_s: float = 0.5
    """Mean length of such a dropout, s."""
    occluded_sigma: float = 1.0
    """Factor on the error of joints that a body hides from the camera (`mocap.synthetic.occlusion`); 1: none."""
    occluded_miss_rate: float = 0.0
    """Share of hidden joints that are not found."""
    false_positives: float = 0.0
    """Mean number of people per view and frame who are not there."""
    shuffle: bool = True
    """Person slots in random order per view and frame."""
    confidence_noise: float = 0.08
    """Standard deviation of the confidence about what the error justifies."""
    report_uncertainty: bool = False
    """Whether the detector says each joint's true standard deviation (else NaN)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            share = field.name.endswith("_rate")
            if not (np.isfinite(value) and value >= 0) or (share and value > 1):
                raise SettingsError(
                    f"{field.name} is not usable",
                    expected="0 to 1" if share else "a number of at least 0",
                    found=f"{value}",
                    where="NoiseSettings",
                )

    @property
    def occlusion(self) -> bool:
        """Whether bodies in the way make a difference."""
        return self.occluded_sigma != 1 or self.occluded_miss_rate > 0


PERFECT = NoiseSettings(
    sigma_px=0.0, sigma_spread=0.0, outlier_rate=0.0, miss_rate=0.0, person_miss_rate=0.0, shuffle=False,
    confidence_noise=0.0,
)  # fmt: skip
"""No noise at all: the exact projections."""


@dataclass(frozen=True, eq=False)
class Observation:
    """Noisy keypoints and how they came about.

    Attributes
    ----------
    keypoints : Keypoints2D
    person : int [V, T, P']
        Which true person each slot shows; -1 for nobody.
    flipped : bool [V, T, P', J]
        Whether the joint was swapped with its left/right partner.
    outlier : bool [V, T, P', J]
    hidden : bool [V, T, P', J]
        Whether a body is in the line of sight; False throughout where occlusion is not asked for.
    """

    keypoints: Keypoints2D
    person: NDArray[np.int64]
    flipped: Bools
    outlier: Bools
    hidden: Bools


def observe(
    truth: Array,
    rig: CameraRig,
    noise: NoiseSettings | None = None,
    seed: int = 0,
    *,
    joint_names: tuple[str, ...],
    fps: float = 30.0,
    frames: NDArray[np.int64] | None = None,
) -> Keypoints2D:
    """2D keypoints of people as an imperfect detector sees them; see `observe_labelled`."""
    return observe_labelled(truth, rig, noise, seed, joint_names=joint_names, fps=fps, frames=frames).keypoints


def observe_labelled(
    truth: Array,
    rig: CameraRig,
    noise: NoiseSettings | None = None,
    seed: int = 0,
    *,
    joint_names: tuple[str, ...],
    fps: float = 30.0,
    frames: NDArray[np.int64] | None = None,
) -> Observation:
    """2D keypoints with the failures of a detector, and the labels to check a repair against.

    Parameters
    ----------
    truth : [T, P, J, 3]
        World, metres; NaN where a joint does not exist.
    rig : CameraRig
    noise : NoiseSettings, optional
    seed : int
    joint_names : tuple of str [J]
        Of a skeleton in `mocap.skeleton`.
    fps : float
    frames : int [T], optional
        Counted from 0 unless given.

    Returns
    -------
    Observation
        Its slots: one per person, and more where false positives need them.

    Raises
    ------
    DataError
        Shapes or joint names that do not fit.
    """
    noise = noise or NoiseSettings()
    if truth.ndim != 4 or truth.shape[-1] != 3 or truth.shape[2] != len(joint_names):
        raise DataError(
            "the truth does not fit its joint names",
            expected=f"[T, P, {len(joint_names)}, 3]", found=f"{truth.shape}", where="observe",
        )  # fmt: skip
    hidden = None
    if noise.occlusion:
        from mocap.synthetic.occlusion import hidden_joints

        hidden = hidden_joints(truth, rig, identify(joint_names))
    pixels = project(Lenses.of(rig), np.asarray(truth, dtype=np.float64))
    frames = np.arange(len(truth)) if frames is None else frames
    return observe_pixels(pixels, rig, noise, seed, joint_names=joint_names, fps=fps, frames=frames, hidden=hidden)


def observe_pixels(
    pixels: Array, rig: CameraRig, noise: NoiseSettings, seed: int | list[int] = 0, *, joint_names: tuple[str, ...],
    fps: float, frames: NDArray[np.int64], hidden: Bools | None = None,
) -> Observation:  # fmt: skip
    """As `observe_labelled`, from exact pixels [V, T, P, J, 2] and what is `hidden` [V, T, P, J] (None: nothing)."""
    skeleton = identify(joint_names)
    rng = np.random.default_rng(seed)
    sizes = np.array([c.size for c in rig.cameras], dtype=np.float64)[:, None, None, None]
    nothing = np.zeros(pixels.shape[:-1], bool)
    seen = _see(pixels, sizes, noise, fps, skeleton, rng, nothing if hidden is None else hidden)
    parts = _add_ghosts(seen, noise, sizes, rng)
    if noise.shuffle:
        parts = _shuffle(parts, rng)
    told = parts.uncertainty if noise.report_uncertainty else np.full_like(parts.uncertainty, np.nan)
    keypoints = Keypoints2D(
        keypoints=parts.seen.astype(np.float32),
        confidence=parts.confidence.astype(np.float32),
        uncertainty=told.astype(np.float32),
        frames=frames,
        cameras=rig.names,
        joint_names=tuple(joint_names),
        fps=fps,
    )
    return Observation(keypoints, parts.person, parts.flipped, parts.outlier, parts.hidden)


class _Parts(NamedTuple):
    """An observation while it is made: [V, T, P, J, ...] each, `person` [V, T, P]."""

    seen: Array
    confidence: Array
    uncertainty: Array
    person: NDArray[np.int64]
    flipped: Bools
    outlier: Bools
    hidden: Bools


def _see(pixels: Array, sizes: Array, noise: NoiseSettings, fps: float, skeleton: Skeleton,
         rng: np.random.Generator, hidden: Bools) -> _Parts:  # fmt: skip
    """What the detector makes of the exact projections [V, T, P, J, 2]."""
    sigma = noise.sigma_px * np.exp(noise.sigma_spread * rng.normal(size=pixels.shape[:-1]))
    sigma = np.where(hidden, noise.occluded_sigma * sigma, sigma)
    error = sigma[..., None] * _correlated(rng, pixels.shape, noise.correlation_s * fps)
    error += noise.bias_px * rng.normal(size=(pixels.shape[0], 1, *pixels.shape[2:]))
    outlier = rng.random(sigma.shape) < noise.outlier_rate
    error += outlier[..., None] * noise.outlier_px * rng.normal(size=pixels.shape)
    seen = pixels + error
    sigma = np.where(outlier, np.maximum(noise.outlier_px, sigma), sigma)
    confidence = _confidence(sigma, noise, rng)
    flipped, partner = _flips(pixels.shape, noise, fps, skeleton, rng), skeleton.mirror
    seen = np.where(flipped[..., None], seen[..., partner, :], seen)
    confidence, sigma, outlier, hidden = (
        np.where(flipped, a[..., partner], a) for a in (confidence, sigma, outlier, hidden)
    )  # fmt: skip
    # Outside the picture there is nothing to see.
    lost = _losses(sigma.shape, noise, fps, rng) | ~_inside(seen, sizes)
    if noise.occluded_miss_rate > 0:
        lost |= hidden & (rng.random(sigma.shape) < noise.occluded_miss_rate)
    seen, confidence = np.where(lost[..., None], np.nan, seen), np.where(lost, 0.0, confidence)
    uncertainty = np.where(lost, np.nan, np.maximum(sigma, 1e-3))
    person = np.broadcast_to(np.arange(pixels.shape[2]), seen.shape[:3]).copy()
    person[lost.all(-1)] = -1
    return _Parts(seen, confidence, uncertainty, person, flipped, outlier, hidden)


def _inside(pixels: Array, sizes: Array) -> Bools:
    with np.errstate(invalid="ignore"):
        return np.asarray(((pixels > -0.5) & (pixels < sizes - 0.5)).all(-1))


def _correlated(rng: np.random.Generator, shape: tuple[int, ...], length: float) -> Array:
    """Unit normal numbers whose correlation along axis 1 falls to 1/e after `length` frames (AR(1))."""
    white = rng.normal(size=shape)
    if length <= 0:
        return white
    a = np.exp(-1.0 / length)
    scaled = white * np.sqrt(1 - a * a)
    scaled[:, 0] = white[:, 0]
    return lfilter([1.0], [1.0, -a], scaled, axis=1)


def _confidence(sigma: Array, noise: NoiseSettings, rng: np.random.Generator) -> Array:
    """Falls with the error's true standard deviation; sometimes a detector is sure and wrong."""
    scale = max(noise.sigma_px, 1e-6)
    justified = 1.0 / (1.0 + 0.1 * (sigma / scale) ** 1.5) if noise.sigma_px > 0 else np.ones(sigma.shape)
    return np.clip(justified + noise.confidence_noise * rng.normal(size=sigma.shape), 0.05, 1.0)


def _spans(shape: tuple[int, ...], rate: float, seconds: float, fps: float, rng: np.random.Generator) -> Bools:
    """Two-state Markov chains along axis 1, true for a share `rate` of the time in spans of mean length."""
    if rate <= 0:
        return np.zeros(shape, dtype=bool)
    if rate >= 1:
        return np.ones(shape, dtype=bool)
    leave = min(1.0, 1.0 / max(seconds * fps, 1.0))
    enter = min(1.0, leave * rate / (1 - rate))
    # A state redrawn at random times has geometric spans; each redraw is true with the share wanted.
    redraw = rng.random(shape) < min(1.0, leave + enter)
    redraw[:, 0] = True
    drawn = rng.random(shape) < rate
    rows = np.arange(shape[1]).reshape(1, -1, *(1,) * (len(shape) - 2))
    last = np.maximum.accumulate(np.where(redraw, rows, 0), axis=1)
    return np.take_along_axis(drawn, last, axis=1)


_ARM_JOINTS = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")
_LEG_JOINTS = ("hip", "knee", "ankle", "heel", "big_toe", "small_toe")


def _flips(
    shape: tuple[int, ...], noise: NoiseSettings, fps: float, skeleton: Skeleton, rng: np.random.Generator
) -> Bools:
    V, T, P = shape[:3]
    whole = _spans((V, T, P), noise.flip_rate, noise.flip_s, fps, rng)
    flipped = np.repeat(whole[..., None], len(skeleton.joints), -1)
    for limbs in (_ARM_JOINTS, _LEG_JOINTS):
        some = _spans((V, T, P), noise.limb_flip_rate, noise.flip_s, fps, rng)
        belongs = np.array([j[2:] in limbs and j[1] == "_" for j in skeleton.joints])
        flipped = flipped ^ (some[..., None] & belongs)
    return flipped & (skeleton.mirror != np.arange(len(skeleton.joints)))


def _losses(shape: tuple[int, ...], noise: NoiseSettings, fps: float, rng: np.random.Generator) -> Bools:
    V, T, P, _ = shape
    joints = rng.random(shape) < noise.miss_rate
    people = rng.random((V, T, P)) < noise.person_miss_rate
    cameras = _spans((V, T), noise.dropout_rate, noise.dropout_s, fps, rng)
    return joints | people[..., None] | cameras[..., None, None]


def _add_ghosts(parts: _Parts, noise: NoiseSettings, sizes: Array, rng: np.random.Generator) -> _Parts:
    """People who are not there: a real pose of another time, moved, scaled and shaken."""
    if noise.false_positives <= 0:
        return parts
    seen, confidence = parts.seen, parts.confidence
    V, T, P, J = confidence.shape
    count = rng.poisson(noise.false_positives, (V, T))
    n = max(1, int(count.max()))
    time, slot = rng.integers(0, T, (V, T, n)), rng.integers(0, P, (V, T, n))
    v = np.arange(V)[:, None, None]
    pose = seen[v, time, slot]
    seen_joints = np.isfinite(pose).all(-1, keepdims=True)
    middle = np.nan_to_num(pose).sum(-2, keepdims=True) / np.maximum(seen_joints.sum(-2, keepdims=True), 1)
    moved = (pose - middle) * rng.uniform(0.4, 1.1, (V, T, n, 1, 1))
    moved += rng.uniform(0, 1, (V, T, n, 1, 2)) * sizes + 8.0 * rng.normal(size=moved.shape)
    there = (np.arange(n) < count[..., None])[..., None] & _inside(moved, sizes)
    empty = np.zeros((V, T, n, J), dtype=bool)
    return _Parts(
        np.concatenate([seen, np.where(there[..., None], moved, np.nan)], 2),
        np.concatenate([confidence, np.where(there, rng.uniform(0.1, 0.6, there.shape), 0.0)], 2),
        np.concatenate([parts.uncertainty, np.full((V, T, n, J), np.nan)], 2),
        np.concatenate([parts.person, np.full((V, T, n), -1)], 2),
        np.concatenate([parts.flipped, empty], 2),
        np.concatenate([parts.outlier, empty], 2),
        np.concatenate([parts.hidden, empty], 2),
    )


def _shuffle(parts: _Parts, rng: np.random.Generator) -> _Parts:
    order = np.argsort(rng.random(parts.person.shape), axis=-1)

    def by(a: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(a, order.reshape(*order.shape, *(1,) * (a.ndim - 3)), axis=2)

    return _Parts(*(by(a) for a in parts))
