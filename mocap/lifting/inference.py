"""The trained network in use, in NumPy: no torch, and no work that does not depend on the window.

Batch normalisation is part of the layers, what depends on the conditions is one product, and a
single window goes through kernels that read every weight once for it and its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.errors import WeightsError
from mocap.lifting.normalise import CONDITION, JOINTS, NormalWindows
from mocap.lifting.settings import Architecture
from mocap.lifting.weights import Member, Weights
from mocap.skeleton import H36M_17

Array = NDArray[np.float32]

_NORM_EPS = 1e-5  # torch.nn.BatchNorm1d
_CLOSED = 50.0  # a gate that far is shut
_FEW_ROWS = 24
Short = NDArray[np.signedinteger]
PER_JOINT = 6  # offset (3), log standard deviation across and along the view (2), gate of the 2D point
TYPICAL_SIZE = 0.45  # metres per unit of the normalised coordinates


Net = Callable[[NormalWindows], tuple[Array, Array]]
_SWAP = H36M_17.mirror


@dataclass(frozen=True, eq=False)
class MeanNet:
    """The weighted mean of what several networks predict: each errs a little otherwise.

    The first one sees each window and its mirror image. What that costs a larger one is worth more
    elsewhere: the others see that of the two in which the person stands to the left, so that people
    and their mirror images are lifted alike.

    Attributes
    ----------
    nets : tuple of Net
    shares : tuple of float
        Of each network in the mean; they add up to 1.
    """

    nets: tuple[Net, ...]
    shares: tuple[float, ...]

    @staticmethod
    def of(weights: Weights, make: Callable[[Member], Net] | None = None) -> MeanNet:
        """All networks of a weights file; on the CPU unless `make` says otherwise."""
        members = weights.members
        return MeanNet(tuple((make or FoldedNet)(m) for m in members), tuple(m.share for m in members))

    def __call__(self, window: NormalWindows) -> tuple[Array, Array, Array]:
        """Of B windows: positions [B, 17, 3] m in virtual axes, log standard deviations [B, 17, 2], and `mirror`.

        The latter [B, 17, 2] is half of what changes when the first network sees the mirror image, m.
        """
        both = window.both_ways()
        positions, log_std, mirror = _of_both(*self.nets[0](both), _SWAP)
        if len(self.nets) > 1:
            count = len(positions)
            right = window.condition[:, 0] > 0
            left = both.rows(np.arange(count) + count * right)
        for net, share in zip(self.nets[1:], self.shares[1:], strict=True):
            _add_view(*net(left), right, _SWAP, share / self.shares[0], positions, log_std)
        own = np.float32(self.shares[0])
        return own * positions, own * log_std, mirror


@dataclass(frozen=True, eq=False)
class _Layer:
    """Weight and bias of a layer.

    For few rows the weights' way from memory is what takes time: they are kept in 8 or 16 bits, with a
    scale for each output, and the float32 ones are the same numbers.
    """

    weight: Array
    bias: Array
    short: Short
    scale: Array

    @staticmethod
    def of(weight: Array, bias: Array, bits: int) -> _Layer:
        """From weight [in, out] and bias [out]."""
        kind: type[np.signedinteger] = np.int8 if bits == 8 else np.int16
        scale = np.maximum(np.abs(weight).max(0, initial=0), 1e-12) / np.iinfo(kind).max
        short: Short = np.ascontiguousarray(np.rint(weight / scale)).astype(kind)
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
        arrays, settings, bits = member.arrays, member.network, member.bits
        temporal = settings.architecture is Architecture.TEMPORAL
        try:
            self.width, self.frames = settings.width, 9 if temporal else 0
            self.expand = _folded(arrays, "expand", bits) if temporal else None
            self.middle, self.middle_scale = _folded(arrays, "middle", bits), _scale(arrays, "middle_norm")
            names = [(3, f"temporal.{i}") for i in range(2 if temporal else 0)]
            names += [(1, f"blocks.{i}") for i in range(settings.blocks)]
            joins = [_folded(arrays, f"{name}.join", bits) for _, name in names]
            nothing = np.zeros(settings.width, np.float32)
            self.blocks = [
                _Block(stride, replace(join, bias=nothing), _folded(arrays, f"{name}.mix", bits))
                for (stride, name), join in zip(names, joins, strict=True)
            ]
            told = [_scale(arrays, f"{n}.join_norm") * arrays[f"{n}.condition.weight"].T for _, n in names]
            told.append(np.zeros((CONDITION, 0), np.float32))
            shift = np.concatenate([*(j.bias for j in joins), np.zeros(0, np.float32)])
            self.told = _Layer.of(np.concatenate(told, 1), shift, bits)
            self.head = _Layer.of(arrays["head.weight"].T, arrays["head.bias"], bits)
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
    positions, log_std = np.empty((len(raw), JOINTS, 3), np.float32), np.empty((len(raw), JOINTS, 2), np.float32)
    _decode(raw, now, person, positions, log_std)
    return positions, log_std


@njit(cache=True, error_model="numpy", nogil=True)
def _decode(raw: Array, now: Array, person: Array, positions: Array, log_std: Array) -> None:
    for n in range(len(raw)):
        size, log_person = TYPICAL_SIZE * np.exp(min(max(raw[n, 0], -2.0), 2.0)), np.log(person[n])
        for j in range(JOINTS):
            at = 1 + PER_JOINT * j
            gate = 1 / (1 + np.exp(min(-raw[n, at + 5] - 2, _CLOSED)))
            for a in range(3):
                positions[n, j, a] = raw[n, at + a]
                if a < 2:
                    positions[n, j, a] += size * gate * now[n, 3 * j + a]
                    log_std[n, j, a] = min(max(raw[n, at + 3 + a], -4.0), 4.0) - 3 + log_person
        for j in range(JOINTS - 1, -1, -1):
            for a in range(3):
                positions[n, j, a] = person[n] * (positions[n, j, a] - positions[n, 0, a])


@njit(cache=True, error_model="numpy", nogil=True)
def _of_both(positions: Array, log_std: Array, swap: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Mean of windows and, behind them, their mirror images; of the standard deviations; half the difference."""
    count = len(positions) // 2
    mean, spread = np.empty((count, JOINTS, 3), np.float32), np.empty((count, JOINTS, 2), np.float32)
    mirror = np.empty((count, JOINTS, 2), np.float32)
    for n in range(count):
        for j in range(JOINTS):
            own, other, half = positions[n, j], positions[count + n, swap[j]], np.empty(3)
            for a in range(3):
                sign = -1 if a == 0 else 1
                mean[n, j, a], half[a] = 0.5 * (own[a] + sign * other[a]), 0.5 * (own[a] - sign * other[a])
            mirror[n, j, 0] = np.sqrt(0.5 * (half[0] ** 2 + half[1] ** 2))
            mirror[n, j, 1] = abs(half[2])
            for a in range(2):
                both = np.exp(log_std[n, j, a]) + np.exp(log_std[count + n, swap[j], a])
                spread[n, j, a] = np.log(0.5 * both)
    return mean, spread, mirror


