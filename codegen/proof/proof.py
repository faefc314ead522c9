"""Prove of a program and its plan what must hold for every input: sums, exactness, index ranges, memory.

Each proof starts from what is emitted (tables, kernels' constants, the plan) and computes anew what must hold; nothing
is taken over from the stage that made it so. Failures are collected, not raised: they would be defects of the compiler,
and one wants to see them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.arithmetic.certify import Certificate, certify
from codegen.plan.plan import Plan
from codegen.program.kernel import Accesses, Present
from codegen.program.program import AccumulatorBound, Program, Stage
from codegen.proof.cores import CoresProof, prove_cores
from codegen.proof.memory import MemoryProof, prove_memory


@dataclass(frozen=True)
class ArrayProof:
    """Compares, of one array that a kernel gets, the elements that any call touches with those that are there."""

    name: str
    touched: int
    available: int


@dataclass(frozen=True)
class LayerProof:
    """Says what was proven of one layer.

    `values`: what the int32 sums of its kernel can hold, at any point; `accumulator`: the same without the factors.
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
    def digits(self) -> int:
        """Channels whose scale is in the digits of their weights (codegen.arithmetic.digit_line)."""
        return sum(channel.form == "digits" for channel in self.channels)

    @property
    def compared(self) -> int:
        return sum(channel.compared for channel in self.channels)


@dataclass(frozen=True)
class Proofs:
    layers: tuple[LayerProof, ...]
    memory: MemoryProof
    cores: CoresProof | None = None  # of a plan for two

    @property
    def failures(self) -> tuple[str, ...]:
        of_layers = (failure for layer in self.layers for failure in layer.failures)
        return (*of_layers, *self.memory.failures, *(self.cores.failures if self.cores else ()))

    @property
    def channels(self) -> int:
        return sum(len(layer.channels) for layer in self.layers)

    @property
    def one_multiply(self) -> int:
        return sum(layer.one_multiply for layer in self.layers)

    @property
    def digits(self) -> int:
        return sum(layer.digits for layer in self.layers)

    @property
    def compared(self) -> int:
        return sum(layer.compared for layer in self.layers)

    @property
    def calls(self) -> int:
        return sum(layer.calls for layer in self.layers)

    @property
    def values(self) -> AccumulatorBound:
        """Bound the sums of all layers that add."""
        known = [layer.values for layer in self.layers if layer.values]
        return AccumulatorBound(min((v.low for v in known), default=0), max((v.high for v in known), default=0))


def prove(program: Program, plan: Plan) -> Proofs:
    """Prove sums, requantization, index ranges and memory. What does not hold is in `failures`."""
    layers = tuple(_layer(program, plan, i, stage) for i, stage in enumerate(program.stages))
    return Proofs(layers, prove_memory(program, plan), prove_cores(program, plan) if plan.cores else None)


def _layer(program: Program, plan: Plan, index: int, stage: Stage) -> LayerProof:
    channels = tuple(certify(channel) for table in stage.tables for channel in table.channels)
    failures = [f"{stage.label}: channel {i}: {c.failure}" for i, c in enumerate(channels) if c.failure]
    if stage.accumulator and not channels:
        failures.append(f"{stage.label}: its tables carry no certificates")
    tables = {table.name: table for table in stage.tables}
    failures += [f"{stage.label}: {difference}" for difference in stage.kernel.differences(tables)]
    stored = tuple(program.storage[tensor] for tensor in (*stage.inputs, stage.output))
    if stored != (*stage.kernel.inputs, stage.kernel.output):
        failures.append(f"{stage.label}: its kernel takes other storage than its tensors have")
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
    """Bound the accesses of all calls together, and say what is wrong besides."""
    output = program.rows[stage.output]
    inputs = [program.rows[stage.inputs[read.input]] for read in stage.reads]
    available = {f"rows[{i}]": rows.size_bytes for i, rows in enumerate(inputs)}
    available |= {"output": output.size_bytes, "padding row": max(rows.size_bytes for rows in inputs)}
    available |= {table.name: table.values.size // table.phases for table in stage.tables}
    touched: dict[str, int] = dict.fromkeys(available, 0)
    wrong: list[str] = []
    known: dict[Present, Accesses] = {}
    tables = {table.name: table for table in stage.tables}
    for y in range(output.count):
        present = tuple(
            read.is_linear or 0 <= read.rows[y] < rows.count for read, rows in zip(stage.reads, inputs, strict=True)
        )
        if present not in known:
            known[present] = stage.kernel.accesses(tables, present)
        accesses = known[present]
        wrong += [f"{stage.label}: row {y} needs rows[{i}]" for i in accesses.required if not present[i]]
        for i, read in enumerate(stage.reads):
            behind = read.rows[y] if read.is_linear else 0  # the pointer goes into the whole tensor
            available[f"rows[{i}]"] *= inputs[i].count if read.is_linear and y == 0 else 1
            touched[f"rows[{i}]"] = max(touched[f"rows[{i}]"], behind + accesses.rows[i])
        for name, size in (("output", accesses.output), ("padding row", accesses.padding), *accesses.tables.items()):
            touched[name] = max(touched.get(name, 0), size)
    arrays = tuple(ArrayProof(name, touched[name], available.get(name, 0)) for name in touched if touched[name])
    return arrays, wrong
