"""Body landmarks of every person from whatever joints the input has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.humanoid import BODY
from mocap.skeleton import apply_joint_map, identify, joint_map
from mocap.types import Source, Trajectories3D

Array = NDArray[np.float64]

# Standard deviation per axis of a joint that comes without a covariance, metres.
_UNKNOWN_STD = 0.05

_MIDDLES = {
    "pelvis": ("l_hip", "r_hip"),
    "thorax": ("l_shoulder", "r_shoulder"),
    "spine": ("pelvis", "thorax"),
    "l_toe": ("l_big_toe", "l_small_toe"),
    "r_toe": ("r_big_toe", "r_small_toe"),
}


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Landmarks of one person.

    Attributes
    ----------
    points : dict of str to float64 [T, 3] m, world
        NaN where not seen; every name of `humanoid` is there.
    source : dict of str to uint8 [T]
    variance : dict of str to float64 [T] m2
        Mean over the axes; of what the trajectories tell, so without landmarks that are made up.
    """

    points: dict[str, Array]
    source: dict[str, NDArray[np.uint8]]
    variance: dict[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.points[name]

    def seen(self, *names: str) -> NDArray[np.bool_]:
        """Bool [T]: all of the named landmarks are known."""
        return np.logical_and.reduce([np.isfinite(self.points[n]).all(-1) for n in names])

    def flags(self, *names: str) -> NDArray[np.uint8]:
        """Uint8 [T]: the least direct source among the named landmarks."""
        return np.maximum.reduce([self.source[n] for n in names])


def landmarks(trajectories: Trajectories3D, person: int) -> Landmarks:
    """Landmarks of one person (index, not id).

    Beside the joints of `humanoid.BODY` there are `head_base` (where the skull turns: between the
    ears, else the base of the head, else the nose) and `l_toe`, `r_toe` (the front of the foot).

    Raises
    ------
    DataError
        The joint names belong to no known skeleton.
    """
    skeleton = identify(trajectories.joint_names)
    weights = joint_map(skeleton, BODY)
    own = set(skeleton.joints)
    for name in ("nose", "neck", "head", "spine"):
        # Stand-ins (a nose made from the head's centre) would pass for directions of the face.
        if name not in own:
            weights[BODY.index(name)] = np.nan
    positions = trajectories.positions[:, person].astype(np.float64)
    mapped = apply_joint_map(weights, positions)
    sources = _sources(weights, trajectories.source[:, person])
    spread = _variances(weights, trajectories.covariance[:, person])
    points = {n: mapped[:, i] for i, n in enumerate(BODY.joints)}
    variance = {n: spread[:, i] for i, n in enumerate(BODY.joints)}
    flags = {n: np.where(np.isfinite(mapped[:, i]).all(-1), sources[:, i], 0) for i, n in enumerate(BODY.joints)}
    _between(points, flags, "pelvis", ("l_hip", "r_hip"))
    _between(points, flags, "thorax", ("l_shoulder", "r_shoulder"))
    if "spine" not in own:
        _between(points, flags, "spine", ("pelvis", "thorax"))
    _head_base(points, flags)
    for s in "lr":
        _between(points, flags, f"{s}_toe", (f"{s}_big_toe", f"{s}_small_toe"))
        _instead(points, flags, f"{s}_toe", f"{s}_big_toe", only_if_never=True)
    for name, ends in _MIDDLES.items():
        variance[name] = 0.25 * (variance[ends[0]] + variance[ends[1]])
    variance["head_base"] = variance["nose"]
    return Landmarks(points, flags, variance)


def _variances(weights: Array, covariance: NDArray[np.float32]) -> Array:
    """Variance [T, landmarks] of weighted means of independent joints, mean over the axes."""
    own = np.trace(covariance.astype(np.float64), axis1=-2, axis2=-1) / 3
    own = np.where(np.isfinite(own), own, _UNKNOWN_STD**2)
    return np.asarray(own @ (np.nan_to_num(weights) ** 2).T)


def _sources(weights: Array, source: NDArray[np.uint8]) -> NDArray[np.uint8]:
    used = np.nan_to_num(weights) != 0
    out = np.zeros((len(source), len(weights)), np.uint8)
    for kind in (Source.TRIANGULATED, Source.LIFTED, Source.INTERPOLATED):
        hit = (source == kind).astype(np.float32) @ used.T.astype(np.float32) > 0
        out[hit] = kind
    return out


def _between(points: dict[str, Array], flags: dict[str, NDArray[np.uint8]], name: str, ends: tuple[str, str]) -> None:
    points[name] = 0.5 * (points[ends[0]] + points[ends[1]])
    known = np.isfinite(points[name]).all(-1)
    flags[name] = np.where(known, np.maximum(flags[ends[0]], flags[ends[1]]), 0).astype(np.uint8)


def _instead(
    points: dict[str, Array], flags: dict[str, NDArray[np.uint8]], name: str, other: str, *, only_if_never: bool
) -> None:
    if not only_if_never or not np.isfinite(points[name]).all(-1).any():
        points[name], flags[name] = points[other], flags[other]


def _head_base(points: dict[str, Array], flags: dict[str, NDArray[np.uint8]]) -> None:
    _between(points, flags, "head_base", ("l_ear", "r_ear"))
    for other in ("neck", "nose"):
        _instead(points, flags, "head_base", other, only_if_never=True)
