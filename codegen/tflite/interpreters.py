"""The interpreters that the compiled code must equal, byte for byte: TFLite's reference kernels and TFLite Micro.

BUILTIN_REF is `tf.lite.Interpreter` with `OpResolverType.BUILTIN_REF` and no delegates; it needs TensorFlow. TFLM is
the real TensorFlow Lite Micro interpreter with its portable kernels, from the `tflite-micro` wheel. Where the two
disagree TFLM is the truth, because it is what a device runs. TFLite's default kernels (XNNPACK) are no oracle.

Neither checks its files, and both end their process where one is wrong in a way that nobody thought of. So each runs in
a child (interpreter_process.py) that is started once and may die: its death is an error like any other.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.util
import json
import math
import os
import signal
import socket
import subprocess
import textwrap
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from codegen.child_python import python_command
from codegen.errors import CodegenError
from codegen.graph.graph import Graph
from codegen.tflite.load import load_graph
from codegen.tflite.verify import verify_file
from codegen.untrusted import parse_json, printable

Int8Array = npt.NDArray[np.int8]
Runtime = Literal["tflm", "builtin_ref"]

_NAMES = {"tflm": "TensorFlow Lite Micro", "builtin_ref": "BUILTIN_REF"}
_ARENA_STEPS_BYTES = (0, *(16 << i for i in range(10)))  # tried on top of what TFLM reports
_ANSWER_S = 180.0  # importing TensorFlow on a busy machine, or one message of cases
_MESSAGE_S = 5.0  # that the cases of one message are to take, judged by the first
_MESSAGE_CASES = 64
_TEXT_BYTES = 4 << 20


class ExecutorError(CodegenError):
    """An interpreter is absent, refused the model, crashed on it, or was handed inputs of another shape or type."""


class InterpreterCrash(ExecutorError):  # noqa: N818 (says what happened)
    """An interpreter's process ended on a file that had been verified: it was made, or damaged, to do that."""


def builtin_ref_available() -> bool:
    """Whether TensorFlow is installed. Imports nothing."""
    return importlib.util.find_spec("tensorflow") is not None


def run_builtin_ref(flatbuffer: bytes, inputs: Int8Array) -> Int8Array:
    """Run TFLite's reference kernels on each case: int8 (N, *input_shape[1:]) -> int8 (N, *output_shape[1:]).

    Raises ModelError for a damaged file, ExecutorError where TensorFlow is absent, crashes, or refuses the model or
    inputs.
    """
    graph = _checked_graph(flatbuffer)
    _check_inputs(graph, inputs)
    with _process("builtin_ref") as process:
        process.load(flatbuffer, traced=[])
        return process.run(graph, inputs)


def trace_builtin_ref(flatbuffer: bytes, input: Int8Array) -> dict[int, npt.NDArray[Any]]:
    """Every activation of one inference by TFLite's reference kernels: tensor index -> value.

    `input` is one case of the input's shape, with or without the 1 of the batch. The keys are the model's input and
    every operator's outputs. Raises as run_builtin_ref does.
    """
    graph = _checked_graph(flatbuffer)
    case = input if input.ndim == len(graph.input.shape) else input[None]
    _check_inputs(graph, case)
    indices = (*graph.inputs, *(index for operator in graph.operators for index in operator.outputs))
    with _process("builtin_ref") as process:
        process.load(flatbuffer, traced=sorted(set(indices)))
        return process.trace(graph, case)


def run_tflm(flatbuffer: bytes, inputs: Int8Array) -> Int8Array:
    """Run TFLite Micro's portable kernels on each case: int8 (N, *input_shape[1:]) -> int8 (N, *output_shape[1:]).

    The interpreter gets more arena than it can need. Raises ModelError for a damaged file, ExecutorError where TFLM
    crashes, or refuses the model (an operator that it does not register, for instance) or the inputs.
    """
    graph = _checked_graph(flatbuffer)
    _check_inputs(graph, inputs)
    with _process("tflm") as process:
        process.load(flatbuffer, arena_bytes=_ample_arena_bytes(graph))
        return process.run(graph, inputs)


