"""The trained network in use, in NumPy: no torch, and no work that does not depend on the window.

Batch normalisation is part of the layers, what depends on the conditions is one product, and a
single window goes through kernels that read every weight once for it and its mirror image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.errors import WeightsError
from mocap.lifting.normalise import CONDITION, JOINTS, NormalWindows
from mocap.lifting.settings import Architecture
from mocap.lifting.weights import Weights

Array = NDArray[np.float32]

_NORM_EPS = 1e-5  # torch.nn.BatchNorm1d
_FEW_ROWS = 24  # up to here the weights' way from memory is what takes time
PER_JOINT = 6  # offset (3), log standard deviation across and along the view (2), gate of the 2D point
TYPICAL_SIZE = 0.45  # metres per unit of the normalised coordinates


@dataclass(frozen=True, eq=False)
class _Layer:
    """weight [in, out] and bias [out]."""

    weight: Array
    bias: Array

    def __call__(self, x: Array, relu: bool = False) -> Array:
        out = np.empty((len(x), self.weight.shape[1]), np.float32)
        if len(x) <= _FEW_ROWS:
            _few_rows(x, self.weight, self.bias, relu, out)
            return out
        np.matmul(x, self.weight, out=out)
        out += self.bias
        return np.maximum(out, 0, out=out) if relu else out


@dataclass(frozen=True, eq=False)
class _Block:
    """`join` joins `stride` frames (its bias comes with the conditions), `mix` goes on."""

    stride: int
    join: _Layer
    mix: _Layer


class FoldedNet:
    """A trained `LiftNet` for use.

    Parameters
    ----------
    weights : Weights

    Raises
    ------
    WeightsError
        Arrays that do not fit the network's settings.
    """

    def __init__(self, weights: Weights) -> None:
        arrays, settings = weights.arrays, weights.network
        temporal = settings.architecture is Architecture.TEMPORAL
        try:
            self.width, self.frames = settings.width, 9 if temporal else 0
            self.expand = _folded(arrays, "expand") if temporal else None
            self.middle, self.middle_scale = _folded(arrays, "middle"), _scale(arrays, "middle_norm")
            names = [(3, f"temporal.{i}") for i in range(2 if temporal else 0)]
            names += [(1, f"blocks.{i}") for i in range(settings.blocks)]
            joins = [_folded(arrays, f"{name}.join") for _, name in names]
            nothing = np.zeros(settings.width, np.float32)
            self.blocks = [
                _Block(stride, _Layer(join.weight, nothing), _folded(arrays, f"{name}.mix"))
                for (stride, name), join in zip(names, joins, strict=True)
            ]
            told = [_scale(arrays, f"{n}.join_norm") * arrays[f"{n}.condition.weight"].T for _, n in names]
            told.append(np.zeros((CONDITION, 0), np.float32))
            shift = np.concatenate([*(j.bias for j in joins), np.zeros(0, np.float32)])
            self.told = _Layer(np.ascontiguousarray(np.concatenate(told, 1), np.float32), shift)
            self.head = _Layer(np.ascontiguousarray(arrays["head.weight"].T), np.ascontiguousarray(arrays["head.bias"]))
            self._check()
        except (KeyError, ValueError) as error:
            raise WeightsError(
                "the weights do not fit their network", expected=str(settings), found=str(error)[:300],
                hint="train again: mocap train-lifter",
            ) from error  # fmt: skip

    def _check(self) -> None:
        width = self.width
        wanted = [(self.middle, 3 * JOINTS + CONDITION, width), (self.head, width, PER_JOINT * JOINTS + 1)]
        wanted += [(self.expand, 3 * 3 * JOINTS, width)] if self.expand is not None else []
        for block in self.blocks:
            wanted += [(block.join, block.stride * width, width), (block.mix, width, width)]
        wanted.append((self.told, CONDITION, width * len(self.blocks)))
        for layer, *shape in wanted:
            if list(layer.weight.shape) != shape:
                raise ValueError(f"a layer of {layer.weight.shape} instead of {tuple(shape)}")

    def __call__(self, window: NormalWindows) -> tuple[Array, Array]:
        """Positions [B, 17, 3] m in virtual axes, and log standard deviations [B, 17, 2] of the middle frame."""
        tokens, condition = window.tokens, window.condition
        batch, frames = tokens.shape[:2]
        now = tokens[:, frames // 2]
        told = self.told(condition).reshape(batch, 1, len(self.blocks), self.width)
        y = self.middle(np.concatenate([now, condition], -1))
        blocks = list(enumerate(self.blocks))
        if self.expand is not None:
            x = self.expand(tokens.reshape(batch * self.frames, -1), relu=True).reshape(batch, self.frames, -1)
            for i, block in blocks[:2]:
                x = _through(block, x, told[:, :, i])
            y += x[:, 0] * self.middle_scale
            blocks = blocks[2:]
        x = np.maximum(y, 0)[:, None]
        for i, block in blocks:
            x = _through(block, x, told[:, :, i])
        return decode(self.head(x[:, 0]), now, window.size)


def _through(block: _Block, x: Array, told: Array) -> Array:
    batch, frames, width = x.shape
    left = frames // block.stride
    y = block.join(x.reshape(batch * left, block.stride * width)).reshape(batch, left, width)
    y += told
    y = block.mix(np.maximum(y, 0, out=y).reshape(batch * left, width), relu=True).reshape(batch, left, width)
    y += x[:, block.stride // 2 :: block.stride]
    return y


def decode(raw: Array, now: Array, person: Array) -> tuple[Array, Array]:
    """Of what the head says [B, 103], the middle frame's tokens [B, 51] and the size [B]."""
    joints = raw[:, 1:].reshape(-1, JOINTS, PER_JOINT)
    size = TYPICAL_SIZE * np.exp(np.clip(raw[:, 0], -2, 2))[:, None, None]
    gate = 1 / (1 + np.exp(-joints[..., 5:] - 2))
    positions = joints[..., :3].copy()
    positions[..., :2] += size * gate * now.reshape(-1, JOINTS, 3)[..., :2]
    positions -= positions[:, :1].copy()
    person = person[:, None, None]
    return person * positions, np.clip(joints[..., 3:5], -4, 4) - 3 + np.log(person)


