"""Check every invariant that the rest of the compiler relies on. After this, nothing downstream re-checks."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite

from codegen import operators as ops
from codegen.canonicalize.canonicalize import check_inputs
from codegen.canonicalize.float_kernels import KERNELS, takes
from codegen.canonicalize.take_off_borders import check_conversion
from codegen.errors import CodegenError, CompilerLimit, ModelError, UnsupportedError
from codegen.graph.graph import MAX_ACTIVATION_BYTES, Graph, Operator, Tensor, image_shape

MAX_LISTED = 12  # of what is told of a file that lacks more
MAX_OPERATORS = 65000  # the generated schedule names each by two bytes
MAX_ROWS = 32_768  # of all activations: steps of the schedule
_ANY_SCALES = frozenset({"conv_2d", "depthwise_conv_2d", "transpose_conv"})  # of weights, as TFLM takes them
_VALUE_TYPES = frozenset({"bool", "float32", "int16", "int8", "uint8"})  # beside them stand indices and sizes
_OF_SEVERAL_TYPES = frozenset({"cast", "dequantize", "quantize", "select", "select_v2", "where"})
SCALES = 2.0**-64, 2.0**64  # of activations; float32 quotients of these and of activation limits are finite


def verify_graph(graph: Graph) -> Graph:
    """Return `graph` if it is well formed and compilable.

    Raises ModelError where the file contradicts itself, UnsupportedError where it is valid but outside what the
    compiler can do: all that lacks, naming operators and tensors.
    """
    raise_together(graph_problems(graph))
    return graph


def graph_problems(graph: Graph, *, of_types: bool = True) -> tuple[CodegenError, ...]:
    """Everything that keeps `graph` from being compiled; without `of_types` what would, were its tensors int8."""
    problems = _Problems()
    for check in (verify_interface, _refuse_unsupported, _verify_order, _verify_size)[0 if of_types else 1 :]:
        problems.collect(check, graph)
    if not of_types:
        return tuple(problems.found)
    seen: set[int] = set()
    problems.collect(_refuse_other_types, graph)
    for operator in graph.operators:
        for tensor in _used(graph, operator):
            if tensor.index not in seen:
                seen.add(tensor.index)
                problems.collect(_verify_tensor, tensor, operator.label)
                problems.collect(_verify_compilable, tensor, operator.label)
        if operator.stem in ops.IMPLEMENTATIONS and not _other_types(graph, operator):
            problems.collect(_verify_operator, graph, operator)
            problems.collect(_refuse_constants, graph, operator)
    return tuple(problems.found)


def verify_file(graph: Graph) -> Graph:
    """Return the graph of a file, as it was read, if interpreters can be trusted with it.

    That is all that TensorFlow Lite Micro relies on and does not check itself, for the operators that are known here.
    Raises ModelError where the file contradicts itself, UnsupportedError where no runtime takes it. What only the
    compiler cannot do passes.
    """
    raise_together(file_problems(graph))
    return graph


def file_problems(graph: Graph) -> tuple[CodegenError, ...]:
    """Everything that keeps a file from interpreters."""
    problems = _Problems()
    for check in (_verify_ends, _verify_order, _verify_size):
        problems.collect(check, graph)
    seen: set[int] = set()
    for operator in graph.operators:
        problems.collect(_verify_variables, graph, operator)
        problems.collect(_verify_operands, operator)
        problems.collect(check_conversion, graph, operator)
        used = _used(graph, operator)
        for tensor in used:
            if tensor.index not in seen:
                seen.add(tensor.index)
                problems.collect(_verify_tensor, tensor, operator.label)
        if operator.stem in ops.IMPLEMENTATIONS:
            problems.collect(_verify_known, graph, operator, used)
    return tuple(problems.found)


def _verify_variables(graph: Graph, operator: Operator) -> None:
    """Only operators that keep a state of their own have tensors that nobody produces, each its own."""
    for tensor in _used(graph, operator):
        if tensor.is_variable and tensor.index not in own_variables(graph):
            raise UnsupportedError(
                f"tensor {tensor.index} '{tensor.name}' of {operator.label} is a variable",
                hint="export the model without state",
            )


def _verify_operands(operator: Operator) -> None:
    """Check how many inputs and outputs there are, whatever their types: interpreters follow what options state."""
    implementation = ops.IMPLEMENTATIONS.get(operator.stem)
    check_inputs(operator, implementation.required_inputs if implementation else 0)
    if operator.stem in KERNELS and implementation is None and not takes(operator.stem, len(operator.inputs)):
        raise ModelError(f"{operator.label} has {len(operator.inputs)} inputs")
    for what, found in (("inputs", operator.inputs), ("outputs", operator.outputs)):
        if operator.options.get(what, len(found)) != len(found):
            raise ModelError(f"{operator.label} states {operator.options[what]} {what}, and has {len(found)}")


def own_variables(graph: Graph) -> frozenset[int]:
    """Variable tensors that one operator alone reads, and changes."""
    candidates = {operator.inputs[i] for operator in graph.operators for i in ops.state_inputs(operator)}
    if not candidates:
        return frozenset()
    readers = Counter(index for operator in graph.operators for index in operator.inputs)
    written = {index for operator in graph.operators for index in operator.outputs} | {*graph.inputs, *graph.outputs}
    return frozenset(i for i in candidates - written if i >= 0 and readers[i] == 1 and graph.tensor(i).is_variable)


def _verify_known(graph: Graph, operator: Operator, used: Sequence[Tensor]) -> None:
    if not operator.outputs:
        raise ModelError(f"{operator.label} has no output")
    if operator.stem == "reshape":  # whatever computes the shape: the output's counts
        used = _used(graph, replace(operator, inputs=operator.inputs[:1]))
    own = own_variables(graph)
    others = ops.IMPLEMENTATIONS[operator.stem].output_dtypes
    is_given = {i for i in operator.outputs if graph.tensor(i).dtype in others}
    read = [tensor for tensor in used if tensor.data is None and tensor.index not in own | is_given]
    kinds = sorted({tensor.dtype for tensor in read} & _VALUE_TYPES)
    if len(kinds) > 1 and operator.stem not in _OF_SEVERAL_TYPES:
        raise ModelError(f"{operator.label} mixes {' and '.join(kinds)}", hint="convert the model again")
    if all(tensor.data is not None or tensor.dtype == "int8" or tensor.index in own | is_given for tensor in used):
        with contextlib.suppress(CompilerLimit):
            _verify_operator(graph, operator)


def _verify_ends(graph: Graph) -> None:
    if not (graph.inputs and graph.outputs):
        raise UnsupportedError(f"the model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs")


class _Problems:
    """Gathers what checks raise."""

    def __init__(self) -> None:
        self.found: list[CodegenError] = []

    def collect(self, check: Callable[..., object], *arguments: object) -> None:
        try:
            check(*arguments)
        except CodegenError as error:
            self.found.append(error)


def raise_together(problems: Sequence[CodegenError]) -> None:
    """Raise what was found as one error: everything that is not supported, or the contradiction that comes first.

    Contradictions behind something that is not supported may follow from it.
    """
    if problems and not isinstance(problems[0], UnsupportedError):
        raise problems[0]
    problems = [problem for problem in problems if isinstance(problem, UnsupportedError)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        texts = list(dict.fromkeys(str(problem) for problem in problems))
        more = f"; and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
        hints = list(dict.fromkeys(problem.hint for problem in problems if problem.hint))
        raise UnsupportedError("; ".join(texts[:MAX_LISTED]) + more, hint="; ".join(hints[:MAX_LISTED]))


def _verify_operator(graph: Graph, operator: Operator) -> None:
    _verify_inputs(graph, operator)
    used = [tensor for tensor in _used(graph, operator) if min(tensor.scales, default=0.0) < 0.0]
    if used and operator.stem not in _ANY_SCALES:
        raise ModelError(f"{operator.label} takes '{used[0].name}', of a scale that is not a positive number")
    try:
        ops.IMPLEMENTATIONS[operator.stem].verify(graph, operator)
    except (ArithmeticError, AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{operator.label} contradicts itself ({type(error).__name__}: {error})") from error


def _used(graph: Graph, operator: Operator) -> list[Tensor]:
    return [graph.tensor(i) for i in (*operator.inputs, *operator.outputs) if i >= 0]


def can_compile(graph: Graph) -> bool:
    """Whether the compiler can do what `graph` asks for. Raises ModelError where the file contradicts itself."""
    try:
        verify_graph(graph)
    except UnsupportedError:
        return False
    return True


def verify_interface(graph: Graph) -> None:
    """Check what the compiler needs of inputs and outputs: int8 behind any conversion, each tensor once."""
    variables = {state.tensor for state in graph.states}
    for what, indices in (("input", graph.inputs), ("output", graph.outputs)):
        if not indices or len(set(indices)) < len(indices):
            raise UnsupportedError(f"the model has {len(indices)} {what}s, {len(set(indices))} of them different")
        for tensor in map(graph.tensor, indices):
            if tensor.index in variables:
                raise UnsupportedError(
                    f"{what} '{tensor.name}' is a variable as it was read, not what an operator makes",
                    hint="use --runtime tflm",
                )
            if tensor.dtype != "int8":
                raise UnsupportedError(
                    f"{what} '{tensor.name}' is {tensor.dtype}, not int8",
                    hint="convert with inference_input_type = inference_output_type = tf.int8",
                )
    if len(graph.operators) > MAX_OPERATORS:
        raise UnsupportedError(f"the model has {len(graph.operators)} operators, more than {MAX_OPERATORS}")
    if not graph.operators:
        raise ModelError("the model has no operators", hint="convert the model again")


def _other_types(graph: Graph, operator: Operator) -> list[str]:
    """Types other than int8 of the activations that an operator reads or gives."""
    activations = [tensor for tensor in _used(graph, operator) if tensor.data is None and not tensor.is_variable]
    return [tensor.dtype for tensor in activations if tensor.dtype != "int8"]


def _refuse_other_types(graph: Graph) -> None:
    """Tell all operators in other types at once: what is wrong with one of them mostly follows from another."""
    found = [(operator.label, _other_types(graph, operator)) for operator in graph.operators]
    if labels := [label for label, types in found if types]:
        types = sorted({dtype for _, types in found for dtype in types})
        more = f" and {len(labels) - MAX_LISTED} more" if len(labels) > MAX_LISTED else ""
        raise UnsupportedError(
            f"types other than int8 ({', '.join(types)}) remain in {', '.join(labels[:MAX_LISTED])}{more}",
            hint="quantize to full int8: only what depends on one byte may be of another type",
        )


def _refuse_unsupported(graph: Graph) -> None:
    where: dict[str, list[int]] = {}
    for operator in graph.operators:
        if operator.stem not in ops.IMPLEMENTATIONS and operator.stem != "dequantize":  # whose type is told
            where.setdefault(operator.stem, []).append(operator.index)
    if where:
        listing = "; ".join(f"{stem.upper()} (operator {', '.join(map(str, at))})" for stem, at in where.items())
        raise UnsupportedError(
            f"the aot compiler has no implementation for {listing}",
            hint="`inspect` says whether the tflm runtime takes it; docs/NETWORKS.md lists what compiles",
        )


def _verify_order(graph: Graph) -> None:
    known = {t.index for t in graph.tensors if t.data is not None} | set(graph.inputs)
    known |= {state.tensor for state in graph.states}
    known |= {tensor.index for tensor in graph.tensors if tensor.is_variable}
    for operator in graph.operators:
        for index in operator.inputs:
            if index >= 0 and index not in known:
                raise ModelError(f"{operator.label} reads tensor {index} before anything has produced it")
        for index in operator.outputs:
            if index in known:
                raise ModelError(f"{operator.label} writes tensor {index}, which already has a value")
            known.add(index)
    if not set(graph.outputs) <= known:
        raise ModelError("the model's output is not produced by any operator")


def _verify_inputs(graph: Graph, operator: Operator) -> None:
    implementation = ops.IMPLEMENTATIONS[operator.stem]
    check_inputs(operator, implementation.required_inputs)
    if len(operator.outputs) != 1 and not implementation.several_outputs:
        raise UnsupportedError(f"{operator.label} has {len(operator.outputs)} outputs")


def _refuse_constants(graph: Graph, operator: Operator) -> None:
    present = [graph.tensor(i) for i in operator.inputs if i >= 0]
    variable = present[: ops.IMPLEMENTATIONS[operator.stem].variable_inputs]
    if any(tensor.data is not None for tensor in variable) or all(tensor.data is not None for tensor in present):
        raise CompilerLimit(f"{operator.label} works on the constant '{present[0].name}'", hint="fold constants")


def _verify_size(graph: Graph) -> None:
    """Bound the sizes of activations, and so what allocating, planning and running take."""
    activations = [tensor for tensor in graph.tensors if tensor.data is None]
    rows = sum(image_shape(tensor.shape)[0] for tensor in activations if tensor.shape)
    total_bytes = sum(tensor.size_bytes for tensor in activations)
    for what, found, most in (("rows", rows, MAX_ROWS), ("bytes", total_bytes, MAX_ACTIVATION_BYTES)):
        if found > most:
            raise UnsupportedError(
                f"the model's activations have {found:,} {what}, more than {most:,}", hint="use a smaller input"
            )


def _verify_tensor(tensor: Tensor, where: str) -> None:
    """Shape and quantization, of which kernels take for granted that they make sense."""
    label = f"tensor {tensor.index} '{tensor.name}' of {where}"
    if tensor.data is None and any(n <= 0 for n in tensor.shape):
        raise UnsupportedError(f"{label} has dynamic shape {tensor.shape}", hint="export with batch size 1")
    if tensor.dtype == "int8" and not tensor.scales:
        raise UnsupportedError(f"{label} is int8 without quantization parameters", hint="quantize to full int8")
    # A dead channel's weights may carry scale 0, or a tiny negative one; an activation's scale is divided by.
    if any(not isfinite(s) or (s <= 0.0 and tensor.data is None) for s in tensor.scales):
        raise ModelError(f"{label} has a scale that is not a positive number")
    if tensor.data is None and any(not SCALES[0] <= s <= SCALES[1] for s in tensor.scales):
        raise UnsupportedError(f"{label} has scale {tensor.scale:g}", hint="calibrate with real images")
    if tensor.dtype == "int8" and any(not -128 <= z <= 127 for z in tensor.zero_points):
        raise ModelError(f"{label} has a zero point outside int8")


def _verify_compilable(tensor: Tensor, where: str) -> None:
    """Check what the compiler, unlike interpreters, has only one case of."""
    label = f"tensor {tensor.index} '{tensor.name}' of {where}"
    if tensor.is_variable and tensor.data is None:
        raise UnsupportedError(f"{label} is a variable", hint="use --runtime tflm")
    if tensor.data is not None or tensor.dtype != "int8":  # other types are told together
        return
    if not tensor.shape:
        raise UnsupportedError(f"{label} is one number without a shape")
    if len(tensor.scales) != 1:
        raise UnsupportedError(f"{label} is an activation quantized per channel")
