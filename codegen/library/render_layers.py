"""Describe each layer for the template: which rows it reads, where its row goes, which kernel it calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codegen.compile import Compilation
from codegen.library.c_text import listed, wrap_call
from codegen.library.golden import traced_stages
from codegen.plan.plan import Placement
from codegen.program.kernel import Kernel, Table
from codegen.program.program import Program, RowRead, Stage


@dataclass(frozen=True)
class RowAccess:
    """Says how a layer finds a row for its output row y: row `step` * y + `start`, or that which `table` has for y.

    `is_only`: one row of the tensor is kept at a time, and it is always there. `is_linear`: these are no rows but bytes
    from the beginning of the whole tensor, of type `c_type`. `frame` is "input" or "output" where the tensor is the
    model's and comes or goes by rows too, `place` the C name of its ring otherwise.
    """

    place: str
    frame: str
    is_only: bool
    is_linear: bool
    step: int
    start: int
    table: str
    c_type: str

    @property
    def follows_y(self) -> bool:
        return not self.is_only and bool(self.step or self.table)


@dataclass(frozen=True)
class Layer:
    """Describes one function of ID.c. `golden`: its place in ID_golden.c, None if untraced."""

    case: int
    name: str
    number: str
    title: str
    notes: tuple[str, ...]
    uses_frames: bool
    uses_y: bool
    input_type: str
    output_type: str
    reads: tuple[RowAccess, ...]
    output: RowAccess
    row_bytes: int
    call: str
    golden: int | None


@dataclass(frozen=True)
class ProgramTable:
    """Names a constant array of a layer; `title` says of which, for its first one."""

    name: str
    table: Table
    title: str


@dataclass(frozen=True)
class Names:
    """What layers refer to: the library's `identifier`, kernels' C names, tensors' places, stages that are traced."""

    identifier: str
    kernels: Mapping[Kernel, str]
    places: Mapping[int, Placement]
    traced: Sequence[Stage]


def make_layers(compiled: Compilation, identifier: str, kernels: Mapping[Kernel, str]) -> tuple[Layer, ...]:
    """Describe every stage, in order. `kernels`: their C names."""
    places = {place.tensor: place for place in compiled.plan.placements}
    names = Names(identifier, kernels, places, traced_stages(compiled.program))
    return tuple(_layer(compiled.program, case, names) for case in range(len(compiled.program.stages)))


def _layer(program: Program, case: int, names: Names) -> Layer:
    stage, places, traced = program.stages[case], names.places, names.traced
    reads = tuple(_read(program, stage, read, names) for read in stage.reads)
    every_row = RowRead(0, tuple(range(program.rows[stage.output].count)))
    output = _access(program, places[stage.output], every_row, "", stage.kernel.output.c_type)
    arguments = ["rows", "out", *(_argument(names.identifier, stage, table) for table in stage.tables)]
    return Layer(
        case=case,
        name=stage.label,
        number=stage.number,
        title=_title(stage),
        notes=tuple(_notes(program, stage)),
        uses_frames=any(access.frame for access in (*reads, output)),
        uses_y=any(access.follows_y for access in (*reads, output)) or any(t.phases > 1 for t in stage.tables),
        input_type=stage.kernel.row_type,
        output_type=stage.kernel.output.c_type,
        reads=reads,
        output=output,
        row_bytes=program.rows[stage.output].size_bytes,
        call=wrap_call(names.kernels[stage.kernel], arguments, indent="    "),
        golden=traced.index(stage) if stage in traced else None,
    )


def _notes(program: Program, stage: Stage) -> list[str]:
    notes = [f"{stage.macs:,} MACs"] if stage.macs else []
    alike = [s for s in program.stages if s.operator_index == stage.operator_index and s.is_again == stage.is_again]
    parts = [] if stage.part else [other.number for other in alike if other.part]
    if parts:
        notes.append(f"with layer{'s' * (len(parts) > 1)} {listed(parts)} in place of one operator of the file")
    if stage.is_again:
        notes.append("computes rows a second time, because keeping them takes more memory")
    if stage.accumulator:
        notes.append(f"sums within {stage.accumulator.low:,} .. {stage.accumulator.high:,}")
    return notes or ["no arithmetic"]


def _read(program: Program, stage: Stage, read: RowRead, names: Names) -> RowAccess:
    place = names.places[stage.inputs[read.input]]
    table = _table_name(names.identifier, stage, _row_table(stage, read)) if _needs_table(read, place) else ""
    return _access(program, place, read, table, stage.kernel.inputs[read.input].c_type)


def _access(program: Program, place: Placement, read: RowRead, table: str, c_type: str) -> RowAccess:
    is_frame = program.passes_rows and place.region in ("input", "output")
    name = "" if is_frame else place_name(program, place)
    is_only, (step, start) = _is_only(place, read), read.affine or (0, 0)
    return RowAccess(
        place=name.upper() if is_only else name,
        frame=place.region if is_frame else "",
        is_only=is_only,
        is_linear=read.is_linear,
        step=step,
        start=start,
        table=table,
        c_type=c_type,
    )


def _is_only(place: Placement, read: RowRead) -> bool:
    """Tell whether the one row that is kept is always the one to be read."""
    inside = all(0 <= row < place.rows for row in read.rows)
    return place.region == "work" and place.depth_rows == 1 and inside and not read.is_linear


def _needs_table(read: RowRead, place: Placement) -> bool:
    return read.affine is None and not _is_only(place, read)


def output_name(stage: Stage) -> str:
    """Name, in C, what holds rows of the layer's output: layer_04_output."""
    return f"{stage.prefix}{'_again' if stage.is_again else ''}_output"


def place_name(program: Program, place: Placement) -> str:
    """Name, in C, where an activation lies: layer_04_output, input_0, state_2."""
    producer = next((stage for stage in program.stages if stage.output == place.tensor), None)
    return output_name(producer) if place.region == "work" and producer else f"{place.region}_{place.position}"


def make_tables(compiled: Compilation, identifier: str) -> tuple[ProgramTable, ...]:
    """List all constant arrays, each once, even if two pointers follow it or its layer is computed again."""
    places = {place.tensor: place for place in compiled.plan.placements}
    found: dict[str, ProgramTable] = {}
    for stage in compiled.program.stages:
        followed = [read for read in stage.reads if _needs_table(read, places[stage.inputs[read.input]])]
        tables = (*stage.tables, *(_row_table(stage, read) for read in followed))
        for table in tables:
            name, is_first = _table_name(identifier, stage, table), table is tables[0] and not stage.is_again
            found.setdefault(name, ProgramTable(name, table, f"{stage.number}: {_title(stage)}" if is_first else ""))
    return tuple(found.values())


def _row_table(stage: Stage, read: RowRead) -> Table:
    """Make a table of rows that follow no straight line; two pointers to the same rows have one."""
    smallest = next(kind for kind in (np.int8, np.int16, np.int32) if max(read.rows) <= np.iinfo(kind).max)
    return Table(f"source_row_{stage.reads.index(read)}", np.array(read.rows, smallest), 20)


def _argument(identifier: str, stage: Stage, table: Table) -> str:
    name = _table_name(identifier, stage, table)
    return name if table.phases == 1 else f"{name} + (y % {table.phases}) * {table.values.size // table.phases}"


def _table_name(identifier: str, stage: Stage, table: Table) -> str:
    return f"{identifier}_{stage.prefix}_{table.name}"


def _title(stage: Stage) -> str:
    return f"{stage.stem.upper()}  {stage.summary}"
