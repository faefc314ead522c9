"""Store rows in blocks of 16 pixels wherever vector kernels compute from them, and copy them where others do.

Which operators have such a kernel is found by lowering each as if all tensors came in blocks. A tensor is stored as its
producer makes it; operators that take the other layout get a copy of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from codegen import operators as ops
from codegen.graph.graph import Graph, Operator
from codegen.kernels.esp32s3 import copy_blocks
from codegen.kernels.registry import NoKernelError
from codegen.lower.fold_upsampling import Folded, fold_upsampling
from codegen.program.kernel import BLOCK_PX, BLOCKED, Storage
from codegen.program.program import Lowering, RowRead, Stage
from codegen.program.target import Target

_OPERATORS = ("conv_2d", "depthwise_conv_2d", "max_pool_2d")
_MIN_WIDTH_PX = 3  # rows of fewer pixels leave so many lanes unused that other kernels are faster


@dataclass(frozen=True)
class Blocked:
    """Stages, copies among them, and how each tensor of theirs is stored; a copy stands for the tensor of `copied`."""

    stages: tuple[Stage, ...]
    storage: Mapping[int, Storage]
    copied: Mapping[int, int]


@dataclass
class _Layouts:
    """What has been lowered so far."""

    graph: Graph
    storage: dict[int, Storage]
    copied: dict[int, int] = field(default_factory=dict)
    copies: dict[tuple[int, bool], int] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)

    def new_tensor(self, tensor: int, storage: Storage) -> int:
        index = len(self.graph.tensors) + len(self.copied)
        self.copied[index], self.storage[index] = tensor, storage
        return index

    def copy(self, source: int, target: int, operator_index: int) -> None:
        """Append the stage that copies rows of one tensor to another, which differs in its layout."""
        height, width, channels = self.graph.tensor(self.copied.get(target, target)).shape[1:]
        before, after = self.storage[source], self.storage[target]
        stem = "block_rows" if after.is_blocked else "interleave_rows"
        rows = (RowRead(0, tuple(range(height))),)
        built = copy_blocks.build(width, channels, before, after)
        summary = f"{height}x{width}x{channels}, {'to' if after.is_blocked else 'from'} blocks of {BLOCK_PX} pixels"
        before_it = sum(stage.is_copy and stage.operator_index == operator_index for stage in self.stages)
        stage = Stage(operator_index, stem, summary, (source,), target, rows, *built, is_copy=True)
        self.stages.append(replace(stage, position=before_it))

    def read(self, tensor: int, blocked: bool, plain: Storage, operator_index: int) -> int:
        """Read the tensor in the layout that is asked for: itself, or a copy that is made once."""
        if self.storage[tensor].is_blocked == blocked:
            return tensor
        if (tensor, blocked) not in self.copies:
            self.copies[tensor, blocked] = self.new_tensor(tensor, BLOCKED if blocked else plain)
            self.copy(tensor, self.copies[tensor, blocked], operator_index)
        return self.copies[tensor, blocked]


def block_rows(graph: Graph, plain: Mapping[int, Storage], target: Target) -> Blocked:
    """Lower every operator. `plain`: how tensors are stored where channels lie side by side."""
    everything = Lowering(dict.fromkeys(plain, BLOCKED), target)
    folded = fold_upsampling(graph, everything)
    vector = {tensor for tensor, _ in _vector_operators(graph, everything, folded)}
    elsewhere = fold_upsampling(graph, Lowering(plain, target))
    folds = {t: f for t, f in elsewhere.items() if t not in vector} | {t: f for t, f in folded.items() if t in vector}
    absorbed = {fold.upsampled for fold in folds.values()}
    states = [state.tensor for state in graph.states]
    layouts = _Layouts(graph, {tensor: plain[tensor] for tensor in (*graph.inputs, *states)})
    for operator in graph.operators:
        if operator.outputs[0] not in absorbed:
            _lower(layouts, operator, folds.get(operator.outputs[0]), plain, target, operator.outputs[0] in vector)
    return Blocked(tuple(layouts.stages), layouts.storage, layouts.copied)


def _vector_operators(
    graph: Graph, everything: Lowering, folded: Mapping[int, Folded]
) -> Iterator[tuple[int, Operator]]:
    """By output. Pooling alone is not worth copies: it counts where its input is in blocks anyway."""
    found: set[int] = set()
    for operator in graph.operators:
        shape = graph.tensor(operator.outputs[0]).shape
        if operator.stem not in _OPERATORS or len(shape) != 4 or shape[2] < _MIN_WIDTH_PX:
            continue
        if operator.stem == "max_pool_2d" and operator.inputs[0] not in found:
            continue
        if operator.outputs[0] not in folded:
            try:
                ops.IMPLEMENTATIONS[operator.stem].lower(graph, operator, everything)
            except NoKernelError:
                continue
        found.add(operator.outputs[0])
        yield operator.outputs[0], operator


def _lower(
    layouts: _Layouts,
    operator: Operator,
    fold: Folded | None,
    plain: Mapping[int, Storage],
    target: Target,
    vector: bool,
) -> None:
    graph, output = layouts.graph, operator.outputs[0]
    shape, kept = graph.tensor(output).shape, (*graph.outputs, *(state.source for state in graph.states))
    # One channel in whole blocks: the layouts are the same bytes.
    is_same = vector and shape[-1] == 1 and shape[2] % BLOCK_PX == 0 and plain[output].bias == BLOCKED.bias
    needs_copy = vector and output in kept and not is_same
    stored = BLOCKED if vector and not (is_same and output in kept) else plain[output]
    context = Lowering(
        {**plain, **dict.fromkeys(operator.inputs, BLOCKED), output: stored} if vector else plain, target
    )
    if fold and vector and stored != BLOCKED:
        fold = fold_upsampling(graph, Lowering({**dict.fromkeys(plain, BLOCKED), output: stored}, target))[output]
    lowered = fold.stage if fold else ops.IMPLEMENTATIONS[operator.stem].lower(graph, operator, context)
    made = layouts.new_tensor(output, BLOCKED) if needs_copy else output
    for stage in lowered if isinstance(lowered, tuple) else (lowered,):
        layouts.storage.setdefault(stage.output, stored if stage.output == output else plain[stage.output])
        read = tuple(layouts.read(t, vector, plain[t], stage.operator_index) for t in stage.inputs)
        layouts.stages.append(replace(stage, inputs=read, output=made if stage.output == output else stage.output))
    if needs_copy:
        layouts.storage[output] = plain[output]
        layouts.copy(made, output, operator.index)
