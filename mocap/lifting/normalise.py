"""A window as the network sees it: one code for training and use.

The window is seen by a virtual camera that looks straight at the person: rays are turned so that
the person's centre lies on the optical axis and scaled by the person's extent. What the network
has to learn then no longer depends on where in the image the person stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.lifting.body import LONG_BONES, MEAN_BONES
from mocap.skeleton import H36M_17

Array = NDArray[np.float32]
Indices = NDArray[np.int64]
Numbers = NDArray[np.floating]

JOINTS = 17
BONES = 16
CONDITION = 3 + BONES + 1 + JOINTS  # centre of the person (2), log extent, bones, whether known, log ray noise

_FEW_JOINTS = 4  # in the middle frame; below that the whole window says where the person is
_TYPICAL_EXTENT = 0.09  # mean distance from the centre, in units of the focal length, 5 m away
_TYPICAL_NOISE, _MOST_NOISE = 0.01, 3.0  # of the extent; of the logarithm
_LEAST_COSINE = 0.05
_MEAN = np.array(MEAN_BONES)
_LONG = np.array(LONG_BONES)


@dataclass(frozen=True, eq=False)
class NormalWindows:
    """What the network takes.

    Attributes
    ----------
    tokens : float32 [B, W, 51]
        x, y, confidence of each joint, in units of the person's extent, about the person's centre.
    condition : float32 [B, CONDITION]
        Centre ray, log extent, relative bone lengths and whether they are known, and how uncertain
        each joint's ray is in the middle frame: what to believe of smooth points that were noisy.
    camera_from_virtual : float32 [B, 3, 3]
        Turns the network's axes into those of the camera.
    size : float32 [B]
        The person's size over the mean person's, from the bone lengths; 1 where these are not
        known. The network works in units of it, so that it need not learn what scale does.
    """

    tokens: Array
    condition: Array
    camera_from_virtual: Array
    size: Array

    def rows(self, chosen: Indices) -> NormalWindows:
        """Some of the windows."""
        arrays = (self.tokens, self.condition, self.camera_from_virtual, self.size)
        return NormalWindows(*(a[chosen] for a in arrays))

    def both_ways(self) -> NormalWindows:
        """The windows and, behind them, their mirror images."""
        arrays = (self.tokens, self.condition, self.camera_from_virtual, self.size)
        both = [np.empty((2 * len(a), *a.shape[1:]), np.float32) for a in arrays]
        for two, one in zip(both, arrays, strict=True):
            two[: len(one)] = one
        tokens, condition, turn, size = both
        _mirror(tokens, condition, turn, size, _SWAP_TOKENS, _SWAP_CONDITION)
        return NormalWindows(*both)


_SWAP_TOKENS = (3 * H36M_17.mirror[:, None] + np.arange(3)).ravel()
_KNOWN = 3 + BONES  # its place in the condition
_SWAP_CONDITION = np.concatenate([[0, 1, 2], 3 + H36M_17.mirror[1:] - 1, [_KNOWN], _KNOWN + 1 + H36M_17.mirror])


@njit(cache=True, error_model="numpy", nogil=True)
def _mirror(
    tokens: Array, condition: Array, turn: Array, size: Array, swap_tokens: Indices, swap_condition: Indices
) -> None:
    """Fill the second halves with the mirror images of the first."""
    count = len(tokens) // 2
    for n in range(count):
        for t in range(tokens.shape[1]):
            for k in range(tokens.shape[2]):
                value = tokens[n, t, swap_tokens[k]]
                tokens[count + n, t, k] = -value if k % 3 == 0 else value
        for k in range(condition.shape[1]):
            condition[count + n, k] = condition[n, swap_condition[k]]
        condition[count + n, 0] = -condition[n, 0]
        for i in range(3):
            for k in range(3):
                turn[count + n, i, k] = -turn[n, i, k] if (i == 0) != (k == 0) else turn[n, i, k]
        size[count + n] = size[n]


def normalise(
    rays: Numbers, confidence: Numbers, bones: Numbers, bones_known: NDArray[np.bool_], ray_std: Numbers
) -> NormalWindows:
    """Normalise windows of undistorted ray coordinates.

    Parameters
    ----------
    rays : float32 [B, W, 17, 2]
        x/z, y/z of each joint; any finite number where it is missing.
    confidence : float32 [B, W, 17]
        0..1; 0 marks a missing joint.
    bones : float32 [B, 16]
        Bone lengths in metres; any finite number where they are not known.
    bones_known : bool [B]
    ray_std : float32 [B, 17]
        Standard deviation of the middle frame's rays; infinite where a joint was not seen.
    """
    batch, frames = confidence.shape[:2]
    tokens, turn = np.empty((batch, frames, 3 * JOINTS), np.float32), np.empty((batch, 3, 3), np.float32)
    condition, size = np.empty((batch, CONDITION), np.float32), np.empty(batch, np.float32)
    rays, confidence, bones = (np.ascontiguousarray(a, np.float32) for a in (rays, confidence, bones))
    known, noise = np.ascontiguousarray(bones_known), np.ascontiguousarray(ray_std, np.float32)
    _normalise(rays, confidence, bones, known, noise, _MEAN, _LONG, tokens, condition, turn, size)
    return NormalWindows(tokens, condition, turn, size)


@njit(cache=True, error_model="numpy", nogil=True)
def _normalise(
    rays: Array, confidence: Array, bones: Array, known: NDArray[np.bool_], noise: Array, mean: NDArray[np.float64],
    long: Indices, tokens: Array, condition: Array, turn: Array, size: Array,
) -> None:  # fmt: skip
    """All windows, one after the other: the last four arrays are filled."""
    batch, frames, joints = confidence.shape
    for n in range(batch):
        middle = frames // 2
        seen = 0
        for j in range(joints):
            seen += confidence[n, middle, j] > 0
        first, last = (middle, middle + 1) if seen >= _FEW_JOINTS else (0, frames)
        x, y, extent = _centre(rays[n, first:last], confidence[n, first:last])
        R = _turn_to(x, y)
        turn[n] = R
        for t in range(frames):
            for j in range(joints):
                c = confidence[n, t, j]
                tokens[n, t, 3 * j : 3 * j + 2] = 0
                tokens[n, t, 3 * j + 2] = c
                if c > 0:
                    a, b = rays[n, t, j, 0], rays[n, t, j, 1]
                    z = max(a * R[0, 2] + b * R[1, 2] + R[2, 2], _LEAST_COSINE) * extent
                    for k in range(2):
                        value = (a * R[0, k] + b * R[1, k] + R[2, k]) / z
                        tokens[n, t, 3 * j + k] = min(20.0, max(-20.0, value))
        size[n] = 1
        if known[n]:
            own, usual = 0.0, 0.0
            for b in long:
                own += bones[n, b]
                usual += mean[b]
            size[n] = min(10.0, max(0.1, own / usual))
        condition[n, 0], condition[n, 1], condition[n, 2] = 2 * x, 2 * y, np.log(extent / _TYPICAL_EXTENT)
        for b in range(len(mean)):
            relative = 10 * (bones[n, b] / (mean[b] * size[n]) - 1)
            condition[n, 3 + b] = min(12.0, max(-8.0, relative)) if known[n] else 0.0
        condition[n, 3 + len(mean)] = known[n]
        for j in range(joints):
            relative = np.log(max(noise[n, j], 1e-6) / (extent * _TYPICAL_NOISE))
            condition[n, 4 + len(mean) + j] = min(_MOST_NOISE, max(-_MOST_NOISE, relative))


@njit(cache=True, error_model="numpy", nogil=True)
def _centre(rays: Array, confidence: Array) -> tuple[float, float, float]:
    """Mean ray of the joints [F, 17], weighted, and their mean distance from it."""
    x, y, total = 0.0, 0.0, 0.0
    for t in range(confidence.shape[0]):
        for j in range(confidence.shape[1]):
            w = confidence[t, j]
            x, y, total = x + w * rays[t, j, 0], y + w * rays[t, j, 1], total + w
    total = max(total, 1e-6)
    x, y, extent = x / total, y / total, 0.0
    for t in range(confidence.shape[0]):
        for j in range(confidence.shape[1]):
            off = np.sqrt((rays[t, j, 0] - x) ** 2 + (rays[t, j, 1] - y) ** 2)
            extent += confidence[t, j] * off
    return x, y, max(extent / total, 1e-3)


@njit(cache=True, error_model="numpy", nogil=True)
def _turn_to(x: float, y: float) -> NDArray[np.float64]:
    """The smallest rotation [3, 3] that turns the optical axis into the ray (x, y, 1)."""
    norm = np.sqrt(x * x + y * y + 1)
    a, b, c = x / norm, y / norm, 1 / norm
    k = 1 / (1 + c)
    return np.array([[1 - a * a * k, -a * b * k, a], [-a * b * k, 1 - b * b * k, b], [-a, -b, c]])
