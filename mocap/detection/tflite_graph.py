"""Reading a TFLite flatbuffer into a plain list of operators and constant arrays.

The file's weights are float16, partly in TFLite's sparse layout; both are resolved here, so that
what is left is the computation itself. Source of the layout: TensorFlow Lite's schema.fbs
(`SparsityParameters`, `DimensionMetadata`) and its format converter.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tflite
from numpy.typing import NDArray

from mocap.errors import WeightsError


class Activation(enum.Enum):
    """Activation that an operator applies to its result."""

    NONE = tflite.ActivationFunctionType.NONE
    RELU = tflite.ActivationFunctionType.RELU
    RELU6 = tflite.ActivationFunctionType.RELU6


@dataclass(frozen=True)
class Conv:
    """2D convolution; `weight` [out, in/groups, kh, kw], `bias` [out]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: tuple[int, int]
    same_padding: bool
    depthwise: bool
    activation: Activation


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    same_padding: bool


@dataclass(frozen=True)
class Pad:
    """Zero padding; (before, after) along N, H, W, C."""

    amounts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Resize:
    """Bilinear resize to (height, width)."""

    size: tuple[int, int]
    align_corners: bool
    half_pixel_centers: bool


@dataclass(frozen=True)
class Reshape:
    """New NHWC-ordered shape behind the batch axis."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class DepthToSpace:
    """Blocks of channels to blocks of pixels, channel index = (row, column, channel)."""

    block: int


@dataclass(frozen=True)
class Concat:
    """Concatenation along an axis of the NHWC-ordered tensor."""

    axis: int


@dataclass(frozen=True)
class Add:
    """Elementwise sum."""

    activation: Activation


@dataclass(frozen=True)
class Sigmoid:
    """Logistic function."""


Kind = Conv | MaxPool | Pad | Resize | Reshape | DepthToSpace | Concat | Add | Sigmoid


@dataclass(frozen=True)
class Operator:
    """One step: what it computes, from which tensors, into which."""

    kind: Kind
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True)
class Graph:
    """A network: operators in order of execution.

    Attributes
    ----------
    operators : tuple of Operator
        Only those that the wanted outputs need.
    input : int
        Tensor number of the image, shape `input_shape` (N, H, W, C).
    outputs : tuple of int
        Tensor numbers of the wanted outputs.
    """

    operators: tuple[Operator, ...]
    input: int
    input_shape: tuple[int, ...]
    outputs: tuple[int, ...]


_ACTIVATIONS = {a.value: a for a in Activation}
_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype("<f4"),
    tflite.TensorType.FLOAT16: np.dtype("<f2"),
    tflite.TensorType.INT32: np.dtype("<i4"),
}
_OPERATOR_NAMES = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_OP = tflite.BuiltinOperator
T = TypeVar("T")


def read_graph(path: Path, outputs: tuple[str, ...]) -> Graph:
    """The part of a TFLite network that computes the named outputs.

    Parameters
    ----------
    path : Path
    outputs : tuple of str
        Names of output tensors, in the order wanted. Operators that none of them needs (for
        BlazePose the segmentation branch, half of the time) are left out.

    Raises
    ------
    WeightsError
        Not a TFLite file, an operator this reader does not know, or no output of that name.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError("cannot read the network file", found=str(error), where=str(path)) from error
    if content[4:8] != b"TFL3":
        raise WeightsError(
            "not a TFLite network", expected="identifier TFL3", found=repr(content[4:8]), where=str(path)
        )
    return _Reader(tflite.Model.GetRootAsModel(content, 0), str(path)).graph(outputs)


