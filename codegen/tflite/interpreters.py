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
import struct
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
import tflite

from codegen.child_python import python_command
from codegen.errors import CodegenError
from codegen.graph.graph import Graph
from codegen.tflite.load import load_graph
from codegen.tflite.verify import verify_file
from codegen.untrusted import parse_json, printable

Cases = npt.NDArray[Any]
Runtime = Literal["tflm", "builtin_ref"]

_NAMES = {"tflm": "TensorFlow Lite Micro", "builtin_ref": "BUILTIN_REF"}
_ARENA_STEPS_BYTES = (0, *(16 << i for i in range(10)))  # tried on top of what TFLM reports
_ANSWER_S = 180.0  # importing TensorFlow on a busy machine, or one message of cases
_MESSAGE_S = 5.0  # that the cases of one message are to take, judged by the first
_MESSAGE_CASES = 64
_TEXT_BYTES = 4 << 20
_DTYPES = ("int8", "uint8", "float32", "int32", "int64", "int16", "bool")  # of inputs and outputs
_VERSION_FIELD = 8  # of OperatorCode, in bytes of its vtable (schema.fbs)
_STATEFUL = frozenset({"var_handle", "call_once"})


class ExecutorError(CodegenError):
    """An interpreter is absent, refused the model, crashed on it, or was handed inputs of another shape or type."""


class InterpreterCrash(ExecutorError):  # noqa: N818 (says what happened)
    """An interpreter's process ended on a file that had been verified: it was made, or damaged, to do that."""


def builtin_ref_available() -> bool:
    """Whether TensorFlow is installed. Imports nothing."""
    return importlib.util.find_spec("tensorflow") is not None


def run_builtin_ref(flatbuffer: bytes, inputs: Cases) -> Cases:
    """Run TFLite's reference kernels on each case, as consecutive inferences: state goes from one to the next.

    Inputs one behind the other (N, input bytes), or of a model's only one (N, *shape[1:]), to outputs likewise: int8
    (N, *shape[1:]) of a single int8 output, else uint8 (N, output bytes). All are those that the file states. Raises
    ModelError for a damaged file, ExecutorError where TensorFlow is absent, crashes, or refuses the model or inputs.
    """
    return _run("builtin_ref", flatbuffer, inputs, traced=[])


def trace_builtin_ref(flatbuffer: bytes, input: Cases) -> dict[int, npt.NDArray[Any]]:
    """Every activation of one inference by TFLite's reference kernels: tensor index -> value.

    `input` is one case, with or without the 1 of the batch, or all its bytes. The keys are the model's inputs and every
    operator's outputs. Raises as run_builtin_ref does.
    """
    graph = _checked_graph(flatbuffer)
    case = _checked_inputs(graph, input.reshape(1, -1) if input.size == graph.input_bytes else input)
    indices = (*graph.inputs, *(index for operator in graph.operators for index in operator.outputs))
    with _process("builtin_ref") as process:
        process.load(flatbuffer, graph, traced=sorted(set(indices)))
        return process.trace(graph, case)