@njit(cache=True, error_model="numpy", nogil=True)
def _add_view(
    theirs: Array, their_log_std: Array, mirrored: NDArray[np.bool_], swap: NDArray[np.int64], factor: float,
    positions: Array, log_std: Array,
) -> None:  # fmt: skip
    """Add to the last two what a network says of each window or of its mirror image."""
    for n in range(len(positions)):
        for j in range(JOINTS):
            k = swap[j] if mirrored[n] else j
            for a in range(3):
                sign = -factor if mirrored[n] and a == 0 else factor
                positions[n, j, a] += sign * theirs[n, k, a]
            for a in range(2):
                log_std[n, j, a] += factor * their_log_std[n, k, a]


def _scale(arrays: Mapping[str, Array], norm: str) -> Array:
    """What batch normalisation multiplies with [width]."""
    return (arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + _NORM_EPS)).astype(np.float32)


def _folded(arrays: Mapping[str, Array], name: str, bits: int) -> _Layer:
    """A layer without bias and the normalisation behind it."""
    scale = _scale(arrays, f"{name}_norm")
    bias = arrays[f"{name}_norm.bias"] - arrays[f"{name}_norm.running_mean"] * scale
    return _Layer.of((scale[:, None] * arrays[f"{name}.weight"]).T, bias, bits)


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _few_rows(x: Array, short: Short, scale: Array, bias: Array, relu: bool, out: Array) -> None:
    """Fill `out` with x @ (short * scale) + bias: four rows of weights at a time, for two rows of x."""
    rows, inner = x.shape
    width, whole = len(bias), inner - inner % 4
    out[:] = 0
    for k in range(0, whole, 4):
        for i in range(0, rows - 1, 2):
            a, b, c, d = x[i, k], x[i, k + 1], x[i, k + 2], x[i, k + 3]
            e, f, g, h = x[i + 1, k], x[i + 1, k + 1], x[i + 1, k + 2], x[i + 1, k + 3]
            for j in range(width):
                p, q = np.float32(short[k, j]), np.float32(short[k + 1, j])
                r, s = np.float32(short[k + 2, j]), np.float32(short[k + 3, j])
                out[i, j] += a * p + b * q + c * r + d * s
                out[i + 1, j] += e * p + f * q + g * r + h * s
        if rows % 2:
            a, b, c, d = x[rows - 1, k], x[rows - 1, k + 1], x[rows - 1, k + 2], x[rows - 1, k + 3]
            for j in range(width):
                p, q = np.float32(short[k, j]), np.float32(short[k + 1, j])
                r, s = np.float32(short[k + 2, j]), np.float32(short[k + 3, j])
                out[rows - 1, j] += a * p + b * q + c * r + d * s
    for k in range(whole, inner):
        for i in range(rows):
            for j in range(width):
                out[i, j] += x[i, k] * np.float32(short[k, j])
    least = np.float32(0) if relu else np.float32(-np.inf)
    for i in range(rows):
        for j in range(width):
            out[i, j] = max(out[i, j] * scale[j] + bias[j], least)


@njit(cache=True, error_model="numpy", nogil=True)
def _temporal(
    x: Array, now: Array, condition: Array, layers: tuple[tuple[Short, Array, Array], ...], scale: Array
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
def _layer(x: Array, layer: tuple[Short, Array, Array], relu: bool) -> Array:
    out = np.empty((len(x), len(layer[2])), np.float32)
    _few_rows(x, layer[0], layer[1], layer[2], relu, out)
    return out
