"""Render the compiled runtime: C99 in three files, from a compilation. Pure text, no file I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.compile import Compilation
from codegen.library.c_text import number_lines
from codegen.library.render_kernels import render_assembly, render_kernels
from codegen.library.render_layers import Layer, ProgramTable, make_layers, make_tables, output_name, place_name
from codegen.library.resources import render_template
from codegen.plan.plan import Placement
from codegen.program.kernel import Table
from codegen.program.program import Program


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
    """Describes a line of the arena's map in the head of ID.c: where rows lie, and in which steps."""

    place: Placement
    name: str
    made_by: str


@dataclass(frozen=True)
class Arrival:
    """Names the schedule's number for the next row of an input."""

    name: str
    of: str


@dataclass(frozen=True)
class StateLine:
    """Places a state, and says what is in it before the first inference: `fill` everywhere, or what `table` holds."""

    name: str
    offset_bytes: int
    size_bytes: int
    fill: int
    table: str


@dataclass(frozen=True)
class CoreSteps:
    """Lists the steps of one core as lines of C: {layer, row, wait}."""

    size: int
    lines: Sequence[str]


@dataclass(frozen=True)
class Commit:
    """Names the schedule's number for copying `size_bytes` of a state's new value, `of` so named, into its place."""

    name: str
    of: str
    offset_bytes: int
    source_bytes: int
    size_bytes: int


def aot_files(compiled: Compilation, identifier: str, description: Mapping[str, Any]) -> dict[str, str]:
    """Render the sources of the library: relative path -> text. `description`: what templates say of the model."""
    program, plan = compiled.program, compiled.plan
    kernels = render_kernels(program, identifier)
    layers = make_layers(compiled, identifier, kernels.names)
    states = _states(compiled, identifier)
    context = {
        **description,
        "macs": plan.macs,
        "table_bytes": program.table_bytes,
        "plan": plan,
        "memory_map": _memory_map(compiled),
        "rings": _rings(compiled, layers),
        "only_rows": _only_rows(compiled, layers),
        "whole_rings": _whole_rings(compiled, layers),
        "frames": _frames(compiled),
        "frame_offsets": [place.offset_bytes for region in ("input", "output") for place in plan.at(region)],
        "states": states,
        "arrivals": _arrivals(program),
        "commits": _commits(compiled),
        "kernels": kernels.functions,
        "arithmetic": kernels.shared,
        "layers": layers,
        "output_layer": next((i for i, stage in enumerate(program.stages) if stage.output == program.output), 0),
        "cores": _core_steps(compiled),
        "row_type": "uint8_t" if max(rows.count for rows in program.rows.values()) <= 256 else "uint16_t",
        "schedule": number_lines(np.array(plan.schedule), 24),
        "schedule_type": "uint8_t" if max(plan.schedule) < 256 else "uint16_t",
        "cuts": [stage.number for stage in program.stages if stage.output in plan.cuts],
        "tables": [
            {
                "name": found.name,
                "title": found.title,
                "c_type": f"{found.table.values.dtype.name}_t",
                "size": found.table.values.size,
                "is_aligned": found.table.is_aligned,
                "lines": number_lines(found.table.values, found.table.per_line),
            }
            for found in (*make_tables(compiled, identifier), *_initial_tables(compiled, states))
        ],
    }
    files = {"": "model.c", "_weights": "weights.c", "_traced": "traced.c"}
    sources = {f"src/{identifier}{ending}.c": f"aot/{name}.j2" for ending, name in files.items()}
    sources[f"src/{identifier}_weights.h"] = "aot/weights.h.j2"
    rendered: dict[str, str] = {path: render_template(template, **context) for path, template in sources.items()}
    assembly = render_assembly(program, identifier)
    return {**rendered, f"src/{identifier}_kernels.S": assembly} if assembly else rendered


def _core_steps(compiled: Compilation) -> tuple[CoreSteps, ...]:
    """List what each of two cores does; empty for one core."""
    plan, made = compiled.plan, Counter[int]()
    steps: tuple[list[str], list[str]] = ([], [])
    for index, core, wait in zip(plan.schedule if plan.cores else (), plan.cores, plan.waits, strict=True):
        steps[core].append(f"{{{index}, {made[index]}, {wait}}}")
        made[index] += 1
    return tuple(
        CoreSteps(len(core), [", ".join(core[at : at + 8]) for at in range(0, len(core), 8)])
        for core in (steps if plan.cores else ())
    )


def _frames(compiled: Compilation) -> tuple[Frames, ...]:
    """Place the model's only input and output, in both ways; none where there are several."""
    plan, program = compiled.plan, compiled.program
    if plan.row_input is None or plan.row_output is None:
        return ()
    whole = _ring("input", plan.placement(program.input)), _ring("output", plan.placement(program.output))
    rows = _ring("input", plan.row_input), _ring("output", plan.row_output)
    return Frames("whole_frames", *whole), Frames("passing_rows", *rows)


def _arrivals(program: Program) -> tuple[Arrival, ...]:
    if len(program.inputs) == 1:
        return (Arrival("INPUT_ROW", "the input"),)
    return tuple(Arrival(f"INPUT_{i}_ROW", f"input {i}") for i in range(len(program.inputs)))


def _states(compiled: Compilation, identifier: str) -> tuple[StateLine, ...]:
    lines = []
    for state, place in zip(compiled.program.states, compiled.plan.at("state"), strict=True):
        name, values = f"state_{place.position}", set(state.initial)
        table = "" if len(values) == 1 else f"{identifier}_{name}_initial"
        lines.append(StateLine(name, place.offset_bytes, place.size_bytes, min(values), table))
    return tuple(lines)


def _initial_tables(compiled: Compilation, states: Sequence[StateLine]) -> list[ProgramTable]:
    found = zip(compiled.program.states, states, strict=True)
    tables = [(line, np.frombuffer(state.initial, np.int8)) for state, line in found if line.table]
    return [ProgramTable(line.table, Table("initial", data, 24), f"{line.name} to begin with") for line, data in tables]


def _commits(compiled: Compilation) -> tuple[Commit, ...]:
    plan, program = compiled.plan, compiled.program
    commits = []
    for state, place in zip(program.states, plan.at("state"), strict=True):
        source = plan.placement(state.source)
        assert source.depth_rows == source.rows  # proven: a state's new value exists whole when it is taken over
        name, of = f"STATE_{place.position}", place_name(program, source)
        commits.append(Commit(name, of, place.offset_bytes, source.offset_bytes, place.size_bytes))
    return tuple(commits)


def _whole_rings(compiled: Compilation, layers: Sequence[Layer]) -> tuple[Ring, ...]:
    """List the inputs, outputs and states that layers look up rows of by their own names."""
    used = {access.place for layer in layers for access in (*layer.reads, layer.output)}
    places = [place for region in ("input", "output", "state") for place in compiled.plan.at(region)]
    named = [(place_name(compiled.program, place), place) for place in places]
    return tuple(_ring(name, place) for name, place in named if name in used)


def _ring(name: str, place: Placement) -> Ring:
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
        is_only = place.region != "state" and len(compiled.plan.at(place.region)) == 1
        name = place.region if place.region != "work" and is_only else place_name(compiled.program, place)
        lines.append(MapLine(place, name, stage.stem.upper() if stage else ""))
    return lines
