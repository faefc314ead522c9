"""Choose how rows lie wherever the ESP32-S3's vector kernels compute from them, and copy them where others do.

Which operators have a kernel for rows in blocks of 16 pixels, and which for pixels whose channels fill whole vectors,
is found by lowering each as if all tensors lay so. A tensor is stored as its producer makes it; operators that take
another layout get a copy. What is chosen has the least estimated instructions, kernels and copies together, that can be
reached from three beginnings by changing one operator at a time, or all from one on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

from codegen import operators as ops
from codegen.graph.graph import Graph, Operator
from codegen.kernels.esp32s3 import copy_blocks
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.kernels.registry import NoKernelError
from codegen.lower.assign_storage import assign_storage
from codegen.lower.fold_upsampling import Folded, fold_upsampling
from codegen.program.kernel import BLOCK_PX, BLOCKED, LANES, Storage, padded
from codegen.program.program import Lowering, RowRead, Stage, row_axes, rows_of
from codegen.program.target import Target

Choice = Literal["plain", "blocked", "padded"]
Stored = Mapping[int, Storage]

_WEIGHTED = ("conv_2d", "depthwise_conv_2d", "fully_connected")
_ELEMENTWISE = ("add", "sub", "relu", "relu6", "quantize")
_BLOCKED_OPERATORS = ("conv_2d", "depthwise_conv_2d", "max_pool_2d", *_ELEMENTWISE)
_PADDED_OPERATORS = (*_WEIGHTED, "max_pool_2d", "average_pool_2d", *_ELEMENTWISE)
_MIN_WIDTH_PX = 3  # rows of fewer pixels leave so many lanes unused that other kernels are faster
_PRODUCT_INSTRUCTIONS = 3.7  # of portable kernels, measured on the published Nano-U
_VALUE_INSTRUCTIONS = 10.0  # of other operators, for each value
_COPY_INSTRUCTIONS = 6  # for each value


@dataclass(frozen=True)
class Laid:
    """Stages, copies among them, and how each tensor of theirs is stored; a copy stands for the tensor of `copied`."""

    stages: tuple[Stage, ...]
    storage: Stored
    copied: Mapping[int, int]


@dataclass(frozen=True)
class _Option:
    """A kernel that an operator can have, and what all rows are estimated to take."""

    instructions: float
    reads_anything: bool = False  # of int8 and not in blocks


@dataclass(frozen=True, eq=False)
class _Question:
    """For each operator its options, by choice."""

    graph: Graph
    options: Sequence[Mapping[Choice, _Option]]
    kept: frozenset[int]

    def total(self, choices: Sequence[Choice]) -> float:
        """Estimate the instructions of kernels and copies. States and inputs lie as they come."""
        lies: dict[int, Choice] = {op.outputs[0]: c for op, c in zip(self.graph.operators, choices, strict=True)}
        total, copies = 0.0, set()
        for operator, choice, options in zip(self.graph.operators, choices, self.options, strict=True):
            total += options[choice].instructions
            for tensor in operator.inputs:
                lie = lies.get(tensor, "plain")
                is_constant = tensor < 0 or self.graph.tensor(tensor).data is not None
                if not is_constant and not self._reads(tensor, lie, choice, options[choice]):
                    copies.add((tensor, choice))
            if operator.outputs[0] in self.kept and not self._is_same(operator.outputs[0], choice, "plain"):
                copies.add((operator.outputs[0], "plain"))
        return total + _COPY_INSTRUCTIONS * sum(prod(self.graph.tensor(tensor).shape) for tensor, _ in copies)

    def _reads(self, tensor: int, lie: Choice, choice: Choice, option: _Option) -> bool:
        anything = option.reads_anything and lie != "blocked" and (lie == "padded" or tensor in self.graph.inputs)
        return anything or self._is_same(tensor, lie, choice)

    def _is_same(self, tensor: int, lie: Choice, choice: Choice) -> bool:
        """Whole vectors of channels are the same bytes with padding and without."""
        whole = padded(self.graph.tensor(tensor).shape[-1]).layout == "interleaved"
        return lie == choice or (whole and "blocked" not in (lie, choice))


def choose_layouts(graph: Graph, target: Target) -> Laid:
    """Lower every operator, each with its rows laid out as is estimated to be fastest."""
    tensors = list(assign_storage(graph))
    in_blocks = Lowering(dict.fromkeys(tensors, BLOCKED), target)
    folded = fold_upsampling(graph, in_blocks)
    states = [index for state in graph.states for index in (state.tensor, state.source)]
    kept = frozenset((*graph.outputs, *states))
    question = _Question(graph, _options(graph, target, in_blocks, folded), kept)
    choices = dict(zip((op.outputs[0] for op in graph.operators), _choose(question), strict=True))
    signed = {op.outputs[0] for op in graph.operators if choices[op.outputs[0]] == "padded"}
    signed |= {t for op in graph.operators if choices[op.outputs[0]] == "padded" for t in op.inputs if t in tensors}
    plain = assign_storage(graph, frozenset(signed))
    elsewhere = fold_upsampling(graph, Lowering(plain, target))
    folds = {t: f for t, f in elsewhere.items() if choices[t] == "plain"}
    folds |= {t: f for t, f in folded.items() if choices[t] == "blocked"}
    absorbed = {fold.upsampled for fold in folds.values()}
    begin = {tensor: plain[tensor] for tensor in (*graph.inputs, *(state.tensor for state in graph.states))}
    readers = frozenset(
        op.outputs[0]
        for op, options in zip(graph.operators, question.options, strict=True)
        if options[choices[op.outputs[0]]].reads_anything
    )
    layouts = _Layouts(graph, target, plain, readers, dict(begin))
    for operator in graph.operators:
        output = operator.outputs[0]
        if output not in absorbed:
            layouts.lower(operator, folds.get(output), choices[output], output in kept)
    return Laid(tuple(layouts.stages), layouts.storage, layouts.copied)


def _options(
    graph: Graph, target: Target, in_blocks: Lowering, folded: Mapping[int, Folded]
) -> list[Mapping[Choice, _Option]]:
    with_padding = {tensor: padded(graph.tensor(tensor).shape[-1]) for tensor in in_blocks.storage}
    options: list[Mapping[Choice, _Option]] = []
    for operator in graph.operators:
        found: dict[Choice, _Option] = {"plain": _Option(_portable_instructions(graph, operator))}
        shape = graph.tensor(operator.outputs[0]).shape
        if operator.stem in _BLOCKED_OPERATORS and len(shape) == 4 and _may_be_blocked(graph, operator):
            fold = folded.get(operator.outputs[0])
            stage = fold.stage if fold else _vector_stage(graph, operator, in_blocks)
            found |= {"blocked": _Option(_instructions(stage))} if stage else {}
        if operator.stem in _PADDED_OPERATORS:
            frames = {tensor: Storage(0) for tensor in operator.inputs if tensor in graph.inputs}
            stage = _reader_of(frames, graph, operator, Lowering({**with_padding, **frames}, target))
            stage = stage or _vector_stage(graph, operator, Lowering(with_padding, target))
            found |= {"padded": _Option(_instructions(stage), _reads_anything(stage))} if stage else {}
        options.append(found)
    return options


def _may_be_blocked(graph: Graph, operator: Operator) -> bool:
    """Whether blocks may leave fewer lanes unused than channels do."""
    width, channels = graph.tensor(operator.outputs[0]).shape[2:]
    return width >= BLOCK_PX or (width >= _MIN_WIDTH_PX and channels % LANES != 0)


def _vector_stage(graph: Graph, operator: Operator, context: Lowering) -> Stage | None:
    """Find the operator's stage where a vector kernel computes it."""
    try:
        stage = ops.IMPLEMENTATIONS[operator.stem].lower(graph, operator, context)
    except NoKernelError:
        return None
    return stage if isinstance(stage, Stage) and isinstance(stage.kernel, VectorKernel) else None


