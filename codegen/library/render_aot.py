"""Render the compiled runtime: C99 in three files, from a compilation. Pure text, no file I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import codegen
from codegen.compile import Compilation
from codegen.library.c_text import number_lines
from codegen.library.render_kernels import render_kernels
from codegen.library.render_layers import Layer, make_layers, make_tables, output_name
from codegen.library.resources import render_template
from codegen.plan.plan import Placement


@dataclass(frozen=True)
class Ring:
    """Places the last `depth` rows of a tensor of `rows` rows, from `offset_bytes` of the arena on."""

    name: str
    offset_bytes: int
    row_bytes: int
    depth: int
    rows: int


@dataclass(frozen=True)
class Frames:
    """Places the model's input and output, as whole frames or as rows that come and go."""

    name: str
    input: Ring
    output: Ring


@dataclass(frozen=True)
class MapLine:
    """Describes a line of the arena's map in the head of nanou_model.c: where rows lie, and in which steps."""

    place: Placement
    name: str
    made_by: str


def aot_files(compiled: Compilation) -> dict[str, str]:
    """Render the sources of the library: relative path -> text."""
    program, plan = compiled.program, compiled.plan
    kernels = render_kernels(program)
    layers = make_layers(compiled, kernels.names)
    whole = _ring("input", plan.placement(program.input)), _ring("output", plan.placement(program.output))
    rows = _ring("input", plan.row_input), _ring("output", plan.row_output)
    context = {
        "generator": f"nanou-deploy {codegen.__version__}",
        "model": compiled.model,
        "macs": plan.macs,
        "table_bytes": program.table_bytes,
        "plan": plan,
        "memory_map": _memory_map(compiled),
        "rings": _rings(compiled, layers),
        "only_rows": _only_rows(compiled, layers),
        "frames": (Frames("whole_frames", *whole), Frames("passing_rows", *rows)),
        "kernels": kernels.functions,
        "arithmetic": kernels.shared,
        "layers": layers,
        "output_layer": next(i for i, stage in enumerate(program.stages) if stage.output == program.output),
        "schedule": number_lines(np.array(plan.schedule), 24),
        "schedule_type": "uint8_t" if max(plan.schedule) < 256 else "uint16_t",
        "cuts": [stage.number for stage in program.stages if stage.output in plan.cuts],
        "tables": [
            {
                "name": found.name,
                "title": found.title,
                "c_type": f"{found.table.values.dtype.name}_t",
                "size": found.table.values.size,
                "lines": number_lines(found.table.values, found.table.per_line),
            }
            for found in make_tables(compiled)
        ],
    }
    return {
        f"src/{name}": render_template(f"aot/{name}.j2", **context)
        for name in ("nanou_model.c", "nanou_weights.c", "nanou_weights.h")
    }


def _ring(name: str, place: Placement | None) -> Ring:
    assert place is not None  # one input and one output, so rows can come and go
    return Ring(name, place.offset_bytes, place.row_bytes, place.depth_rows, place.rows)


def _rings(compiled: Compilation, layers: Sequence[Layer]) -> tuple[Ring, ...]:
    """List the rings in which layers look up rows by number."""
    used = {access.place for layer in layers for access in (*layer.reads, layer.output) if not access.is_only}
    return tuple(ring for ring in _work_rings(compiled) if ring.name in used)


def _only_rows(compiled: Compilation, layers: Sequence[Layer]) -> tuple[Ring, ...]:
    """List the rings that hold one row at a time."""
    used = {access.place for layer in layers for access in (*layer.reads, layer.output) if access.is_only}
    return tuple(ring for ring in _work_rings(compiled) if ring.name.upper() in used)


def _work_rings(compiled: Compilation) -> list[Ring]:
    place = {place.tensor: place for place in compiled.plan.placements if place.region == "work"}
    stages = [stage for stage in compiled.program.stages if stage.output in place]
    return [_ring(output_name(stage), place[stage.output]) for stage in stages]


def _memory_map(compiled: Compilation) -> Sequence[MapLine]:
    """Describe each activation, in the order in which they come to be."""
    maker = {stage.output: stage for stage in compiled.program.stages}
    lines = []
    for place in compiled.plan.placements:
        stage = maker.get(place.tensor)
        name = output_name(stage) if stage and place.region == "work" else place.region
        lines.append(MapLine(place, name, stage.stem.upper() if stage else ""))
    return lines