@lru_cache(maxsize=32)
def measure_tflm_arena_bytes(flatbuffer: bytes) -> int:
    """Arena that TFLM needs for this model, in bytes, as TFLM itself reports after an inference.

    It is the "Arena allocation total" of RecordingMicroAllocator, confirmed by running in an arena of exactly that
    size, and raised in small steps should it not suffice (planning may need more than running; this TFLM can also
    crash in an arena that is too small). The wheel is a 64-bit build, and its recording allocator keeps books in the
    arena: on a 32-bit chip the same portable kernels need less, so the figure is an upper bound there. Kernels with
    scratch buffers of their own (ESP-NN) need more; codegen.library.tflm_arena adds that. Raises as run_tflm does.
    """
    graph = _checked_graph(flatbuffer)
    total_bytes = _reported_arena_bytes(flatbuffer, graph)
    for step_bytes in _ARENA_STEPS_BYTES:
        if _runs_in(flatbuffer, total_bytes + step_bytes):
            return total_bytes + step_bytes
    raise ExecutorError(
        f"TFLM reports an arena of {total_bytes:,} bytes but does not run in {total_bytes + step_bytes:,}",
        hint="report this model; another tflite-micro version may behave",
    )


def _runs_in(flatbuffer: bytes, arena_bytes: int) -> bool:
    """Whether TFLM allocates and invokes in an arena of this size."""
    graph = load_graph(flatbuffer)
    try:
        with _process("tflm") as process:
            process.load(flatbuffer, arena_bytes=arena_bytes)
            process.run(graph, np.zeros(graph.input.shape, np.int8))
    except ExecutorError:
        return False
    return True


