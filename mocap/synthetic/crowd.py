"""Crowds with known identities: people who cross, hug, leave and come back, as a detector sees them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from mocap.errors import SettingsError
from mocap.skeleton import COCO_17, Skeleton
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, Observation, observe_labelled
from mocap.synthetic.rig import ring_rig

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Two limbs this near in an image, as a share of the person's height there, can be mistaken for each other
# (nearer ones are as good as each other).
_NEAR = (0.06, 0.3)
_LIMBS = (("elbow", "wrist"), ("knee", "ankle"))


class CrowdKind(enum.StrEnum):
    """What the people do: stand apart, walk across each other, meet in pairs, leave and come back, or all of it."""

    APART = "apart"
    CROSSING = "crossing"
    HUGGING = "hugging"
    LEAVING = "leaving"
    MIXED = "mixed"


CROWD_NOISE = NoiseSettings(
    sigma_px=3.0, outlier_rate=0.03, miss_rate=0.05, person_miss_rate=0.05, flip_rate=0.03, false_positives=0.3,
    correlation_s=0.05,
)  # fmt: skip
"""A detector on a busy stage: misses, false positives, flips."""


@dataclass(frozen=True, eq=False)
class Crowd:
    """A crowd and what was seen of it.

    Attributes
    ----------
    rig : CameraRig
    truth : float64 [T, P, J, 3]
        World, metres; NaN while a person is away.
    observation : Observation
    stolen : bool [V, T, P', J]
        Joints that a detection has from a neighbour.
    """

    rig: CameraRig
    truth: Array
    observation: Observation
    stolen: Bools


def make_crowd(
    people: int, cameras: int, kind: CrowdKind = CrowdKind.MIXED, *, frames: int = 250, fps: float = 25.0,
    seed: int = 0, noise: NoiseSettings = CROWD_NOISE, theft_rate: float = 0.3, skeleton: Skeleton = COCO_17,
) -> Crowd:  # fmt: skip
    """A crowd among cameras on a ring.

    Parameters
    ----------
    people, cameras : int
    kind : CrowdKind
    frames : int
    fps : float
    seed : int
    noise : NoiseSettings
    theft_rate : float
        Share of the time that a limb which is near a neighbour's in a view is exchanged with it, 0..1.
    skeleton : Skeleton

    Raises
    ------
    SettingsError
        `theft_rate` is no share.
    """
    if not 0 <= theft_rate <= 1:
        raise SettingsError("theft_rate is out of range", expected="0 to 1", found=f"{theft_rate}", where="make_crowd")
    rig = ring_rig(cameras, radius=5.0 + 0.3 * people, height=(1.8, 3.0), focal=800.0, seed=seed)
    truth = truth_positions(procedural_motion(frames, fps, seed, n_people=people), skeleton)
    rng = np.random.default_rng([seed, people, cameras])
    truth = _walk(truth, skeleton, CrowdKind(kind), fps, rng)
    seen = observe_labelled(truth, rig, noise, seed, joint_names=skeleton.joints, fps=fps)
    seen, stolen = _steal(seen, truth, rig, skeleton, theft_rate, fps, rng)
    return Crowd(rig, truth, seen, stolen)


def _walk(truth: Array, skeleton: Skeleton, kind: CrowdKind, fps: float, rng: np.random.Generator) -> Array:
    """People moved along the paths of their kind; NaN while away."""
    if kind is CrowdKind.APART:
        return truth
    T, P = truth.shape[:2]
    hips = [skeleton.index("l_hip"), skeleton.index("r_hip")]
    there = truth[:, :, hips, :2].mean(2)
    angle = 2 * np.pi * (np.arange(P) + 0.2 * rng.uniform(-1, 1, P)) / max(P, 2)
    start = (1.2 + 0.15 * P) * np.stack([np.cos(angle), np.sin(angle)], -1)
    side = 0.3 * np.stack([-np.sin(angle), np.cos(angle)], -1)
    phase = np.linspace(-1.0, 1.0, T).reshape(-1, 1, 1)
    # To the other side, each passing the middle a little to the right and a little later.
    delay: Array = 0.15 * rng.uniform(-1, 1, (1, P, 1))
    across = -np.sin(0.5 * np.pi * np.clip(phase + delay, -1, 1)) * start + side
    path = across
    if kind is CrowdKind.HUGGING:
        partner = np.arange(P) ^ 1
        partner = np.where(partner < P, partner, np.arange(P))
        middle = (start + start[partner]) / 2
        away = start - start[partner]
        away /= np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-9)
        apart = np.linalg.norm(start - middle, axis=-1, keepdims=True) - 0.2
        near = np.clip(1.6 * np.abs(phase) - 0.3, 0, 1)
        path = middle + away * (0.2 + apart * near)
    moved = truth.copy()
    moved[..., :2] += (path - there)[:, :, None]
    if kind in (CrowdKind.LEAVING, CrowdKind.MIXED):
        for p in range(P if kind is CrowdKind.LEAVING else P // 2):
            length = round(rng.uniform(1.5, 3.0) * fps)
            first = int(rng.integers(T // 5, max(T // 5 + 1, T - length - T // 5)))
            moved[first : first + length, p] = np.nan
    return moved


def _steal(
    seen: Observation, truth: Array, rig: CameraRig, skeleton: Skeleton, rate: float, fps: float,
    rng: np.random.Generator,
) -> tuple[Observation, Bools]:  # fmt: skip
    """Limbs near a neighbour's that the detector exchanges with the neighbour's, a third of a second at a time."""
    k = seen.keypoints
    V, T, S, J = k.confidence.shape
    P = truth.shape[1]
    stolen = np.zeros((V, T, S, J), bool)
    if rate == 0 or P < 2:
        return seen, stolen
    exact: Array = project(Lenses.of(rig), truth)
    y = np.asarray(exact[..., 1])
    low: Array = np.nan_to_num(y, nan=np.inf).min(axis=-1)
    height: Array = np.nan_to_num(y, nan=-np.inf).max(axis=-1) - low
    slot = np.full((V, T, P), -1)
    v, t, s = np.nonzero(seen.person >= 0)
    slot[v, t, seen.person[v, t, s]] = s
    pixels, confidence = k.keypoints.copy(), k.confidence.copy()
    span = max(1, round(fps / 3))
    for part in _LIMBS:
        for letter in "lr":
            joints = [skeleton.index(f"{letter}_{n}") for n in part]
            for a in range(P):
                b = (a + 1 + int(rng.integers(0, P - 1))) % P
                with np.errstate(invalid="ignore"):
                    gap = np.linalg.norm(exact[:, :, a][:, :, joints] - exact[:, :, b][:, :, joints], axis=-1).max(-1)
                    near = (gap > _NEAR[0] * height[:, :, a]) & (gap < _NEAR[1] * height[:, :, a])
                drawn = np.repeat(rng.random((V, -(-T // span))) < rate, span, axis=1)[:, :T]
                v, t = np.nonzero(near & drawn & (slot[:, :, a] >= 0) & (slot[:, :, b] >= 0))
                mine, other = slot[v, t, a], slot[v, t, b]
                for j in joints:
                    for values in (pixels, confidence):
                        own = values[v, t, mine, j].copy()
                        values[v, t, mine, j] = values[v, t, other, j]
                        values[v, t, other, j] = own
                    stolen[v, t, mine, j] ^= True
                    stolen[v, t, other, j] ^= True
    return replace(seen, keypoints=replace(k, keypoints=pixels, confidence=confidence)), stolen