def _scale(arrays: Mapping[str, Array], norm: str) -> Array:
    """What batch normalisation multiplies with [width]."""
    return (arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + _NORM_EPS)).astype(np.float32)


def _folded(arrays: Mapping[str, Array], name: str) -> _Layer:
    """A layer without bias and the normalisation behind it."""
    scale = _scale(arrays, f"{name}_norm")
    weight = np.ascontiguousarray((scale[:, None] * arrays[f"{name}.weight"]).T, np.float32)
    bias = arrays[f"{name}_norm.bias"] - arrays[f"{name}_norm.running_mean"] * scale
    return _Layer(weight, np.ascontiguousarray(bias, np.float32))


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _few_rows(x: Array, weight: Array, bias: Array, relu: bool, out: Array) -> None:
    """Fill `out` with x @ weight + bias: four rows of weights at a time, each read once for all rows of x."""
    rows, inner = x.shape
    width = len(bias)
    for i in range(rows):
        out[i] = bias
    whole = inner - inner % 4
    for k in range(0, whole, 4):
        for i in range(rows):
            a, b, c, d = x[i, k], x[i, k + 1], x[i, k + 2], x[i, k + 3]
            for j in range(width):
                out[i, j] += a * weight[k, j] + b * weight[k + 1, j] + c * weight[k + 2, j] + d * weight[k + 3, j]
    for k in range(whole, inner):
        for i in range(rows):
            a = x[i, k]
            for j in range(width):
                out[i, j] += a * weight[k, j]
    if relu:
        for i in range(rows):
            for j in range(width):
                out[i, j] = max(out[i, j], np.float32(0))
