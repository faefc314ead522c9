"""The graph as TFLite states it: operators, tensors, quantization. Data only; no code generation here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

MAX_ACTIVATION_BYTES = 64 << 20  # of one model: more than any chip that these models are for has


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor. `data` is None for activations.

    `scales` is float32, of one element (per tensor) or one per channel along `quantized_dimension`.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str  # "int8", "int32", ... as NumPy names them
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    quantized_dimension: int = 0
    is_variable: bool = False  # keeps its value from one inference to the next
    data: npt.NDArray[np.generic] | None = None

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def scale(self) -> float:
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        return self.zero_points[0]


@dataclass(frozen=True)
class Operator:
    """One operator. `stem` is its name everywhere in this project ("conv_2d"); -1 marks an absent input.

    `index` counts the operators of the file. What a rewriting makes of one has its index too, and a letter in `part`
    unless it gives the operator's output.
    """

    index: int
    stem: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float | bool | str]
    part: str = ""

    @property
    def label(self) -> str:
        return f"operator {self.index} ({self.stem.upper()})"


@dataclass(frozen=True, eq=False)
class State:
    """What the model keeps from one inference to the next: `tensor` is read, and set to `source` at the end."""

    tensor: int
    source: int
    initial: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Graph:
    """A model: operators in execution order over `tensors`.

    `file_inputs` and `file_outputs` are those that the file states, where `inputs` and `outputs` lie behind or before
    a conversion from or to another type (codegen.canonicalize.take_off_borders). Where that is no QUANTIZE, DEQUANTIZE
    or CAST, `conversions` has what an output of the file is for each byte, -128 .. 127, by its index
    (codegen.canonicalize.tabulate).
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    states: tuple[State, ...] = ()
    file_inputs: tuple[int, ...] = ()
    file_outputs: tuple[int, ...] = ()
    initial_values: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)  # of variables, by name
    conversions: Mapping[int, npt.NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Without conversions, the file's inputs and outputs are the graph's."""
        for name, value in (("file_inputs", self.inputs), ("file_outputs", self.outputs)):
            object.__setattr__(self, name, getattr(self, name) or value)

    def tensor(self, index: int) -> Tensor:
        return self.tensors[index]

    @property
    def stems(self) -> frozenset[str]:
        return frozenset(operator.stem for operator in self.operators)

    @property
    def input_bytes(self) -> int:
        """Of all inputs."""
        return sum(self.tensor(index).size_bytes for index in self.inputs)

    @property
    def output_bytes(self) -> int:
        """Of all outputs."""
        return sum(self.tensor(index).size_bytes for index in self.outputs)

    def split_inputs(self, frames: npt.NDArray[np.int8]) -> tuple[npt.NDArray[np.int8], ...]:
        """int8 (N, input_bytes), inputs one behind the other -> each one, (N, *its shape)."""
        return split_tensors(frames, [self.tensor(index) for index in self.inputs])

    def shape_outputs(self, outputs: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """uint8 (N, output_bytes) -> int8 (N, *shape[1:]) of a single int8 output of batch 1, else as they are."""
        if len(self.outputs) > 1 or self.output.dtype != "int8" or self.output.shape[:1] != (1,):
            return outputs
        return outputs.view(np.int8).reshape(len(outputs), *self.output.shape[1:])

    @property
    def input(self) -> Tensor:
        return self.tensors[self.inputs[0]]

    @property
    def output(self) -> Tensor:
        return self.tensors[self.outputs[0]]


def split_tensors(cases: npt.NDArray[Any], tensors: Sequence[Tensor]) -> tuple[npt.NDArray[Any], ...]:
    """Bytes (N, of all tensors, one behind the other) -> each tensor in its type, (N, *its shape)."""
    ends = np.cumsum([tensor.size_bytes for tensor in tensors])[:-1]
    return tuple(
        np.ascontiguousarray(part).view(tensor.dtype).reshape(len(cases), *tensor.shape)
        for part, tensor in zip(np.split(cases, ends, axis=1), tensors, strict=True)
    )


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of an image (1, height, width, channels); of any other shape rows, 1 and values."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    split = 2 if len(shape) > 2 else len(shape) - 1
    return prod(shape[:split]), 1, prod(shape[split:])
