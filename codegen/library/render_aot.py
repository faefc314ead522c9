"""The aot runtime: straight-line C99, one function for each distinct kernel. Pure text, no file I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import codegen
from codegen.compile import Compilation
from codegen.library.c_text import listed, number_lines, wrap_call
from codegen.library.golden import traced_stages
from codegen.library.render_kernels import render_kernels
from codegen.library.resources import render_template
from codegen.plan.place import ALIGNMENT_BYTES
from codegen.plan.plan import Placement, Plan
from codegen.program.kernel import Kernel, Table
from codegen.program.program import Program, RowRead, Stage


def aot_files(compiled: Compilation) -> dict[str, str]:
    """Sources of the library: relative path -> text."""
    program, plan = compiled.program, compiled.plan
    kernels = render_kernels(program)
    producers = {stage.output: stage.number for stage in program.stages}
    context = {
        "generator": f"nanou-deploy {codegen.__version__}",
        "model": compiled.model,
        "plan": plan,
        "program": program,
        "input_offset_bytes": plan.placement(program.input).offset_bytes,
        "output_offset_bytes": plan.placement(program.output).offset_bytes,
        "alignment_bytes": ALIGNMENT_BYTES,
        "macs": f"{plan.macs:,}",
        "memory_map": _memory_map(program, plan),
        "rings": [
            {"name": f"tensor_{place.tensor}", "place": place, "layer": producers[place.tensor]}
            for place in plan.placements
            if place.region == "work"
        ],
        "frames": [
            ("whole_frames", plan.placement(program.input), plan.placement(program.output)),
            ("passing_rows", plan.row_input, plan.row_output),
        ],
        "read_step": len(program.stages),
        "output_case": next(i for i, stage in enumerate(program.stages) if stage.output == program.output),
        "kernels": kernels.functions,
        "arithmetic": kernels.shared,
        "layers": [_layer(stage, i, compiled, kernels.names) for i, stage in enumerate(program.stages)],
        "schedule": number_lines(np.array(plan.schedule), 24),
        "schedule_type": "uint8_t" if max(plan.schedule) < 256 else "uint16_t",
        "cuts": plan.cuts,
        "tables": [table for stage in program.stages if not stage.is_again for table in _tables(stage)],
    }
    return {
        f"src/{name}": render_template(f"aot/{name}.j2", **context)
        for name in ("nanou_model.c", "nanou_weights.c", "nanou_weights.h")
    }


def _parts(program: Program, stage: Stage) -> list[str]:
    """Numbers of the layers that `stage` joins to one operator of the file, where that was split."""
    alike = (s for s in program.stages if s.operator_index == stage.operator_index and s.is_again == stage.is_again)
    return [] if stage.part else [other.number for other in alike if other.part]


def _layer(stage: Stage, case: int, compiled: Compilation, names: Mapping[Kernel, str]) -> Mapping[str, Any]:
    plan, traced, parts = compiled.plan, traced_stages(compiled.program), _parts(compiled.program, stage)
    out = plan.placement(stage.output)
    sources = [plan.placement(i) for i in stage.inputs]
    notes = [f"{stage.macs:,} MACs"] if stage.macs else []
    if parts:
        notes.append(f"joins layers {listed(parts)}, into which the operator of the file was split")
    if stage.is_again:
        notes.append("computes rows a second time, because keeping them takes more memory")
    if stage.accumulator:
        notes.append(f"sums within {stage.accumulator.low:,} .. {stage.accumulator.high:,}")
    touches_frames = any(place.region != "work" for place in (out, *sources))
    arguments = ["rows", "out", *(_table_argument(stage, table) for table in stage.tables)]
    return {
        "index": stage.operator_index,
        "number": stage.number,
        "case": case,
        "name": stage.label,
        "frames": "const frames_t *frames, " if touches_frames else "",
        "frames_argument": "frames, " if touches_frames else "",
        "title": _title(stage),
        "notes": "; ".join(notes) or "no arithmetic",
        "output": _ring(out),
        "reads": [_row(read, _ring(sources[read.input]), out, stage) for read in stage.reads],
        "call": wrap_call(names[stage.kernel], arguments, indent="    "),
        "row_bytes": out.row_bytes,
        "input_type": stage.kernel.row_type,
        "output_type": stage.kernel.output.c_type,
        "golden": traced.index(stage) if stage in traced else None,
        "traces": (["TRACE_BIASED" if stage.kernel.output.bias else "TRACE"] if stage in traced else []),
    }


def _ring(place: Placement) -> str:
    """C expression of a pointer to a tensor's ring, inside a layer's function."""
    return f"&tensor_{place.tensor}" if place.region == "work" else f"&frames->{place.region}"


def _row(read: RowRead, ring: str, out: Placement, stage: Stage) -> str:
    """C expression of one row pointer for output row y."""
    if read.is_linear:
        whole = f"(const {stage.kernel.inputs[read.input].c_type} *)ring_row(arena, {ring}, 0)"
        if read.affine is None:
            return f"{whole} + {_table_name(stage, row_table(stage, read))}[y]"
        step, start = read.affine
        return whole + (f" + y * {step}" if step else "") + (f" + {start}" if start else "")
    if read.affine is None:
        return f"ring_row(arena, {ring}, {_table_name(stage, row_table(stage, read))}[y])"
    step, start = read.affine
    position = {0: "", 1: "y"}.get(step, f"y * {step}")
    offset = f" {'+' if start > 0 else '-'} {abs(start)}" if start else ""
    return f"ring_row(arena, {ring}, {position + offset if position else start})"


def row_table(stage: Stage, read: RowRead) -> Table:
    """Rows that follow no straight line, as a table of their own."""
    smallest = next(t for t in (np.int8, np.int16, np.int32) if max(read.rows) <= np.iinfo(t).max)
    return Table(f"source_row_{stage.reads.index(read)}", np.array(read.rows, smallest), 20)


def _row_tables(stage: Stage) -> list[Table]:
    """Each once, even if two pointers follow it."""
    reads = dict.fromkeys(read for read in stage.reads if read.affine is None)
    return [row_table(stage, read) for read in reads]


def _table_argument(stage: Stage, table: Table) -> str:
    name = _table_name(stage, table)
    return name if table.phases == 1 else f"{name} + (y % {table.phases}) * {table.values.size // table.phases}"


def _table_name(stage: Stage, table: Table) -> str:
    return f"nanou_layer_{stage.operator_index:02d}{stage.part}_{table.name}"


def _title(stage: Stage) -> str:
    return f"{stage.stem.upper()}  {stage.summary}"


def _tables(stage: Stage) -> list[Mapping[str, Any]]:
    """What nanou_weights.c holds of a layer; the first one says which layer it is."""
    tables = [_table(stage, table) for table in (*stage.tables, *_row_tables(stage))]
    return [
        {**table, "titles": [f"{stage.number}: {_title(stage)}"] if i == 0 else []} for i, table in enumerate(tables)
    ]


def _table(stage: Stage, table: Table) -> Mapping[str, Any]:
    return {
        "name": _table_name(stage, table),
        "c_type": f"{table.values.dtype.name}_t",
        "size": table.values.size,
        "lines": number_lines(table.values, table.per_line),
    }


def _memory_map(program: Program, plan: Plan) -> Sequence[str]:
    """One line per activation: where its rows live, when, and who computes them."""
    made_by = {stage.output: f"layer {stage.number} {stage.stem.upper()}" for stage in program.stages}
    lines = []
    for p in plan.placements:
        name = f"tensor_{p.tensor}" if p.region == "work" else p.region
        where = f"{p.offset_bytes:>7} .. {p.offset_bytes + p.size_bytes:>7}"
        rows = f"{p.depth_rows:>3} x {p.row_bytes:<5} of {p.rows:>3}"
        steps = f"{max(p.first_step, 0):>5} .. {p.last_step:>5}"
        lines.append(f"{where}  {rows}  {steps}  {name:<10}  {made_by.get(p.tensor, '')}".rstrip())
    return lines
