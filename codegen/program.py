"""The lowered form: what is computed, with every constant an integer. The plan decides where and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Kernel:
    """One C function: a template and its constants. Stages whose kernels are equal share the function."""

    stem: str
    shape_name: str  # "60x80x4_k3x3_s1": makes the function's name say what it does
    constants: tuple[tuple[str, int | tuple[int, ...]], ...]
    tables: tuple[tuple[str, str], ...] = ()  # (parameter name, C type) of each table, in call order
    input_count: int = 1

    @property
    def values(self) -> Mapping[str, int | tuple[int, ...]]:
        return dict(self.constants)


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array. `values` is 1-D; `per_line` of them are printed on one line of C."""

    name: str
    values: npt.NDArray[np.integer]
    per_line: int

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
    """One operator, ready to place. `kernel` is None where the output is the input's bytes (RESHAPE)."""

    operator_index: int
    stem: str
    summary: str  # one line for the generated comment: shapes, window, quantization
    inputs: tuple[int, ...]  # activation tensors read
    output: int
    kernel: Kernel | None
    tables: tuple[Table, ...] = ()
    macs: int = 0
    # The kernel stays correct while its output starts at least this many bytes before inputs[0]; None: never.
    overlay_lead_bytes: int | None = None
    accumulator: AccumulatorBound | None = None

    @property
    def label(self) -> str:
        return f"layer_{self.operator_index:02d}_{self.stem}"


@dataclass(frozen=True, eq=False)
class Program:
    """Stages in execution order; `size_bytes` of every activation tensor that they touch."""

    stages: tuple[Stage, ...]
    input: int
    output: int
    size_bytes: Mapping[int, int]
    names: Mapping[int, str]

    @property
    def macs(self) -> int:
        return sum(stage.macs for stage in self.stages)

    @property
    def table_bytes(self) -> int:
        return sum(table.size_bytes for stage in self.stages for table in stage.tables)
