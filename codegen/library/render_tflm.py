"""Render the tflm runtime: the model as a C array, and TensorFlow Lite Micro behind nanou.h. No file I/O.

Registration methods follow tensorflow/lite/micro/micro_mutable_op_resolver.h of tflite-micro 90b983c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.library.resources import render_template
from codegen.library.tflm_arena import ESP_NN_VERSION, TARGETS, ArenaBudget, arena_budget
from codegen.plan.place import aligned

__all__ = ["ArenaBudget", "arena_budget", "registration_methods", "tflm_arena_bytes", "tflm_dependencies", "tflm_files"]

_BYTES_PER_LINE = 12

# Every builtin operator that TFLM registers. The method is "Add" and the stem in camel case, but for these.
_IRREGULAR_METHODS = {"padv2": "AddPadV2", "cumsum": "AddCumSum", "batch_matmul": "AddBatchMatMul",
                      "unidirectional_sequence_lstm": "AddUnidirectionalSequenceLSTM"}  # fmt: skip
_REGISTERED_STEMS = frozenset(
    """
    abs add add_n arg_max arg_min assign_variable average_pool_2d batch_matmul batch_to_space_nd broadcast_args
    broadcast_to call_once cast ceil concatenation conv_2d cos cumsum depth_to_space depthwise_conv_2d dequantize div
    dynamic_update_slice elu embedding_lookup equal exp expand_dims fill floor floor_div floor_mod fully_connected
    gather gather_nd greater greater_equal hard_swish if l2_normalization l2_pool_2d leaky_relu less less_equal log
    log_softmax logical_and logical_not logical_or logistic max_pool_2d maximum mean minimum mirror_pad mul neg
    not_equal pack pad padv2 prelu quantize read_variable reduce_all reduce_max reduce_min relu relu6 reshape
    resize_bilinear resize_nearest_neighbor reverse_v2 round rsqrt select_v2 shape sin slice softmax space_to_batch_nd
    space_to_depth split split_v sqrt square squared_difference squeeze strided_slice sub sum svdf tanh transpose
    transpose_conv unidirectional_sequence_lstm unpack var_handle while zeros_like
    """.split()  # noqa: SIM905 - a hundred quoted lines would hide the list
)


def registration_methods(graph: Graph) -> tuple[str, ...]:
    """List MicroMutableOpResolver's method for each kind of operator in `graph`, once each, in alphabetical order.

    Raises UnsupportedError for an operator that TFLM does not register.
    """
    for operator in graph.operators:
        if operator.stem not in _REGISTERED_STEMS:
            raise UnsupportedError(
                f"{operator.label} is no operator of TensorFlow Lite Micro", hint="convert the model without it"
            )
    return tuple(sorted({_method(operator.stem) for operator in graph.operators}))


def _method(stem: str) -> str:
    camel = "".join(part[0].upper() + part[1:] for part in stem.split("_"))
    return _IRREGULAR_METHODS.get(stem, f"Add{camel}".replace("2d", "2D"))


def tflm_arena_bytes(graph: Graph, measured_bytes: int, idf_target: str | None = None) -> int:
    """Compute ID_ARENA_BYTES: arena_budget(...).total_bytes."""
    return arena_budget(graph, measured_bytes, idf_target).total_bytes


def tflm_dependencies() -> Mapping[str, str]:
    """List components with versions for idf_component.yml. esp-nn is pinned: the arena follows its scratch sizes."""
    return {"espressif/esp-nn": ESP_NN_VERSION, "espressif/esp-tflite-micro": ">=1.4.0,<1.5.0"}


def tflm_files(
    graph: Graph, model: QuantizedModel, budget: ArenaBudget, description: Mapping[str, Any]
) -> dict[str, str]:
    """Render the library's sources: relative path -> text. `description`: what templates say of the model.

    Raises UnsupportedError for an operator that TFLM lacks.
    """
    context: dict[str, Any] = {
        **description,
        "budget": budget,
        "kernels": f"for the {budget.idf_target}" if budget.idf_target else "for chips with portable kernels",
        "arena_rows": _arena_rows(budget),
        "larger_targets": _larger_targets(graph, budget),
        "operator_count": len(graph.operators),
        "registrations": registration_methods(graph),
        "size_bytes": len(model.flatbuffer),
        "lines": _array_lines(model.flatbuffer),
        "input_offsets": _offsets(budget.runtime_bytes, [graph.tensor(index).size_bytes for index in graph.inputs]),
        "has_variables": any(operator.stem == "var_handle" for operator in graph.operators)
        or any(tensor.is_variable for tensor in graph.tensors),
        "passes_rows": len(graph.inputs) == len(graph.outputs) == 1,
    }
    files = {".cc": "model.cc", "_data.c": "data.c", "_data.h": "data.h"}
    return {
        f"src/{description['id']}{ending}": render_template(f"tflm/{template}.j2", **context)
        for ending, template in files.items()
    }


def _offsets(first_bytes: int, sizes: Sequence[int]) -> Sequence[int]:
    """Place frames one behind the other, each aligned."""
    offsets = [first_bytes]
    for size_bytes in sizes[:-1]:
        offsets.append(offsets[-1] + aligned(size_bytes))
    return offsets


def _array_lines(data: bytes) -> Sequence[str]:
    return [
        ", ".join(f"0x{byte:02x}" for byte in data[start : start + _BYTES_PER_LINE])
        for start in range(0, len(data), _BYTES_PER_LINE)
    ]


def _arena_rows(budget: ArenaBudget) -> Sequence[str]:
    scratch = f"growth of TFLM's memory plan by scratch buffers of esp-nn {ESP_NN_VERSION}"
    terms = (
        (budget.runtime_bytes, "interpreter and operator table"),
        (budget.input_frame_bytes, "input frame, which survives inference"),
        (budget.measured_bytes, "as TFLM reported on a 64-bit host with portable kernels; a 32-bit chip needs less"),
        (budget.scratch_growth_bytes, scratch),
        (budget.bookkeeping_bytes, "handles of these buffers"),
    )
    rows = [f"{size_bytes:>7} {meaning}" for size_bytes, meaning in terms]
    if budget.worst_scratch_operator:
        rows.append(f"{'':>7} largest request: {budget.worst_scratch_bytes}, {budget.worst_scratch_operator}")
    return rows


def _larger_targets(graph: Graph, budget: ArenaBudget) -> Sequence[Mapping[str, object]]:
    """Find chips on which this library's arena would be too small, so that their build can stop at once."""
    others = (arena_budget(graph, budget.measured_bytes, target) for target in TARGETS)
    return [
        {"name": other.idf_target, "macro": str(other.idf_target).upper(), "total_bytes": other.total_bytes}
        for other in others
        if other.total_bytes > budget.total_bytes
    ]
