"""Compiled model -> what holds for every input: ranges of sums, exactness, index ranges, memory, stack.

Each proof starts from what is emitted (tables, kernels' constants, the plan, the text of the C) and computes anew what
must hold; nothing is taken over from the stage that made it so. Failures are collected, not raised: they would be
defects of the compiler, and one wants to see them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.certify import Certificate, certify
from codegen.compile import Compiled
from codegen.plan.plan import Plan, check_plan
from codegen.program.program import AccumulatorBound, Program, Stage
from codegen.proof.access_bounds import Extents, Present, extents_of
from codegen.proof.stack_bound import STACK_MODELS, read_functions, stack_bytes


@dataclass(frozen=True)
class ArrayProof:
    """Of one array that a kernel gets: elements from its start that any call touches, elements that are there."""

    name: str
    touched: int
    available: int


@dataclass(frozen=True)
class LayerProof:
    """`values`: what the int32 sums of the kernel can hold, at any point; `accumulator`: the same without the factors.

    `calls` is the number of kernel calls in one inference, which `arrays` covers.
    """

    number: str
    op: str
    accumulator: AccumulatorBound | None
    values: AccumulatorBound | None
    channels: tuple[Certificate, ...]
    calls: int
    arrays: tuple[ArrayProof, ...]
    failures: tuple[str, ...]

    @property
    def one_multiply(self) -> int:
        return sum(channel.form == "one multiply" for channel in self.channels)

    @property
    def compared(self) -> int:
        return sum(channel.compared for channel in self.channels)


@dataclass(frozen=True)
class MemoryProof:
    """`steps` of the schedule were executed on tags, with whole frames and with passing rows, and `rows_read` rows
    compared with what was meant. At `peak_step` most bytes are wanted at once; `peak_tensors` are what they hold."""

    steps: int
    rows_read: int
    working_bytes: int
    peak_bytes: int
    peak_step: int
    peak_stage: str
    peak_tensors: tuple[int, ...]
    failures: tuple[str, ...]


@dataclass(frozen=True)
class StackProof:
    """The most stack that nanou_init, nanou_invoke and nanou_invoke_rows take, callbacks not counted."""

    processor: str
    condition: str  # of the C preprocessor; empty for any other
    size_bytes: int


@dataclass(frozen=True)
class Proofs:
    layers: tuple[LayerProof, ...]
    memory: MemoryProof
    stack: tuple[StackProof, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        return (*(failure for layer in self.layers for failure in layer.failures), *self.memory.failures)

    @property
    def channels(self) -> int:
        return sum(len(layer.channels) for layer in self.layers)

    @property
    def one_multiply(self) -> int:
        return sum(layer.one_multiply for layer in self.layers)

    @property
    def compared(self) -> int:
        return sum(layer.compared for layer in self.layers)

    @property
    def calls(self) -> int:
        return sum(layer.calls for layer in self.layers)

    @property
    def values(self) -> AccumulatorBound:
        """Over all layers that add."""
        known = [layer.values for layer in self.layers if layer.values]
        return AccumulatorBound(min((v.low for v in known), default=0), max((v.high for v in known), default=0))


def prove(compiled: Compiled, sources: Mapping[str, str]) -> Proofs:
    """`sources`: the C of `aot_files`. Raises ValueError where its functions call themselves."""
    program, plan = compiled.program, compiled.plan
    functions = read_functions(sources["src/nanou_model.c"])
    return Proofs(
        tuple(_layer(program, plan, i, stage) for i, stage in enumerate(program.stages)),
        _memory(program, plan),
        tuple(StackProof(m.name, m.condition, stack_bytes(functions, m)) for m in STACK_MODELS),
    )


def _layer(program: Program, plan: Plan, index: int, stage: Stage) -> LayerProof:
    channels = tuple(certify(channel) for table in stage.tables for channel in table.channels)
    failures = [f"{stage.label}: channel {i}: {c.failure}" for i, c in enumerate(channels) if c.failure]
    if stage.accumulator and not channels:
        failures.append(f"{stage.label}: its tables carry no certificates")
    calls = plan.schedule.count(index)
    # Rows that nobody reads are not computed; what is read is the memory's proof.
    rows = program.rows[stage.output].count
    if calls > rows or (calls < rows and stage.output in program.outputs):
        failures.append(f"{stage.label}: computes {calls} of {rows} rows")
    arrays, missing = _arrays(program, stage)
    failures += [f"{stage.label}: {a.name}: touches {a.touched} of {a.available}" for a in arrays if not _fits(a)]
    values = [bound for c in channels for bound in (c.value_low, c.value_high)]
    return LayerProof(
        stage.number,
        stage.stem.upper(),
        stage.accumulator,
        AccumulatorBound(min(values), max(values)) if values else None,
        channels,
        calls,
        arrays,
        (*failures, *missing),
    )


def _fits(array: ArrayProof) -> bool:
    return 0 <= array.touched <= array.available


def _arrays(program: Program, stage: Stage) -> tuple[tuple[ArrayProof, ...], list[str]]:
    """Extents of all calls together, and what is wrong besides."""
    output = program.rows[stage.output]
    inputs = [program.rows[stage.inputs[read.input]] for read in stage.reads]
    available = {f"rows[{i}]": rows.size_bytes for i, rows in enumerate(inputs)}
    available |= {"output": output.size_bytes, "padding row": max(rows.size_bytes for rows in inputs)}
    available |= {table.name: table.values.size // table.phases for table in stage.tables}
    touched: dict[str, int] = dict.fromkeys(available, 0)
    wrong: list[str] = []
    known: dict[Present, Extents] = {}
    for y in range(output.count):
        present = tuple(
            read.is_linear or 0 <= read.rows[y] < rows.count for read, rows in zip(stage.reads, inputs, strict=True)
        )
        extents = known.setdefault(present, extents_of(stage.kernel, stage.tables, present))
        wrong += [f"{stage.label}: row {y} needs rows[{i}]" for i in extents.required if not present[i]]
        for i, read in enumerate(stage.reads):
            behind = y * output.size_bytes if read.is_linear else 0  # the pointer goes into the whole tensor
            available[f"rows[{i}]"] *= inputs[i].count if read.is_linear and y == 0 else 1
            touched[f"rows[{i}]"] = max(touched[f"rows[{i}]"], behind + extents.rows[i])
        for name, size in (("output", extents.output), ("padding row", extents.padding), *extents.tables.items()):
            touched[name] = max(touched.get(name, 0), size)
    arrays = tuple(ArrayProof(name, touched[name], available.get(name, 0)) for name in touched if touched[name])
    return arrays, wrong


def _memory(program: Program, plan: Plan) -> MemoryProof:
    try:
        rows_read, failures = check_plan(program, plan), []
    except AssertionError as error:
        rows_read, failures = 0, [f"plan: {error}"]
    live = np.zeros(len(plan.schedule), np.int64)
    rings = [place for place in plan.placements if place.region == "work"]
    for ring in rings:
        for first, last in (span for slot in ring.slots for span in slot):
            live[first : last + 1] += ring.row_bytes
    step = int(live.argmax())
    held = {r.tensor: [span for slot in r.slots for span in slot] for r in rings}
    tensors = tuple(t for t, spans in held.items() if any(first <= step <= last for first, last in spans))
    peak = int(live.max())
    if peak > plan.working_bytes:
        failures.append(f"plan: {peak} bytes are wanted at step {step}, there are {plan.working_bytes}")
    stage = plan.step_names[plan.schedule[step]]
    return MemoryProof(len(plan.schedule), rows_read, plan.working_bytes, peak, step, stage, tensors, tuple(failures))
