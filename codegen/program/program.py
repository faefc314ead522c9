"""The lowered form: what is computed, with every constant an integer. The plan decides where and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.arithmetic.one_multiply_search import RequantizedChannel
from codegen.program.target import Target

# Numbers become an enum of the C function; anything else is the template's own business.
Constant = int | str | tuple[Any, ...]


@dataclass(frozen=True)
class Storage:
    """How an activation's bytes stand for its int8 values: as they are, or plus 128 as uint8.

    The latter where the zero point is -128, so that real 0 is byte 0: padding costs nothing, and neither do offsets.
    """

    bias: int  # 0 or 128

    @property
    def c_type(self) -> str:
        return "uint8_t" if self.bias else "int8_t"

    @property
    def low(self) -> int:
        return self.bias - 128

    @property
    def high(self) -> int:
        return self.bias + 127


@dataclass(frozen=True)
class Lowering:
    """What lowering an operator depends on besides the graph: how each activation is stored, and the processor."""

    storage: Mapping[int, Storage]
    target: Target


@dataclass(frozen=True)
class Kernel:
    """One C function that computes one row: a template and its constants. Stages with equal kernels share it.

    Its C signature is (const INPUT *const rows[], OUTPUT *output, tables...): one pointer for each of the stage's
    `reads`, NULL where that row lies outside the image.
    """

    template: str  # of templates/aot/ops: the stem, or a faster variant of it
    shape_name: str  # "80x4_k3x3_s1x1": makes the function's name say what it does
    constants: tuple[tuple[str, Constant], ...]
    tables: tuple[tuple[str, str], ...] = ()  # (parameter name, C type) of each table, in call order
    input: Storage = Storage(0)
    output: Storage = Storage(0)

    @property
    def values(self) -> Mapping[str, Constant]:
        return dict(self.constants)


@dataclass(frozen=True)
class RowRead:
    """Which row of `inputs[input]` a kernel's pointer refers to, for each output row.

    Rows outside the input are absent. `is_linear`: the pointer goes to the output row's own bytes in the whole input
    (RESHAPE), which has to exist completely.
    """

    input: int
    rows: tuple[int, ...]
    is_linear: bool = False

    @property
    def affine(self) -> tuple[int, int] | None:
        """(step, start) with rows[y] == step * y + start, or None."""
        step = self.rows[1] - self.rows[0] if len(self.rows) > 1 else 0
        start = self.rows[0]
        return (step, start) if all(row == step * y + start for y, row in enumerate(self.rows)) else None


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array. `values` is 1-D; `per_line` of them are printed on one line of C.

    With several `phases`, the kernel for output row y gets the (y % phases)-th part of equal size. `channels` is what
    numbers for requantization claim, channel by channel; `codegen.proof.proof` checks it.
    """

    name: str
    values: npt.NDArray[np.integer]
    per_line: int
    phases: int = 1
    channels: tuple[RequantizedChannel, ...] = ()

    @property
    def size_bytes(self) -> int:
        return self.values.nbytes


@dataclass(frozen=True)
class AccumulatorBound:
    """Smallest and largest value that any accumulator of a stage can reach, at any point of its sum."""

    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Stage:
    """One operator, ready to schedule: it produces its output row by row, in order."""

    operator_index: int
    stem: str
    summary: str  # one line for the generated comment: shapes, window, quantization
    inputs: tuple[int, ...]  # activation tensors read
    output: int
    reads: tuple[RowRead, ...]  # the kernel's row pointers
    kernel: Kernel
    tables: tuple[Table, ...] = ()
    macs: int = 0
    accumulator: AccumulatorBound | None = None
    part: str = ""  # a letter, where this gives only a part of the operator's output
    is_again: bool = False  # a twin: computes rows of an operator that another stage computes too

    @property
    def number(self) -> str:
        """The operator's number in the file; what part of it this is; whether it has been computed before."""
        return f"{self.operator_index}{self.part}{' again' if self.is_again else ''}"

    @property
    def label(self) -> str:
        """In C: layer_04_conv_2d."""
        return f"layer_{self.operator_index:02d}{self.part}_{self.stem}{'_again' if self.is_again else ''}"

    @property
    def gives_operator(self) -> bool:
        """Whether its rows are those of the operator's output, for the first time."""
        return not self.part and not self.is_again


@dataclass(frozen=True)
class Rows:
    """An activation as rows: `count` of them, `size_bytes` each."""

    count: int
    size_bytes: int


@dataclass(frozen=True)
class State:
    """A tensor that keeps its value from one inference to the next: read as `tensor`, then set to `source`."""

    tensor: int
    source: int
    initial: bytes  # as stored


@dataclass(frozen=True, eq=False)
class Program:
    """Stages in an order in which they could run, and every activation that they touch."""

    stages: tuple[Stage, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    rows: Mapping[int, Rows]
    storage: Mapping[int, Storage]
    names: Mapping[int, str]
    states: tuple[State, ...] = ()

    @property
    def input(self) -> int:
        """The first one."""
        return self.inputs[0]

    @property
    def output(self) -> int:
        """The first one."""
        return self.outputs[0]

    @property
    def kept(self) -> frozenset[int]:
        """Tensors that exist whole outside working memory: frames of inputs and outputs, and states."""
        return frozenset((*self.inputs, *self.outputs, *(state.tensor for state in self.states)))

    @property
    def passes_rows(self) -> bool:
        """Whether rows can come and go by callbacks: one input and one output."""
        return len(self.inputs) == len(self.outputs) == 1

    def arrival(self, position: int) -> int:
        """The number that stands in a schedule for the next row of an input, by its position."""
        return len(self.stages) + position

    def commit(self, position: int) -> int:
        """The number that stands in a schedule for setting a state to its source, by its position."""
        return len(self.stages) + len(self.inputs) + position

    @property
    def macs(self) -> int:
        """Of the model: what is computed twice counts once."""
        return sum(stage.macs for stage in self.stages if not stage.is_again)

    @property
    def recomputed_macs(self) -> int:
        return sum(stage.macs for stage in self.stages if stage.is_again)

    @property
    def table_bytes(self) -> int:
        return sum(table.size_bytes for stage in self.stages if not stage.is_again for table in stage.tables)


def rows_of(shape: tuple[int, ...]) -> Rows:
    """(1, height, width, channels) has `height` rows; anything else is one row."""
    if len(shape) == 4:
        return Rows(shape[1], shape[2] * shape[3])
    size_bytes = 1
    for extent in shape:
        size_bytes *= extent
    return Rows(1, size_bytes)
