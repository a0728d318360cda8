"""The trained network in use, in NumPy: no torch, and no work that does not depend on the window.

Batch normalisation is part of the layers, what depends on the conditions is one product, and a
single window goes through kernels that read every weight once for it and its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.errors import WeightsError
from mocap.lifting.normalise import CONDITION, JOINTS, NormalWindows
from mocap.lifting.settings import Architecture
from mocap.lifting.weights import Member, Weights

Array = NDArray[np.float32]

_NORM_EPS = 1e-5  # torch.nn.BatchNorm1d
_CLOSED = 50.0  # a gate that far is shut
_FEW_ROWS = 24
PER_JOINT = 6  # offset (3), log standard deviation across and along the view (2), gate of the 2D point
TYPICAL_SIZE = 0.45  # metres per unit of the normalised coordinates


Net = Callable[[NormalWindows], tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class MeanNet:
    """The mean of what several networks predict: each errs a little otherwise.

    Attributes
    ----------
    nets : tuple of Net
    """

    nets: tuple[Net, ...]

    @staticmethod
    def of(weights: Weights) -> MeanNet:
        """All networks of a weights file, on the CPU."""
        return MeanNet(tuple(FoldedNet(m) for m in weights.members))

    def __call__(self, window: NormalWindows) -> tuple[Array, Array]:
        """Positions [B, 17, 3] m in virtual axes, and log standard deviations [B, 17, 2] of the middle frame."""
        positions, log_std = zip(*(net(window) for net in self.nets), strict=True)
        return sum(positions) / np.float32(len(positions)), sum(log_std) / np.float32(len(log_std))


@dataclass(frozen=True, eq=False)
class _Layer:
    """Weight and bias of a layer.

    For few rows the weights' way from memory is what takes time: they are kept in 16 bits, with a
    scale for each output, and the float32 ones are the same numbers.
    """

    weight: Array
    bias: Array
    short: NDArray[np.int16]
    scale: Array

    @staticmethod
    def of(weight: Array, bias: Array) -> _Layer:
        """From weight [in, out] and bias [out]."""
        scale = np.maximum(np.abs(weight).max(0, initial=0), 1e-12) / np.iinfo(np.int16).max
        short = np.ascontiguousarray(np.rint(weight / scale), np.int16)
        scale = scale.astype(np.float32)
        return _Layer(short * scale, np.ascontiguousarray(bias, np.float32), short, scale)

    def __call__(self, x: Array, relu: bool = False) -> Array:
        out = np.empty((len(x), self.weight.shape[1]), np.float32)
        if len(x) <= _FEW_ROWS:
            _few_rows(x, self.short, self.scale, self.bias, relu, out)
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
    member : Member

    Raises
    ------
    WeightsError
        Arrays that do not fit the network's settings.
    """

    def __init__(self, member: Member) -> None:
        arrays, settings = member.arrays, member.network
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
                _Block(stride, _Layer.of(join.weight, nothing), _folded(arrays, f"{name}.mix"))
                for (stride, name), join in zip(names, joins, strict=True)
            ]
            told = [_scale(arrays, f"{n}.join_norm") * arrays[f"{n}.condition.weight"].T for _, n in names]
            told.append(np.zeros((CONDITION, 0), np.float32))
            shift = np.concatenate([*(j.bias for j in joins), np.zeros(0, np.float32)])
            self.told = _Layer.of(np.concatenate(told, 1), shift)
            self.head = _Layer.of(arrays["head.weight"].T, arrays["head.bias"])
            self._check()
            layers = [self.expand, self.told, self.middle, *(part for b in self.blocks for part in (b.join, b.mix))]
            self.kept = tuple((x.short, x.scale, x.bias) for x in (*layers, self.head) if x is not None)
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
        if self.expand is not None and batch * self.frames <= _FEW_ROWS:
            joined = tokens.reshape(batch * self.frames, -1)
            raw = _temporal(joined, np.concatenate([now, condition], -1), condition, self.kept, self.middle_scale)
            return decode(raw, now, window.size)
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
    gate = 1 / (1 + np.exp(np.minimum(-joints[..., 5:] - 2, _CLOSED)))
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
    bias = arrays[f"{name}_norm.bias"] - arrays[f"{name}_norm.running_mean"] * scale
    return _Layer.of((scale[:, None] * arrays[f"{name}.weight"]).T, bias)


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _few_rows(x: Array, short: NDArray[np.int16], scale: Array, bias: Array, relu: bool, out: Array) -> None:
    """Fill `out` with x @ (short * scale) + bias: four rows of weights at a time, each read once for all rows of x."""
    rows, inner = x.shape
    width = len(bias)
    w = np.empty((4, width), np.float32)
    out[:] = 0
    for k in range(0, inner, 4):
        few = min(4, inner - k)
        for q in range(4):
            for j in range(width):
                w[q, j] = np.float32(short[k + q, j]) if q < few else np.float32(0)
        for i in range(rows):
            a = x[i, k]
            b = x[i, k + 1] if few > 1 else np.float32(0)
            c = x[i, k + 2] if few > 2 else np.float32(0)
            d = x[i, k + 3] if few > 3 else np.float32(0)
            for j in range(width):
                out[i, j] += a * w[0, j] + b * w[1, j] + c * w[2, j] + d * w[3, j]
    least = np.float32(0) if relu else np.float32(-np.inf)
    for i in range(rows):
        for j in range(width):
            out[i, j] = max(out[i, j] * scale[j] + bias[j], least)


@njit(cache=True, error_model="numpy", nogil=True)
def _temporal(
    x: Array, now: Array, condition: Array, layers: tuple[tuple[NDArray[np.int16], Array, Array], ...], scale: Array
) -> Array:
    """What the head of a temporal network says of a window or two, in one go: expand, told, middle, blocks, head."""
    batch, width = len(now), len(scale)
    told = _layer(condition, layers[1], False)
    x = _layer(x, layers[0], True)
    for i in range((len(layers) - 4) // 2):
        stride = 3 if i < 2 else 1
        left = len(x) // stride
        y = _layer(x.reshape(left, stride * width), layers[3 + 2 * i], False)
        for row in range(left):
            extra = told[row * batch // left, i * width : (i + 1) * width]
            for k in range(width):
                y[row, k] = max(y[row, k] + extra[k], np.float32(0))
        y = _layer(y, layers[4 + 2 * i], True)
        for row in range(left):
            for k in range(width):
                y[row, k] += x[row * stride + stride // 2, k]
        x = y
        if i == 1:
            y = _layer(now, layers[2], False)
            for row in range(batch):
                for k in range(width):
                    x[row, k] = max(y[row, k] + x[row, k] * scale[k], np.float32(0))
    return _layer(x, layers[len(layers) - 1], False)


@njit(cache=True, error_model="numpy", nogil=True)
def _layer(x: Array, layer: tuple[NDArray[np.int16], Array, Array], relu: bool) -> Array:
    out = np.empty((len(x), len(layer[2])), np.float32)
    _few_rows(x, layer[0], layer[1], layer[2], relu, out)
    return out
