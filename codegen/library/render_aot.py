"""The aot runtime: straight-line C99, one function for each distinct kernel. Pure text, no file I/O."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import codegen
from codegen.compile import Compiled
from codegen.library.resources import template_environment
from codegen.plan.place import ALIGNMENT_BYTES
from codegen.plan.plan import Placement, Plan
from codegen.program.program import Kernel, Program, RowRead, Stage, Table

LINE_COLUMNS = 110


def aot_files(compiled: Compiled) -> dict[str, str]:
    """Sources of the library: relative path -> text."""
    program, plan = compiled.program, compiled.plan
    names = _kernel_names(program)
    producers = {stage.output: stage.number for stage in program.stages}
    kernels = [_kernel_text(kernel, name, _users(program, kernel)) for kernel, name in names.items()]
    environment = template_environment()
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
        "kernels": kernels,
        "arithmetic": _arithmetic(program, "".join(kernels)),
        "layers": [_layer(stage, i, compiled, names) for i, stage in enumerate(program.stages)],
        "schedule": number_lines(np.array(plan.schedule), 24),
        "schedule_type": "uint8_t" if len(program.stages) < 256 else "uint16_t",
        "cut_note": _cut_note(plan),
        "tables": [table for stage in program.stages if not stage.is_again for table in _tables(stage)],
    }
    return {
        f"src/{name}": environment.get_template(f"aot/{name}.j2").render(context)
        for name in ("nanou_model.c", "nanou_weights.c", "nanou_weights.h")
    }


def traced_stages(program: Program) -> tuple[Stage, ...]:
    """Those whose rows diagnostic builds show, in the file's order: what is only a part of an operator's output, or has
    been seen, is not."""
    return tuple(sorted((s for s in program.stages if s.gives_operator), key=lambda stage: stage.operator_index))


def _kernel_names(program: Program) -> dict[Kernel, str]:
    """A unique C name for each distinct kernel, in order of first use."""
    names: dict[Kernel, str] = {}
    for kernel in (stage.kernel for stage in program.stages):
        base = f"{kernel.template}_{kernel.shape_name}"
        taken = set(names.values())
        # Same shape, other zero points or clamps: a second function, told apart by a number.
        variants = (base if n == 1 else f"{base}_v{n}" for n in range(1, len(names) + 2))
        if kernel not in names:
            names[kernel] = next(variant for variant in variants if variant not in taken)
    return names


def _arithmetic(program: Program, kernels: str) -> list[str]:
    """The shared functions that the chosen kernels call, each once."""
    environment = template_environment()
    results = " ".join(str(stage.kernel.values.get("result", "")) for stage in program.stages)
    sections = []
    if "requantize(" in results:
        sections.append(environment.get_template("aot/requantize.c.j2").render())
    for name in ("high_mul", "clamp_to_byte", "clamp_to_biased_byte", "clamp_to_int8", "clamp_to_range"):
        if f"{name}(" in results:
            sections.append(environment.get_template(f"aot/{name}.c.j2").render())
    for name in ("smlad", "smladx", "load_word"):
        if f"{name}(" in kernels:
            sections.append(environment.get_template(f"aot/{name}.c.j2").render())
    padded = [stage for stage in program.stages if "padding" in stage.kernel.values]
    for zero in sorted({int(str(stage.kernel.values["padding"])) for stage in padded}):
        row_bytes = [program.rows[s.inputs[0]].size_bytes for s in padded if s.kernel.values["padding"] == zero]
        lines = number_lines(np.full(max(row_bytes), zero & 255), 20)
        initializer = "{\n" + "".join(f"    {line},\n" for line in lines) + "}" if zero else "{0}"
        context = {
            "zero": zero,
            "name": _padding_row(zero),
            "size_bytes": max(row_bytes),
            "initializer": initializer,
        }
        sections.append(environment.get_template("aot/padding_row.c.j2").render(context))
    return sections


def _padding_row(zero: int) -> str:
    return f"padding_row_{zero & 255:02x}"


def _users(program: Program, kernel: Kernel) -> str:
    """ "Layer 4" or "Layers 10, 12 and 15"."""
    numbers = [stage.number for stage in program.stages if stage.kernel == kernel]
    return f"Layer{'s' * (len(numbers) > 1)} {_listed(numbers)}"


def _listed(numbers: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))


def _kernel_text(kernel: Kernel, name: str, used_by: str) -> str:
    padding = kernel.values.get("padding")
    padding_row = _padding_row(padding) if isinstance(padding, int) else ""
    if kernel.input.c_type != "uint8_t":
        padding_row = f"(const {kernel.input.c_type} *){padding_row}"
    parameters = [f"const {kernel.input.c_type} *const rows[]", f"{kernel.output.c_type} *output"]
    parameters += [f"const {c_type} *restrict {parameter}" for parameter, c_type in kernel.tables]
    context = {
        "signature": _call(f"KERNEL static void {name}", parameters),
        "used_by": used_by,
        "constants": "",
        "input_type": kernel.input.c_type,
        "output_type": kernel.output.c_type,
        "k": {
            **kernel.values,
            "padding_row": padding_row,
            "weight_type": dict(kernel.tables).get("weights", ""),
        },
    }
    template = template_environment().get_template(f"aot/ops/{kernel.template}.c.j2")
    text = template.render(context)
    constants = [f"{key.upper()} = {value}" for key, value in kernel.constants if isinstance(value, int)]
    used = [constant for constant in constants if re.search(rf"\b{constant.split()[0]}\b", text)]
    return template.render({**context, "constants": _wrap(used, " " * 8)})


def _parts(program: Program, stage: Stage) -> list[str]:
    """Numbers of the layers that `stage` joins to one operator of the file, where that was split."""
    alike = (s for s in program.stages if s.operator_index == stage.operator_index and s.is_again == stage.is_again)
    return [] if stage.part else [other.number for other in alike if other.part]


def _layer(stage: Stage, case: int, compiled: Compiled, names: Mapping[Kernel, str]) -> Mapping[str, Any]:
    plan, traced, parts = compiled.plan, traced_stages(compiled.program), _parts(compiled.program, stage)
    out = plan.placement(stage.output)
    sources = [plan.placement(i) for i in stage.inputs]
    notes = [f"{stage.macs:,} MACs"] if stage.macs else []
    if parts:
        notes.append(f"joins layers {_listed(parts)}, into which the operator of the file was split")
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
        "call": _call(names[stage.kernel], arguments, indent="    ") + ";",
        "row_bytes": out.row_bytes,
        "input_type": stage.kernel.input.c_type,
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
        return f"(const {stage.kernel.input.c_type} *)ring_row(arena, {ring}, 0) + y * {out.row_bytes}"
    if read.affine is None:
        return f"ring_row(arena, {ring}, {_table_name(stage, row_table(stage, read))}[y])"
    step, start = read.affine
    position = {0: "", 1: "y"}.get(step, f"y * {step}")
    offset = f" {'+' if start > 0 else '-'} {abs(start)}" if start else ""
    return f"ring_row(arena, {ring}, {position + offset if position else start})"


def row_table(stage: Stage, read: RowRead) -> Table:
    """Rows that follow no straight line, as a table of their own."""
    smallest = np.int8 if max(read.rows) < 128 else np.int16 if max(read.rows) < 32768 else np.int32
    return Table(f"source_row_{stage.reads.index(read)}", np.array(read.rows, smallest), 20)


def _row_tables(stage: Stage) -> list[Table]:
    """Each once, even if two pointers follow it."""
    reads = dict.fromkeys(read for read in stage.reads if read.affine is None and not read.is_linear)
    return [row_table(stage, read) for read in reads]


def _table_argument(stage: Stage, table: Table) -> str:
    name = _table_name(stage, table)
    return name if table.phases == 1 else f"{name} + (y % {table.phases}) * {table.values.size // table.phases}"


def _cut_note(plan: Plan) -> str:
    if not plan.cuts:
        return ""
    cuts = ", ".join(f"tensor {tensor}" for tensor in plan.cuts)
    return f"\n * Completed before anything behind it starts, so that memory is used twice: {cuts}."


def _wrap(items: Sequence[str], indent: str) -> str:
    """Items separated by commas over lines of at most LINE_COLUMNS, never broken inside an item."""
    whole = ", ".join(item.replace(" ", "\0") for item in items)
    lines = textwrap.wrap(whole, LINE_COLUMNS - len(indent), break_long_words=False, break_on_hyphens=False)
    return "\n".join(indent + line for line in lines).replace("\0", " ")


def _call(name: str, arguments: Sequence[str], indent: str = "") -> str:
    """`name(arguments)`, wrapped under the opening bracket as clang-format would; no indent on the first line."""
    lead = f"{indent}{name}("
    return name + "(" + _wrap(arguments, " " * len(lead)).lstrip() + ")"


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


def number_lines(values: npt.NDArray[np.integer], per_line: int) -> Sequence[str]:
    """Numbers right-aligned in columns, `per_line` of them on a line; words that hold two numbers in hexadecimal."""
    numbers = [f"{v:#010x}u" if values.dtype == np.uint32 else str(int(v)) for v in values]
    width = max(map(len, numbers))
    padded = [number.rjust(width) for number in numbers]
    return [", ".join(padded[i : i + per_line]) for i in range(0, len(padded), per_line)]