class _Reader:
    def __init__(self, model: tflite.Model, where: str) -> None:
        self.model, self.where = model, where
        self.subgraph = model.Subgraphs(0)
        self.constants: dict[int, NDArray[np.generic]] = {}

    def graph(self, outputs: tuple[str, ...]) -> Graph:
        operators = []
        for k in range(self.subgraph.OperatorsLength()):
            op = self.subgraph.Operators(k)
            code = self.model.OperatorCodes(op.OpcodeIndex())
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            inputs, output = [int(i) for i in op.InputsAsNumpy()], int(op.OutputsAsNumpy()[0])
            if builtin in (_OP.DEQUANTIZE, _OP.DENSIFY):
                self.constants[output] = self._constant(inputs[0])
                continue
            kind, used = self._operator(op, builtin, inputs)
            operators.append(Operator(kind, used, output))
        names = {self.subgraph.Tensors(int(i)).Name().decode(): int(i) for i in self.subgraph.OutputsAsNumpy()}
        missing = [n for n in outputs if n not in names]
        if missing:
            raise WeightsError(
                "the network lacks an output", expected=", ".join(outputs), found=", ".join(names), where=self.where
            )
        wanted = tuple(names[n] for n in outputs)
        first = int(self.subgraph.InputsAsNumpy()[0])
        shape = tuple(int(n) for n in self.subgraph.Tensors(first).ShapeAsNumpy())
        return Graph(_needed(operators, wanted), first, shape, wanted)

    def _operator(self, op: tflite.Operator, builtin: int, inputs: list[int]) -> tuple[Kind, tuple[int, ...]]:
        """What an operator computes and which of its inputs are not constants."""
        if builtin in (_OP.CONV_2D, _OP.DEPTHWISE_CONV_2D):
            return self._conv(op, inputs, depthwise=builtin == _OP.DEPTHWISE_CONV_2D), (inputs[0],)
        if builtin == _OP.ADD:
            options = _options(op, tflite.AddOptions())
            return Add(self._activation(options.FusedActivationFunction())), tuple(inputs)
        if builtin == _OP.CONCATENATION:
            return Concat(int(_options(op, tflite.ConcatenationOptions()).Axis())), tuple(inputs)
        single = self._single_input(op, builtin, inputs)
        if single is None:
            raise WeightsError(
                f"the network uses an operator this reader does not know: {_OPERATOR_NAMES.get(builtin, builtin)}",
                where=self.where,
                hint="mocap models pull blazepose",
            )
        return single, (inputs[0],)

    def _single_input(self, op: tflite.Operator, builtin: int, inputs: list[int]) -> Kind | None:
        if builtin == _OP.PAD:
            rows = self._constant(inputs[1]).astype(int).tolist()
            return Pad(tuple((before, after) for before, after in rows))
        if builtin == _OP.MAX_POOL_2D:
            pool = _options(op, tflite.Pool2DOptions())
            self._require_plain(pool.FusedActivationFunction())
            return MaxPool(
                (pool.FilterHeight(), pool.FilterWidth()), (pool.StrideH(), pool.StrideW()),
                pool.Padding() == tflite.Padding.SAME,
            )  # fmt: skip
        if builtin == _OP.RESIZE_BILINEAR:
            options = _options(op, tflite.ResizeBilinearOptions())
            height, width = self._constant(inputs[1]).astype(int).tolist()
            return Resize((height, width), bool(options.AlignCorners()), bool(options.HalfPixelCenters()))
        if builtin == _OP.RESHAPE:
            return Reshape(tuple(self._constant(inputs[1]).astype(int).tolist()[1:]))
        if builtin == _OP.DEPTH_TO_SPACE:
            return DepthToSpace(int(_options(op, tflite.DepthToSpaceOptions()).BlockSize()))
        return Sigmoid() if builtin == _OP.LOGISTIC else None

    def _conv(self, op: tflite.Operator, inputs: list[int], *, depthwise: bool) -> Conv:
        options = _options(op, tflite.DepthwiseConv2DOptions() if depthwise else tflite.Conv2DOptions())
        if options.DilationHFactor() != 1 or options.DilationWFactor() != 1:
            raise WeightsError("the network has a dilated convolution", expected="dilation 1", where=self.where)
        kernel = self._constant(inputs[1]).astype(np.float32)
        # Stored [out, kh, kw, in], depthwise [1, kh, kw, out]; torch has [out, in, kh, kw].
        kernel = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(0, 3, 1, 2)
        return Conv(
            weight=np.ascontiguousarray(kernel),
            bias=self._constant(inputs[2]).astype(np.float32),
            stride=(options.StrideH(), options.StrideW()),
            same_padding=options.Padding() == tflite.Padding.SAME,
            depthwise=depthwise,
            activation=self._activation(options.FusedActivationFunction()),
        )

    def _activation(self, code: int) -> Activation:
        if code not in _ACTIVATIONS:
            raise WeightsError(f"the network uses an unknown activation ({code})", where=self.where)
        return _ACTIVATIONS[code]

    def _require_plain(self, code: int) -> None:
        if self._activation(code) is not Activation.NONE:
            raise WeightsError("the network has an activation behind a pooling", where=self.where)

    def _constant(self, index: int) -> NDArray[np.generic]:
        """The value of a constant tensor, dense."""
        if index in self.constants:
            return self.constants[index]
        tensor = self.subgraph.Tensors(index)
        buffer = self.model.Buffers(tensor.Buffer())
        if not buffer.DataLength() or tensor.Type() not in _DTYPES:
            raise WeightsError("the network computes what should be a constant", where=f"{self.where}, tensor {index}")
        values = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype=_DTYPES[tensor.Type()])
        shape = [int(n) for n in tensor.ShapeAsNumpy()] if tensor.ShapeLength() else []
        sparsity = tensor.Sparsity()
        return values.reshape(shape) if sparsity is None else _densify(values, shape, sparsity)


