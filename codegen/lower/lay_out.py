"""Lower operators one by one, each with its rows laid out as was chosen, and copy rows where the next one takes another
layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

from codegen import operators as ops
from codegen.graph.graph import Graph, Operator
from codegen.kernels.esp32s3 import copy_blocks
from codegen.lower.fold_upsampling import Folded, fold_upsampling
from codegen.program.kernel import BLOCK_PX, BLOCKED, Storage, padded
from codegen.program.program import Lowering, RowRead, Stage, row_axes, rows_of
from codegen.program.target import Target

Choice = Literal["plain", "blocked", "padded"]
Stored = Mapping[int, Storage]


@dataclass(frozen=True)
class Laid:
    """Stages, copies among them, and how each tensor of theirs is stored; a copy stands for the tensor of `copied`."""

    stages: tuple[Stage, ...]
    storage: Stored
    copied: Mapping[int, int]


@dataclass
class Layouts:
    """What has been lowered so far. `plain`: how tensors are stored that no vector kernel makes.

    `readers`: outputs of operators that read int8 pixels with padding and without.
    """

    graph: Graph
    target: Target
    plain: Stored
    readers: frozenset[int]
    storage: dict[int, Storage]
    copied: dict[int, int] = field(default_factory=dict)
    copies: dict[tuple[int, Storage], int] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)

    def lower(self, operator: Operator, fold: Folded | None, choice: Choice, is_kept: bool) -> None:
        output = operator.outputs[0]
        stored = self._stored(output, choice, is_kept)
        needs_copy = is_kept and stored != self.plain[output]
        takes = {t: self._taken(t, operator, choice) for t in operator.inputs if t in self.plain}
        context = Lowering({**self.plain, **takes, output: stored}, self.target)
        if fold and choice == "blocked" and stored != BLOCKED:
            everything = {**dict.fromkeys(self.plain, BLOCKED), output: stored}
            fold = fold_upsampling(self.graph, Lowering(everything, self.target))[output]
        lowered = fold.stage if fold else ops.IMPLEMENTATIONS[operator.stem].lower(self.graph, operator, context)
        made = self._new_tensor(output, stored) if needs_copy else output
        for stage in lowered if isinstance(lowered, tuple) else (lowered,):
            self.storage.setdefault(stage.output, stored if stage.output == output else self.plain[stage.output])
            read = tuple(self._read(t, self._taken(t, operator, choice), operator.index) for t in stage.inputs)
            target = made if stage.output == output else stage.output
            self.stages.append(replace(stage, inputs=read, output=target))
        if needs_copy:
            self.storage[output] = self.plain[output]
            self._copy(made, output, operator.index)

    def _stored(self, output: int, choice: Choice, is_kept: bool) -> Storage:
        plain, shape = self.plain[output], self.graph.tensor(output).shape
        if choice == "padded":
            return padded(shape[-1])
        # One channel in whole blocks: the layouts are the same bytes.
        is_same = shape[-1] == 1 and len(shape) > 2 and shape[2] % BLOCK_PX == 0 and plain.bias == BLOCKED.bias
        return BLOCKED if choice == "blocked" and not (is_kept and is_same) else plain

    def _taken(self, tensor: int, operator: Operator, choice: Choice) -> Storage:
        """How the operator's kernel takes a tensor."""
        if choice == "plain":
            return self.plain[tensor]
        if choice == "blocked":
            return BLOCKED
        there = self.storage[tensor]
        takes_it = operator.outputs[0] in self.readers and not there.bias and not there.is_blocked
        return there if takes_it else padded(self.graph.tensor(tensor).shape[-1])

    def _read(self, tensor: int, wanted: Storage, operator_index: int) -> int:
        """Find the tensor as it is asked for: itself, or a copy that is made once."""
        if self.storage[tensor] == wanted:
            return tensor
        if (tensor, wanted) not in self.copies:
            self.copies[tensor, wanted] = self._new_tensor(tensor, wanted)
            self._copy(tensor, self.copies[tensor, wanted], operator_index)
        return self.copies[tensor, wanted]

    def _new_tensor(self, tensor: int, storage: Storage) -> int:
        index = len(self.graph.tensors) + len(self.copied)
        self.copied[index], self.storage[index] = tensor, storage
        return index

    def _copy(self, source: int, target: int, operator_index: int) -> None:
        """Append the stage that copies rows of one tensor to another, which differs in its layout."""
        shape = self.graph.tensor(self.copied.get(target, target)).shape
        before, after = self.storage[source], self.storage[target]
        rows = prod(shape[: row_axes(len(shape))])
        width = rows_of(shape, Storage(0)).size_bytes // shape[-1]
        stem = {"interleaved": "interleave_rows", "padded": "pad_pixels", "blocked": "block_rows"}[after.layout]
        built = copy_blocks.build(width, shape[-1], before, after)
        summary = f"{rows}x{width}x{shape[-1]}, {before.layout} to {after.layout}"
        before_it = sum(stage.is_copy and stage.operator_index == operator_index for stage in self.stages)
        reads = (RowRead(0, tuple(range(rows))),)
        stage = Stage(operator_index, stem, summary, (source,), target, reads, *built, is_copy=True)
        self.stages.append(replace(stage, position=before_it))
