"""The interpreters that the compiled code must equal, byte for byte: TFLite's reference kernels and TFLite Micro.

BUILTIN_REF is `tf.lite.Interpreter` with `OpResolverType.BUILTIN_REF` and no delegates; it needs TensorFlow. TFLM is
the real TensorFlow Lite Micro interpreter with its portable kernels, from the `tflite-micro` wheel. Where the two
disagree TFLM is the truth, because it is what a device runs. TFLite's default kernels (XNNPACK) are no oracle.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import textwrap
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from codegen.captured_output import captured_output
from codegen.child_python import python_command
from codegen.errors import CodegenError
from codegen.graph.graph import Graph
from codegen.tflite.load import load_graph

Int8Array = npt.NDArray[np.int8]

_ARENA_STEPS_BYTES = (0, *(16 << i for i in range(10)))  # tried on top of what TFLM reports
_CONFIRM_TIMEOUT_S = 120
_CONFIRM = """
import sys
from tflite_micro.python.tflite_micro import runtime
model = sys.stdin.buffer.read()
interpreter = runtime.Interpreter.from_bytes(model, arena_size=int(sys.argv[1]))
interpreter.invoke()
"""


class ExecutorError(CodegenError):
    """An interpreter is absent, refused the model, or was handed inputs of another shape or type."""


def builtin_ref_available() -> bool:
    """Whether TensorFlow is installed. Imports nothing."""
    return importlib.util.find_spec("tensorflow") is not None


def run_builtin_ref(flatbuffer: bytes, inputs: Int8Array) -> Int8Array:
    """Run TFLite's reference kernels on each case: int8 (N, *input_shape[1:]) -> int8 (N, *output_shape[1:]).

    Raises ModelError for a damaged file, ExecutorError where TensorFlow is absent or refuses the model or inputs.
    """
    graph = _checked_graph(flatbuffer, inputs)
    interpreter = _builtin_ref_interpreter(flatbuffer)
    source, sink = graph.inputs[0], graph.outputs[0]

    def run(case: Int8Array) -> Any:
        interpreter.set_tensor(source, case)
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    return _run_cases("BUILTIN_REF", graph, inputs, run)


def trace_builtin_ref(flatbuffer: bytes, input: Int8Array) -> dict[int, npt.NDArray[Any]]:
    """Every activation of one inference by TFLite's reference kernels: tensor index -> value.

    `input` is int8 (1, H, W, C) or (H, W, C). The keys are the model's input and every operator's outputs. Raises as
    run_builtin_ref does.
    """
    case = input if input.ndim == 4 else input[None]
    graph = _checked_graph(flatbuffer, case)
    interpreter = _builtin_ref_interpreter(flatbuffer, preserve_all_tensors=True)
    indices = (*graph.inputs, *(index for operator in graph.operators for index in operator.outputs))

    def run(one: Int8Array) -> dict[int, npt.NDArray[Any]]:
        interpreter.set_tensor(graph.inputs[0], one)
        interpreter.invoke()
        return {index: np.array(interpreter.get_tensor(index)) for index in indices}

    return cast(dict[int, npt.NDArray[Any]], _guarded("BUILTIN_REF", lambda: run(case)))


def run_tflm(flatbuffer: bytes, inputs: Int8Array) -> Int8Array:
    """Run TFLite Micro's portable kernels on each case: int8 (N, *input_shape[1:]) -> int8 (N, *output_shape[1:]).

    The interpreter gets more arena than it can need. Raises ModelError for a damaged file, ExecutorError where TFLM
    refuses the model (an operator that it does not register, for instance) or the inputs.
    """
    graph = _checked_graph(flatbuffer, inputs)
    interpreter = _tflm_interpreter(flatbuffer, _ample_arena_bytes(graph))

    def run(case: Int8Array) -> Any:
        interpreter.set_input(case, 0)
        interpreter.invoke()
        return interpreter.get_output(0)

    return _run_cases("TFLM", graph, inputs, run)


@lru_cache(maxsize=32)
def measure_tflm_arena_bytes(flatbuffer: bytes) -> int:
    """Arena that TFLM needs for this model, in bytes, as TFLM itself reports after an inference.

    It is the "Arena allocation total" of RecordingMicroAllocator, confirmed by running in an arena of exactly that
    size, and raised in small steps should it not suffice (planning may need more than running). The trial happens in
    a process of its own, because this TFLM can crash in an arena that is too small. The wheel is a 64-bit build, and
    its recording allocator keeps books in the arena: on a 32-bit chip the same portable kernels need less, so the
    figure is an upper bound there. Kernels with scratch buffers of their own (ESP-NN) need more;
    codegen.library.tflm_arena adds that. Raises as run_tflm does.
    """
    graph = load_graph(flatbuffer)
    if graph.input.dtype != "int8":
        raise ExecutorError(f"input '{graph.input.name}' is {graph.input.dtype}", hint="quantize to full int8")
    total_bytes = _reported_arena_bytes(flatbuffer, graph)
    for step_bytes in _ARENA_STEPS_BYTES:
        if _runs_in(flatbuffer, total_bytes + step_bytes):
            return total_bytes + step_bytes
    raise ExecutorError(
        f"TFLM reports an arena of {total_bytes:,} bytes but does not run in {total_bytes + step_bytes:,}",
        hint="report this model; another tflite-micro version may behave",
    )


def _runs_in(flatbuffer: bytes, arena_bytes: int) -> bool:
    """Whether TFLM allocates and invokes in an arena of this size, tried in another process."""
    command = python_command("-c", _CONFIRM, str(arena_bytes))
    try:
        done = subprocess.run(command, input=flatbuffer, capture_output=True, timeout=_CONFIRM_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(f"TFLM did not finish within {_CONFIRM_TIMEOUT_S} s", hint="try again") from error
    return done.returncode == 0


def _ample_arena_bytes(graph: Graph) -> int:
    """More than TFLM can need: no tensor shares bytes with another, and generous books.

    A multiple of 16, because TFLM allocates from the end too: from another end, alignment would cost other bytes.
    """
    activations = sum(tensor.size_bytes for tensor in graph.tensors if tensor.data is None)
    return 32 * (activations // 16 + 1) + 4096 * (len(graph.tensors) + len(graph.operators)) + (1 << 16)


def _reported_arena_bytes(flatbuffer: bytes, graph: Graph) -> int:
    """What TFLM prints after one inference in an arena that is larger than needed."""
    interpreter = _tflm_interpreter(flatbuffer, _ample_arena_bytes(graph))
    zeros = np.zeros(graph.input.shape, np.int8)

    def report() -> str:
        interpreter.set_input(zeros, 0)
        interpreter.invoke()
        with captured_output() as text:
            interpreter.print_allocations()
            return text()

    marker = "Arena allocation total "
    for line in _guarded("TFLM", report).splitlines():
        if marker in line:
            return int(line.split(marker)[1].split()[0])
    raise ExecutorError("TFLM printed no arena figure", hint="install the tflite-micro version in constraints.txt")


def _tflm_interpreter(flatbuffer: bytes, arena_bytes: int) -> Any:
    def build() -> Any:
        from tflite_micro.python.tflite_micro import runtime

        return runtime.Interpreter.from_bytes(flatbuffer, arena_size=arena_bytes)

    return _guarded("TFLM", build)


def _builtin_ref_interpreter(flatbuffer: bytes, *, preserve_all_tensors: bool = False) -> Any:
    if not builtin_ref_available():
        raise ExecutorError("BUILTIN_REF needs TensorFlow", hint="pip install 'nanou-deploy[train]'")

    def build() -> Any:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite.Interpreter announces its successor on every use
            interpreter = tf.lite.Interpreter(
                model_content=flatbuffer,
                num_threads=1,
                experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
                experimental_preserve_all_tensors=preserve_all_tensors,
            )
        interpreter.allocate_tensors()
        return interpreter

    return _guarded("BUILTIN_REF", build)


def _checked_graph(flatbuffer: bytes, inputs: Int8Array) -> Graph:
    """Parse the file in Python before any C++ sees it: TFLM does not check its flatbuffer and would crash."""
    graph = load_graph(flatbuffer)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ExecutorError(f"the model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, not one each")
    # `shape` is what interpreters allocate; a batch of -1 appears in `shape_signature` only and has 1 here.
    want = graph.input.shape
    if graph.input.dtype != "int8" or graph.output.dtype != "int8" or want[0] != 1:
        raise ExecutorError(
            f"the model maps {graph.input.dtype} {want} to {graph.output.dtype}, not int8 of batch 1 to int8",
            hint="convert it again with int8 input and output and batch size 1",
        )
    if inputs.dtype != np.int8 or inputs.shape[1:] != want[1:]:
        raise ExecutorError(
            f"inputs are {inputs.dtype} {inputs.shape}, the model takes int8 (N, {', '.join(map(str, want[1:]))})",
            hint="quantize frames with Preprocessing.lookup_table first",
        )
    return graph


def _run_cases(executor: str, graph: Graph, inputs: Int8Array, run: Callable[[Int8Array], Any]) -> Int8Array:
    outputs = np.empty((len(inputs), *graph.output.shape[1:]), np.int8)

    def run_all() -> Int8Array:
        for i, case in enumerate(inputs):
            outputs[i] = run(np.ascontiguousarray(case[None]))[0]
        return outputs

    return cast(Int8Array, _guarded(executor, run_all))


def _guarded(executor: str, action: Callable[[], Any]) -> Any:
    """Run `action` with the interpreters' own printing held back; on failure it becomes part of the error."""
    with captured_output() as text:
        try:
            return action()
        except (RuntimeError, ValueError, TypeError, ImportError, AttributeError, IndexError) as error:
            said = [line.strip() for line in [*str(error).splitlines(), *text().splitlines()] if line.strip()]
            detail = textwrap.shorten("; ".join(dict.fromkeys(said)), 300) or type(error).__name__
            raise ExecutorError(
                f"{executor} refused the model: {detail}", hint="`nanou-deploy inspect` lists the model's operators"
            ) from error
