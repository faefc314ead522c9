"""The graph as TFLite states it: operators, tensors, quantization. Data only; no code generation here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


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
    data: npt.NDArray[np.generic] | None = None

    @property
    def size_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

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


@dataclass(frozen=True)
class Graph:
    """A verified model: operators in execution order over `tensors`, one int8 input and one int8 output."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def tensor(self, index: int) -> Tensor:
        return self.tensors[index]

    @property
    def input(self) -> Tensor:
        return self.tensors[self.inputs[0]]

    @property
    def output(self) -> Tensor:
        return self.tensors[self.outputs[0]]
