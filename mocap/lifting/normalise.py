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

    def both_ways(self) -> NormalWindows:
        """The windows and, behind them, their mirror images."""
        tokens, condition = self.tokens[:, :, _SWAP_TOKENS] * _TOKEN_SIGNS, self.condition[:, _SWAP_CONDITION]
        pairs = (
            (self.tokens, tokens), (self.condition, condition * _CONDITION_SIGNS),
            (self.camera_from_virtual, self.camera_from_virtual * _TURN_SIGNS), (self.size, self.size),
        )  # fmt: skip
        return NormalWindows(*(np.concatenate(pair) for pair in pairs))


_SWAP_TOKENS = (3 * H36M_17.mirror[:, None] + np.arange(3)).ravel()
_TOKEN_SIGNS = np.tile(np.array([-1, 1, 1], np.float32), JOINTS)
_KNOWN = 3 + BONES  # its place in the condition
_SWAP_CONDITION = np.concatenate([[0, 1, 2], 3 + H36M_17.mirror[1:] - 1, [_KNOWN], _KNOWN + 1 + H36M_17.mirror])
_CONDITION_SIGNS = np.where(np.arange(CONDITION) == 0, -1, 1).astype(np.float32)
_TURN_SIGNS = np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]], np.float32)


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
