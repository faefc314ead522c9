"""Choose how rows lie wherever the ESP32-S3's vector kernels compute from them, and copy them where others do.

Which operators have a kernel for rows in blocks of 16 pixels, and which for pixels whose channels fill whole vectors,
is found by lowering each as if all tensors lay so. A tensor is stored as its producer makes it; operators that take
another layout get a copy. What is chosen has the least estimated instructions, kernels and copies together, that can be
reached from three beginnings by changing one operator at a time, or all from one on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from codegen import operators as ops
from codegen.graph.graph import Graph, Operator
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.kernels.registry import NoKernelError
from codegen.lower.assign_storage import assign_storage, state_tensors, stored_tensors
from codegen.lower.fold_upsampling import Folded, fold_upsampling
from codegen.lower.lay_out import Choice, Laid, Layouts, Stored
from codegen.program.kernel import BLOCK_PX, BLOCKED, LANES, Storage, padded
from codegen.program.program import Lowering, Stage
from codegen.program.target import Target

_WEIGHTED = ("conv_2d", "depthwise_conv_2d", "fully_connected")
_ELEMENTWISE = ("add", "sub", "relu", "relu6", "quantize")
_BLOCKED_OPERATORS = ("conv_2d", "depthwise_conv_2d", "max_pool_2d", *_ELEMENTWISE)
_PADDED_OPERATORS = (*_WEIGHTED, "max_pool_2d", "average_pool_2d", *_ELEMENTWISE)
_MIN_WIDTH_PX = 3  # rows of fewer pixels leave so many lanes unused that other kernels are faster
_PRODUCT_INSTRUCTIONS = 3.7  # of portable kernels, measured on the published Nano-U
_VALUE_INSTRUCTIONS = 10.0  # of other operators, for each value
_COPY_INSTRUCTIONS = 6  # for each value


@dataclass(frozen=True)
class _Option:
    """A kernel that an operator can have, and what all rows are estimated to take."""

    instructions: float
    reads_anything: bool = False  # of int8 and not in blocks


@dataclass(frozen=True)
class _Place:
    """What an operator reads, activations alone, and makes."""

    inputs: tuple[int, ...]
    output: int
    is_kept: bool  # its output leaves, or becomes a state


@dataclass(frozen=True, eq=False)
class _Question:
    """For each operator its options, by choice, and what does not change with choices. `whole`: tensors of which whole
    vectors hold a pixel's channels, so that they are the same bytes with padding and without."""

    options: Sequence[Mapping[Choice, _Option]]
    places: Sequence[_Place]
    sizes: Mapping[int, int]  # values of each activation
    whole: frozenset[int]
    frames: frozenset[int]

    def total(self, choices: Sequence[Choice]) -> float:
        """Estimate the instructions of kernels and copies. States and inputs lie as they come."""
        lies: dict[int, Choice] = {place.output: c for place, c in zip(self.places, choices, strict=True)}
        total, copies = 0.0, set()
        for place, choice, options in zip(self.places, choices, self.options, strict=True):
            option = options[choice]
            total += option.instructions
            for tensor in place.inputs:
                lie = lies.get(tensor, "plain")
                if lie != choice and not self._reads(tensor, lie, choice, option):
                    copies.add((tensor, choice))
            if place.is_kept and not self._is_same(place.output, choice, "plain"):
                copies.add((place.output, "plain"))
        return total + _COPY_INSTRUCTIONS * sum(self.sizes[tensor] for tensor, _ in copies)

    def _reads(self, tensor: int, lie: Choice, choice: Choice, option: _Option) -> bool:
        anything = option.reads_anything and lie != "blocked" and (lie == "padded" or tensor in self.frames)
        return anything or self._is_same(tensor, lie, choice)

    def _is_same(self, tensor: int, lie: Choice, choice: Choice) -> bool:
        return lie == choice or (tensor in self.whole and "blocked" not in (lie, choice))


def _question(graph: Graph, options: Sequence[Mapping[Choice, _Option]], kept: frozenset[int]) -> _Question:
    stored = stored_tensors(graph)
    shapes = {tensor: graph.tensor(tensor).shape for tensor in stored}
    is_read = {t for t in stored if graph.tensor(t).data is None}
    places = [
        _Place(tuple(t for t in op.inputs if t in is_read), op.outputs[0], op.outputs[0] in kept)
        for op in graph.operators
    ]
    whole = frozenset(t for t, shape in shapes.items() if padded(shape[-1]).layout == "interleaved")
    return _Question(options, places, {t: prod(s) for t, s in shapes.items()}, whole, frozenset(graph.inputs))


def choose_layouts(graph: Graph, target: Target) -> Laid:
    """Lower every operator, each with its rows laid out as is estimated to be fastest."""
    tensors = stored_tensors(graph)
    in_blocks = Lowering(dict.fromkeys(tensors, BLOCKED), target)
    folded = fold_upsampling(graph, in_blocks)
    kept = frozenset((*graph.outputs, *state_tensors(graph)))
    question = _question(graph, _options(graph, target, in_blocks, folded), kept)
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
    layouts = Layouts(graph, target, plain, readers, dict(begin))
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