def _with_known_versions(flatbuffer: bytes) -> bytes:
    """State, in a verified file, the version 1 of DEPTH_TO_SPACE that TFLite's reference kernels are registered as.

    They compute int8 too, which the converter calls version 2; TFLite's list of reference kernels (register_ref.cc in
    2.21) was not brought up to date. TFLM has no versions.
    """
    model, changed = tflite.Model.GetRootAs(flatbuffer), bytearray(flatbuffer)
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        is_meant = tflite.BuiltinOperator.DEPTH_TO_SPACE in (code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if is_meant and (at := code._tab.Offset(_VERSION_FIELD)):
            struct.pack_into("<i", changed, code._tab.Pos + at, 1)
    return bytes(changed)


def run_tflm(flatbuffer: bytes, inputs: Cases) -> Cases:
    """Run TFLite Micro's portable kernels on each case, as `run_builtin_ref` does with its own.

    The interpreter gets more arena than it can need. Raises ModelError for a damaged file, ExecutorError where TFLM
    crashes, or refuses the model (an operator that it does not register, for instance) or the inputs.
    """
    return _run("tflm", flatbuffer, inputs, arena_bytes=_ample_arena_bytes(_checked_graph(flatbuffer)))


def _run(runtime: Runtime, flatbuffer: bytes, inputs: Cases, **options: Any) -> Cases:
    graph = _checked_graph(flatbuffer)
    cases = _checked_inputs(graph, inputs)
    with _process(runtime) as process:
        process.load(flatbuffer, graph, **options)
        return graph.shape_outputs(process.run(graph, cases))


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
            process.load(flatbuffer, graph, arena_bytes=arena_bytes)
            process.run(graph, np.zeros((1, graph.input_bytes), np.uint8))
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
    """Return what TFLM prints after one inference in an arena that is larger than needed."""
    with _process("tflm") as process:
        process.load(flatbuffer, graph, arena_bytes=_ample_arena_bytes(graph))
        process.run(graph, np.zeros((1, graph.input_bytes), np.uint8))
        printed = process.allocations()
    marker = "Arena allocation total "
    for line in printed.splitlines():
        if marker in line:
            return int(line.split(marker)[1].split()[0])
    raise ExecutorError("TFLM printed no arena figure", hint="install the tflite-micro version in constraints.txt")


@lru_cache(maxsize=32)
def _checked_graph(flatbuffer: bytes) -> Graph:
    """Parse and verify the file in Python before any C++ sees it: TFLM does neither and would crash."""
    graph = verify_file(load_graph(flatbuffer))
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensor(index)
        if tensor.dtype not in _DTYPES:
            known = f"interpreters are handed {', '.join(_DTYPES)}"
            raise ExecutorError(f"tensor '{tensor.name}' is {tensor.dtype}", hint=known)
    return graph


def _checked_inputs(graph: Graph, inputs: Cases) -> Cases:
    """uint8 (N, input bytes)."""
    shape = graph.input.shape[1:]
    is_alone = len(graph.inputs) == 1 and inputs.dtype.name == graph.input.dtype and inputs.shape[1:] == shape
    is_flat = inputs.dtype.itemsize == 1 and inputs.ndim == 2 and inputs.shape[1] == graph.input_bytes
    if not is_alone and not is_flat:
        alone = f"{graph.input.dtype} (N, {', '.join(map(str, shape))})"
        wanted = alone if len(graph.inputs) == 1 else f"{len(graph.inputs)} inputs"
        raise ExecutorError(
            f"inputs are {inputs.dtype} {inputs.shape}, the model takes {wanted}",
            hint=f"hand over {graph.input_bytes} bytes a case; Preprocessing.lookup_table quantizes pictures",
        )
    return np.ascontiguousarray(inputs).reshape(len(inputs), -1).view(np.uint8)


def _kinds(graph: Graph) -> list[tuple[str, list[int]]]:
    return [(graph.tensor(index).dtype, list(graph.tensor(index).shape)) for index in graph.inputs]


class _Process:
    """One running interpreter_process.py and the model that it has loaded."""

    def __init__(self, runtime: Runtime) -> None:
        ours, theirs = socket.socketpair()
        script = Path(__file__).with_name("interpreter_process.py")
        self._name, self._runtime = _NAMES[runtime], runtime
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

    def load(self, flatbuffer: bytes, graph: Graph, **options: Any) -> None:
        """Make the interpreter of this model, unless it is what is there and keeps nothing of its past."""
        wanted = (hashlib.sha256(flatbuffer).digest(), repr(options))
        keeps_state = any(tensor.is_variable for tensor in graph.tensors) or bool(_STATEFUL & graph.stems)
        if wanted != self._loaded or keeps_state:
            self._loaded = None
            known = _with_known_versions(flatbuffer) if self._runtime == "builtin_ref" else flatbuffer
            self._ask({"do": "load", **options}, known, 0)
            self._loaded = wanted

    def run(self, graph: Graph, cases: Cases) -> Cases:
        """uint8 (N, input bytes) -> (N, output bytes); so many cases in a message that it takes a few seconds."""
        size_bytes, at_once, position = graph.output_bytes, 1, 0
        outputs = np.empty((len(cases), size_bytes), np.uint8)
        while position < len(cases):
            some = cases[position : position + at_once]
            begun = time.monotonic()
            request = {"do": "run", "inputs": _kinds(graph), "outputs": len(graph.outputs)}
            _, data = self._ask(request, some.tobytes(), len(some) * size_bytes)
            outputs[position : position + len(some)] = np.frombuffer(data, np.uint8).reshape(len(some), -1)
            position += len(some)
            at_once = max(1, min(_MESSAGE_CASES, int(_MESSAGE_S * len(some) / (time.monotonic() - begun + 1e-3))))
        return outputs

    def trace(self, graph: Graph, case: Cases) -> dict[int, npt.NDArray[Any]]:
        most_bytes = 8 * sum(math.prod(tensor.shape) for tensor in graph.tensors if tensor.data is None)
        request = {"do": "trace", "inputs": _kinds(graph)}
        answer, data = self._ask(request, case.tobytes(), most_bytes, exactly=False)
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
                hint="convert the model again; a file that does this was damaged, made to do it, or ends in a SOFTMAX "
                "of more than 511 nearly equal values, as untrained networks do",
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
    """Return this process's child for the runtime, started where there is none, for one thread at a time."""
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
