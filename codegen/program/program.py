"""Hold the lowered model: stages that compute rows, with every constant an integer. The plan decides where and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from codegen.program.kernel import Built, Kernel, Storage, Table
from codegen.program.target import Target


@dataclass(frozen=True)
class Lowering:
    """What lowering an operator depends on besides the graph: how each activation is stored, and the processor."""

    storage: Mapping[int, Storage]
    target: Target


@dataclass(frozen=True)
class RowRead:
    """Which row of `inputs[input]` a kernel's pointer refers to, for each output row.

    Rows outside the input are absent. `is_linear`: the input has to exist completely, and `rows` are byte offsets from
    its beginning.
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
    position: int = 0  # of the output that it gives, among the operator's
    is_again: bool = False  # a twin: computes rows of an operator that another stage computes too
    is_copy: bool = False  # the same rows in another layout, for operators whose kernels take that one
    running: Running | None = None  # how its input's rows can come one by one, which the plan chooses

    @property
    def number(self) -> str:
        """The operator's number in the file; what part of it this is; whether it has been computed before."""
        output = f".{self.position}" if self.position else ""
        copy = f" {self.stem}" if self.is_copy else ""
        return f"{self.operator_index}{output}{self.part}{copy}{' again' if self.is_again else ''}"

    @property
    def prefix(self) -> str:
        """In C, of what belongs to it: layer_04, and a part's letter or an output's position behind that."""
        position, copy = f"_{self.position}" if self.position else "", "_copy" if self.is_copy else ""
        return f"layer_{self.operator_index:02d}{position}{self.part}{copy}"

    @property
    def label(self) -> str:
        """In C: layer_04_conv_2d."""
        return f"{self.prefix}_{self.stem}{'_again' if self.is_again else ''}"

    @property
    def gives_operator(self) -> bool:
        """Whether its rows are those of the operator's first output, for the first time."""
        return not self.part and not self.position and not self.is_again and not self.is_copy


@dataclass(frozen=True)
class Rows:
    """An activation as rows: `count` of them, `size_bytes` each."""

    count: int
    size_bytes: int


@dataclass(frozen=True, eq=False)
class Running:
    """Takes a stage's place, so that no window of its input has to exist whole.

    `add` makes row y of sums, or of largest or smallest values, from row y of the stage's input and its own row y - 1;
    `finish` makes the stage's rows from some of them. `rows` and `storage` are theirs; the tensor gets its number where
    they do take the place (codegen.plan.running).
    """

    add: Stage
    finish: Stage
    rows: Rows
    storage: Storage


def run_over_rows(stage: Stage, add: Built, finish: Built, *, row_bytes: int, rows: int) -> Stage:
    """Let the plan choose to have the stage's windows, of `rows` input rows each, come row by row.

    `add` reads a row of the input and one of what was made so far, of `row_bytes`; `finish` that of a whole window.
    The first row of each window is that which the stage's first pointer reads.
    """
    windows = stage.reads[0].rows
    taken = tuple(first + row for first in ((0,) if stage.reads[0].is_linear else windows) for row in range(rows))
    before = tuple(y - 1 if y % rows else -1 for y in range(len(taken)))
    adding = replace(
        stage,
        summary=f"{len(taken)} rows, one by one, to what the rows before them gave",
        reads=(RowRead(0, taken), RowRead(1, before)),
        kernel=add.kernel,
        tables=add.tables,
        accumulator=None,
        part="a",
    )
    finishing = replace(
        stage,
        summary=f"{stage.summary}, at the end of {'its' if len(windows) == 1 else 'their'} rows",
        reads=(RowRead(0, tuple(range(rows - 1, len(taken), rows))),),
        kernel=finish.kernel,
        tables=finish.tables,
        macs=0,
    )
    storage = add.kernel.output
    return replace(stage, running=Running(adding, finishing, Rows(len(taken), row_bytes), storage))


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
        """Return the number that stands in a schedule for the next row of an input, by its position."""
        return len(self.stages) + position

    def commit(self, position: int) -> int:
        """Return the number that stands in a schedule for setting a state to its source, by its position."""
        return len(self.stages) + len(self.inputs) + position

    def stage_at(self, index: int) -> Stage | None:
        """Return the stage that a schedule's number stands for; None where it is an arrival or a commit."""
        return self.stages[index] if index < len(self.stages) else None

    def state_at(self, index: int) -> State | None:
        """Return the state that a schedule's number sets to its source; None where it stands for a row."""
        return self.states[index - self.commit(0)] if index >= self.commit(0) else None

    def tensor_at(self, index: int) -> int:
        """Return the tensor whose next row a schedule's number stands for, a stage's or an input's."""
        stage = self.stage_at(index)
        return stage.output if stage else self.inputs[index - self.arrival(0)]

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


def row_axes(rank: int) -> int:
    """How many axes count rows: the first two of three or more, of two the first."""
    return 2 if rank > 2 else max(rank - 1, 0)


def rows_of(shape: tuple[int, ...], storage: Storage) -> Rows:
    """(1, height, width, channels) has `height` rows."""
    count = prod(shape[: row_axes(len(shape))])
    width, channels = (prod(shape[2:-1]), shape[-1]) if len(shape) > 2 else (1, prod(shape[-1:]))
    return Rows(count, storage.row_bytes(width, channels))
