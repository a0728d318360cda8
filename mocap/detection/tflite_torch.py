"""TFLite networks as torch modules.

Tensors are NCHW in channels-last memory, which is TFLite's NHWC order byte for byte: reshapes and
depth-to-space of the file mean the same here. Weights and results agree with the TFLite runtime
to float rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from mocap.detection.tflite_graph import (
    Activation,
    Add,
    Concat,
    Conv,
    DepthToSpace,
    Graph,
    Kind,
    MaxPool,
    Operator,
    Pad,
    Reshape,
    Resize,
    Sigmoid,
)
from mocap.errors import WeightsError

# More at once does not fit the processor's caches: measured, 16 crops take twice as long each as 4.
_CPU_BATCH = 4


class TFLiteNetwork(nn.Module):
    """A TFLite graph as a torch module.

    Parameters
    ----------
    graph : Graph
        As `read_graph` gives it.

    Notes
    -----
    ``forward(images)`` takes float32 [N, H, W, C] of the size the network was made for and returns
    the outputs as float32 tensors with TFLite's axis order (batch first).
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.input, self.outputs, self.input_size = graph.input, graph.outputs, graph.input_shape[1:3]
        operators = _fold_padding(graph.operators)
        self.layers = nn.ModuleList([_layer(op.kind) for op in operators])
        self.wiring = [(op.inputs, op.output) for op in operators]
        self.last_use = _last_use(self.wiring, graph.outputs)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Outputs of the network, in the order they were asked for."""
        if images.device.type != "cpu" or len(images) <= _CPU_BATCH:
            return self._run(images)
        parts = [self._run(part) for part in images.split(_CPU_BATCH)]
        return tuple(torch.cat(outputs) for outputs in zip(*parts, strict=True))

    def _run(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = {self.input: images.permute(0, 3, 1, 2)}
        for layer, (inputs, output), done in zip(self.layers, self.wiring, self.last_use, strict=True):
            values[output] = layer(*[values[i] for i in inputs])
            for index in done:
                del values[index]
        return tuple(_nhwc(values[i]) for i in self.outputs)


def _nhwc(value: torch.Tensor) -> torch.Tensor:
    return value.permute(0, 2, 3, 1) if value.ndim == 4 else value


def _last_use(wiring: list[tuple[tuple[int, ...], int]], outputs: tuple[int, ...]) -> list[list[int]]:
    """Per step, the tensors that nothing needs afterwards."""
    last = {index: step for step, (inputs, _) in enumerate(wiring) for index in inputs}
    return [sorted({i for i in inputs if last[i] == step} - set(outputs)) for step, (inputs, _) in enumerate(wiring)]


def _fold_padding(operators: tuple[Operator, ...]) -> list[_Step]:
    """Merge a symmetric zero padding into the convolutions behind it."""
    pads = {op.output: op for op in operators if isinstance(op.kind, Pad)}
    steps: list[_Step] = []
    for op in operators:
        pad = pads.get(op.inputs[0])
        if pad is None or not isinstance(op.kind, Conv):
            steps.append(_Step(op.kind, op.inputs, op.output))
            continue
        (_, _), (top, bottom), (left, right), channels = pad.kind.amounts  # type: ignore[union-attr]
        if op.kind.same_padding or (top, left, channels) != (bottom, right, (0, 0)):
            steps.append(_Step(op.kind, op.inputs, op.output))
            continue
        steps.append(_Step(_PaddedConv(op.kind, (top, left)), pad.inputs, op.output))
    used = {i for step in steps for i in step.inputs}
    return [s for s in steps if not (isinstance(s.kind, Pad) and s.output not in used)]


class _PaddedConv:
    """A convolution with the symmetric padding (rows, columns) in front of it."""

    def __init__(self, conv: Conv, padding: tuple[int, int]) -> None:
        self.conv, self.padding = conv, padding


class _Step:
    """An operator after folding."""

    def __init__(self, kind: Kind | _PaddedConv, inputs: tuple[int, ...], output: int) -> None:
        self.kind, self.inputs, self.output = kind, inputs, output


def _layer(kind: Kind | _PaddedConv) -> nn.Module:
    """The torch module of an operator."""
    if isinstance(kind, _PaddedConv):
        return _ConvLayer(kind.conv, kind.padding)
    if isinstance(kind, Conv):
        return _ConvLayer(kind, None)
    return nn.Sigmoid() if isinstance(kind, Sigmoid) else _LAYERS[type(kind)](kind)


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TFLite's SAME padding before and after: the odd one goes behind."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _activate(value: torch.Tensor, activation: Activation) -> torch.Tensor:
    if activation is Activation.RELU6:
        return functional.hardtanh_(value, 0.0, 6.0)
    return functional.relu_(value) if activation is Activation.RELU else value


_ONEDNN: dict[Activation, tuple[str, list[float]]] = {
    Activation.NONE: ("none", []),
    Activation.RELU: ("relu", []),
    Activation.RELU6: ("hardtanh", [0.0, 6.0]),
}


@functools.cache
def fused_convolutions() -> bool:
    """Whether this build of torch has oneDNN's fused convolutions (which its compiler emits) and they are right.

    Called directly, since `functional.conv2d` takes a slower path for one thread and small batches.
    """
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 8, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(16, 8, 1, 1, generator=generator), torch.randn(16, generator=generator)
    try:
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, [0, 0], [1, 1], [1, 1], 1, [2, 8, 6, 6])
        found = torch.ops.mkldnn._convolution_pointwise(
            value, packed, bias, [0, 0], [1, 1], [1, 1], 1, *_ONEDNN[Activation.RELU6], ""
        )
    except (AttributeError, RuntimeError):  # NotImplementedError is a RuntimeError
        return False
    expected = functional.conv2d(value, weight, bias).clamp(0, 6)
    return bool(torch.allclose(found, expected, atol=1e-4))


class _ConvLayer(nn.Module):
    def __init__(self, kind: Conv, padding: tuple[int, int] | None) -> None:
        super().__init__()
        weight = torch.from_numpy(kind.weight.copy()).to(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(torch.from_numpy(kind.bias.copy()), requires_grad=False)
        self.stride, self.activation = list(kind.stride), kind.activation
        self.groups = kind.weight.shape[0] if kind.depthwise else 1
        kernel = kind.weight.shape[2:]
        # SAME at stride 1 with an odd kernel is a symmetric padding, which torch does itself.
        symmetric = kind.same_padding and kind.stride == (1, 1) and kernel[0] % 2 == 1 and kernel[1] % 2 == 1
        self.padding = list(padding or ((kernel[0] // 2, kernel[1] // 2) if symmetric else (0, 0)))
        self.explicit = kind.same_padding and not symmetric
        self._packed: dict[tuple[int, ...], torch.Tensor] = {}

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        if self.explicit:
            top, bottom = _same_padding(value.shape[2], self.weight.shape[2], self.stride[0])
            left, right = _same_padding(value.shape[3], self.weight.shape[3], self.stride[1])
            value = functional.pad(value, (left, right, top, bottom))
        if value.device.type == "cpu" and value.dtype == torch.float32 and fused_convolutions():
            return self._fused(value)
        value = functional.conv2d(value, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return _activate(value, self.activation)

    def _fused(self, value: torch.Tensor) -> torch.Tensor:
        """Convolution and activation in one pass of oneDNN, on weights laid out for this shape."""
        shape = tuple(value.shape)
        if shape not in self._packed:
            self._packed[shape] = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, [1, 1], self.groups, list(shape)
            )
        name, scalars = _ONEDNN[self.activation]
        return torch.ops.mkldnn._convolution_pointwise(
            value, self._packed[shape], self.bias, self.padding, self.stride, [1, 1], self.groups, name, scalars, ""
        )


class _PoolLayer(nn.Module):
    def __init__(self, kind: MaxPool) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        if self.kind.same_padding:
            top, bottom = _same_padding(value.shape[2], self.kind.kernel[0], self.kind.stride[0])
            left, right = _same_padding(value.shape[3], self.kind.kernel[1], self.kind.stride[1])
            value = functional.pad(value, (left, right, top, bottom), value=float("-inf"))
        return functional.max_pool2d(value, self.kind.kernel, self.kind.stride)


class _PadLayer(nn.Module):
    def __init__(self, kind: Pad) -> None:
        super().__init__()
        batch, rows, columns, channels = kind.amounts
        if batch != (0, 0):
            raise WeightsError("the network pads its batch axis", found=str(kind.amounts))
        self.amounts = (*columns, *rows, *channels)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return functional.pad(value, self.amounts)


class _ResizeLayer(nn.Module):
    def __init__(self, kind: Resize) -> None:
        super().__init__()
        if kind.half_pixel_centers == kind.align_corners:
            raise WeightsError("the network resizes in a way torch does not", expected="half-pixel centres or corners")
        self.kind = kind

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(value, self.kind.size, mode="bilinear", align_corners=self.kind.align_corners)


class _ReshapeLayer(nn.Module):
    def __init__(self, kind: Reshape) -> None:
        super().__init__()
        self.shape = kind.shape

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return _nhwc(value).reshape(value.shape[0], *self.shape)


class _DepthToSpaceLayer(nn.Module):
    def __init__(self, kind: DepthToSpace) -> None:
        super().__init__()
        self.block = kind.block

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = value.shape
        block, depth = self.block, channels // self.block**2
        blocks = value.permute(0, 2, 3, 1).reshape(batch, height, width, block, block, depth)
        rows = blocks.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * block, width * block, depth)
        return rows.permute(0, 3, 1, 2)


class _ConcatLayer(nn.Module):
    def __init__(self, kind: Concat) -> None:
        super().__init__()
        self.axis = kind.axis

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        axis = self.axis % values[0].ndim
        return torch.cat(values, (0, 2, 3, 1)[axis] if values[0].ndim == 4 else axis)


class _AddLayer(nn.Module):
    def __init__(self, kind: Add) -> None:
        super().__init__()
        self.activation = kind.activation

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return _activate(first + second, self.activation)


_LAYERS: dict[type, Callable[..., nn.Module]] = {
    MaxPool: _PoolLayer,
    Pad: _PadLayer,
    Resize: _ResizeLayer,
    Reshape: _ReshapeLayer,
    DepthToSpace: _DepthToSpaceLayer,
    Concat: _ConcatLayer,
    Add: _AddLayer,
}