def _ample_arena_bytes(graph: Graph) -> int:
    """More than TFLM can need: no tensor shares bytes with another, and generous books.

    A multiple of 16, because TFLM allocates from the end too: from another end, alignment would cost other bytes.
    """
    activations = sum(tensor.size_bytes for tensor in graph.tensors if tensor.data is None)
    return 32 * (activations // 16 + 1) + 4096 * (len(graph.tensors) + len(graph.operators)) + (1 << 16)


def _reported_arena_bytes(flatbuffer: bytes, graph: Graph) -> int:
    """What TFLM prints after one inference in an arena that is larger than needed."""
    with _process("tflm") as process:
        process.load(flatbuffer, arena_bytes=_ample_arena_bytes(graph))
        process.run(graph, np.zeros(graph.input.shape, np.int8))
        printed = process.allocations()
    marker = "Arena allocation total "
    for line in printed.splitlines():
        if marker in line:
            return int(line.split(marker)[1].split()[0])
    raise ExecutorError("TFLM printed no arena figure", hint="install the tflite-micro version in constraints.txt")


def _checked_graph(flatbuffer: bytes) -> Graph:
    """Parse and verify the file in Python before any C++ sees it: TFLM does neither and would crash."""
    graph = verify_file(load_graph(flatbuffer))
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ExecutorError(f"the model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, not one each")
    # `shape` is what interpreters allocate; a batch of -1 appears in `shape_signature` only and has 1 here.
    shape = graph.input.shape
    if graph.input.dtype != "int8" or graph.output.dtype != "int8" or shape[:1] != (1,):
        raise ExecutorError(
            f"the model maps {graph.input.dtype} {shape} to {graph.output.dtype}, not int8 of batch 1 to int8",
            hint="convert it again with int8 input and output and batch size 1",
        )
    return graph


def _check_inputs(graph: Graph, inputs: Int8Array) -> None:
    shape = graph.input.shape[1:]
    if inputs.dtype != np.int8 or inputs.shape[1:] != shape:
        raise ExecutorError(
            f"inputs are {inputs.dtype} {inputs.shape}, the model takes int8 (N, {', '.join(map(str, shape))})",
            hint="quantize frames with Preprocessing.lookup_table first",
        )


class _Process:
    """One running interpreter_process.py and the model that it has loaded."""

    def __init__(self, runtime: Runtime) -> None:
        ours, theirs = socket.socketpair()
        script = Path(__file__).with_name("interpreter_process.py")
        self._name = _NAMES[runtime]
        self.lock = threading.RLock()
        with theirs:
            self._child = subprocess.Popen(
                python_command(str(script), runtime, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._loaded: object = None

    @property
    def is_usable(self) -> bool:
        return not self._connection.closed

    def load(self, flatbuffer: bytes, **options: Any) -> None:
        """Make the interpreter of this model, unless it is what is there."""
        wanted = (hashlib.sha256(flatbuffer).digest(), repr(options))
        if wanted != self._loaded:
            self._loaded = None
            self._ask({"do": "load", **options}, flatbuffer, 0)
            self._loaded = wanted

    def run(self, graph: Graph, inputs: Int8Array) -> Int8Array:
        """The outputs of each case; so many in a message that it takes a few seconds."""
        shape, at_once, position = graph.output.shape[1:], 1, 0
        outputs = np.empty((len(inputs), *shape), np.int8)
        while position < len(inputs):
            cases = inputs[position : position + at_once]
            begun = time.monotonic()
            request = {"do": "run", "shape": list(cases.shape)}
            _, data = self._ask(request, cases.tobytes(), len(cases) * math.prod(shape))
            outputs[position : position + len(cases)] = np.frombuffer(data, np.int8).reshape(-1, *shape)
            position += len(cases)
            at_once = max(1, min(_MESSAGE_CASES, int(_MESSAGE_S * len(cases) / (time.monotonic() - begun + 1e-3))))
        return outputs

    def trace(self, graph: Graph, case: Int8Array) -> dict[int, npt.NDArray[Any]]:
        most_bytes = 8 * sum(math.prod(tensor.shape) for tensor in graph.tensors if tensor.data is None)
        answer, data = self._ask({"do": "trace", "shape": list(case.shape)}, case.tobytes(), most_bytes, exactly=False)
        values, position = {}, 0
        for index, (dtype, shape) in answer["tensors"].items():
            size = math.prod(shape) * np.dtype(dtype).itemsize
            values[int(index)] = np.frombuffer(data[position : position + size], dtype).reshape(shape)
            position += size
        return values

    def allocations(self) -> str:
        return str(self._ask({"do": "allocations"}, b"", 0)[0]["text"])

    def _ask(
        self, request: dict[str, Any], data: bytes, answer_bytes: int, *, exactly: bool = True
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and take the answer, which is no more to be trusted than the file: its sizes are checked."""
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            self._connection.send_bytes(data)
            if not self._connection.poll(_ANSWER_S):
                raise ExecutorError(
                    f"{self._name} did not finish within {_ANSWER_S:g} s", hint="use a smaller model, or fewer cases"
                )
            answer = parse_json(self._connection.recv_bytes(_TEXT_BYTES))
            payload = self._connection.recv_bytes(answer_bytes)
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise InterpreterCrash(
                f"{self._name} crashed on this file ({self._ending()})",
                hint="convert the model again; a file that does this was damaged, or made to do it",
            ) from error
        except BaseException:  # also Ctrl-C: whatever it is at, its next answer would be to this request
            self.close()
            raise
        if "error" in answer:
            said = [line.strip() for line in answer["error"].splitlines() if line.strip()]
            detail = printable(textwrap.shorten("; ".join(dict.fromkeys(said)), 300), 300) or "without a word"
            raise ExecutorError(
                f"{self._name} refused the model: {detail}", hint="`nanou-deploy inspect` lists the model's operators"
            )
        if exactly and len(payload) != answer_bytes:
            raise ExecutorError(f"{self._name} gave {len(payload)} bytes of output, the file states {answer_bytes}")
        return answer, payload

    def _ending(self) -> str:
        code = self._child.returncode
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"exit code {code}"

    def close(self) -> None:
        """End the child: of itself where it has crashed or its connection is closed, killed where it is busy."""
        self._connection.close()
        try:
            self._child.wait(0.2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


_processes: dict[tuple[int, Runtime], _Process] = {}
_starting = threading.Lock()


@contextlib.contextmanager
def _process(runtime: Runtime) -> Iterator[_Process]:
    """This process's child for the runtime, started where there is none, for one thread at a time."""
    if runtime == "builtin_ref" and not builtin_ref_available():
        raise ExecutorError("BUILTIN_REF needs TensorFlow", hint="pip install 'nanou-deploy[train]'")
    key = (os.getpid(), runtime)  # a fork has to have its own
    with _starting:
        if key not in _processes or not _processes[key].is_usable:
            _processes[key] = _Process(runtime)
        process = _processes[key]
    with process.lock:
        yield process


@atexit.register
def _end_processes() -> None:
    for (owner, _), process in _processes.items():
        if owner == os.getpid():
            process.close()