def _reader_of(frames: Stored, graph: Graph, operator: Operator, context: Lowering) -> Stage | None:
    """Find the operator's stage where it reads frames as they come."""
    stage = _vector_stage(graph, operator, context) if frames else None
    return stage if stage and _reads_anything(stage) else None


def _reads_anything(stage: Stage) -> bool:
    return isinstance(stage.kernel, VectorKernel) and stage.kernel.reads_any_pixels


def _instructions(stage: Stage) -> float:
    assert isinstance(stage.kernel, VectorKernel)
    return float(stage.kernel.row_instructions * len(stage.reads[0].rows))


def _portable_instructions(graph: Graph, operator: Operator) -> float:
    """Of the operators that also have vector kernels; the same for all choices of others."""
    size = prod(graph.tensor(operator.outputs[0]).shape)
    if operator.stem not in _WEIGHTED:
        reads = graph.tensor(operator.inputs[0]).shape if operator.stem.endswith("pool_2d") else (size,)
        return _VALUE_INSTRUCTIONS * max(size, prod(reads))
    weights = graph.tensor(operator.inputs[1]).shape
    taps = prod(weights[1:3]) if operator.stem == "depthwise_conv_2d" else prod(weights[1:])
    return (_PRODUCT_INSTRUCTIONS * taps + 12) * size


def _choose(question: _Question) -> Sequence[Choice]:
    orders: tuple[tuple[Choice, ...], ...] = (("blocked", "padded"), ("padded", "blocked"), ())
    found = []
    for order in orders:
        begin: list[Choice] = [next((c for c in order if c in options), "plain") for options in question.options]
        found.append(_improve(question, begin))
    return min(found, key=question.total)


def _improve(question: _Question, choices: Sequence[Choice]) -> Sequence[Choice]:
    best, least, improved = list(choices), question.total(choices), True
    while improved:
        improved = False
        for changed in _changes(question, best):
            total = question.total(changed)
            if total < least:
                best, least, improved = changed, total, True
                break
    return best


def _changes(question: _Question, choices: list[Choice]) -> Iterator[list[Choice]]:
    """All that differ in one operator, or from one on wherever it can be."""
    for first, options in enumerate(question.options):
        for choice in options:
            if choice != choices[first]:
                changed = choices.copy()
                changed[first] = choice
                yield changed
                after = [choice if choice in o else c for o, c in zip(question.options, choices, strict=True)]
                yield [*choices[:first], *after[first:]]


@dataclass
class _Layouts:
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