def _options(op: tflite.Operator, options: T) -> T:
    """The operator's options, read as the given table type."""
    table = op.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)  # type: ignore[attr-defined]
    return options


def _needed(operators: list[Operator], outputs: tuple[int, ...]) -> tuple[Operator, ...]:
    """The operators that the outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for operator in reversed(operators):
        if operator.output in wanted:
            wanted.update(operator.inputs)
            kept.append(operator)
    return tuple(reversed(kept))


def _densify(values: NDArray[np.generic], shape: list[int], sparsity: tflite.SparsityParameters) -> NDArray[np.generic]:
    """Undo TFLite's sparse storage.

    Dimensions are stored in traversal order, block dimensions last; each is dense or compressed
    (segments and indices, as in CSR). Going down the dimensions, every stored path keeps its
    coordinates; the paths that arrive at the end are the stored values, in order.
    """
    order = sparsity.TraversalOrderAsNumpy().astype(int)
    block_map = sparsity.BlockMapAsNumpy().astype(int) if sparsity.BlockMapLength() else np.zeros(0, int)
    paths = np.zeros((1, 0), dtype=np.int64)
    nodes = np.zeros(1, dtype=np.int64)
    for level in range(sparsity.DimMetadataLength()):
        meta = sparsity.DimMetadata(level)
        if meta.Format() == tflite.DimensionType.DENSE:
            size = meta.DenseSize()
            index = np.tile(np.arange(size), len(nodes))
            parent = np.repeat(np.arange(len(nodes)), size)
            nodes = nodes[parent] * size + index
        else:
            edges, stored = _index_vector(meta, segments=True), _index_vector(meta, segments=False)
            counts = edges[nodes + 1] - edges[nodes]
            parent = np.repeat(np.arange(len(nodes)), counts)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            nodes = edges[nodes[parent]] + within
            index = stored[nodes]
        paths = np.column_stack([paths[parent], index])
    rank = len(shape)
    coordinates = np.zeros((len(paths), rank), dtype=np.int64)
    block_sizes = {
        int(order[rank + k]) - rank: sparsity.DimMetadata(rank + k).DenseSize() for k in range(len(block_map))
    }
    for level, dimension in enumerate(order):
        if dimension < rank:
            scale = next((block_sizes[k] for k in block_sizes if block_map[k] == dimension), 1)
            coordinates[:, dimension] += paths[:, level] * scale
        else:
            coordinates[:, block_map[dimension - rank]] += paths[:, level]
    dense = np.zeros(shape, dtype=values.dtype)
    dense[tuple(coordinates.T)] = values
    return dense


def _index_vector(meta: tflite.DimensionMetadata, *, segments: bool) -> NDArray[np.int64]:
    """Segments or indices of a compressed dimension, whichever integer width they have."""
    kind = meta.ArraySegmentsType() if segments else meta.ArrayIndicesType()
    table = meta.ArraySegments() if segments else meta.ArrayIndices()
    readers = {
        tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
        tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
        tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
    }
    vector = readers[kind]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy().astype(np.int64)
