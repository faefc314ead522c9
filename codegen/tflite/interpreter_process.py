"""Child process that runs an interpreter on a file which may crash it; interpreters.py starts it and asks.

A script of its own that imports nothing of this project: `python -P interpreter_process.py tflm|builtin_ref SOCKET`.
A request is one JSON message, then the bytes that it announces; so is an answer. What the interpreters print is part
of their errors, never of the output of the process that asks.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

_MEMORY_BYTES = {"tflm": 4 << 30, "builtin_ref": 24 << 30}  # of address space, which TensorFlow takes much of
_PRINTED_BYTES = 1 << 20
_FILE_BYTES = 256 << 20  # what is printed goes into a file

_PR_SET_PDEATHSIG = 1  # Linux prctl(2)


class Interpreter(Protocol):
    """One loaded model."""

    def run(self, inputs: list[Any], outputs: int) -> list[Any]:
        """Return the output tensors, so many, for the input tensors."""

    def trace(self, inputs: list[Any]) -> dict[int, Any]:
        """Every tensor after an inference, by index."""

    def print_allocations(self) -> None:
        """Print how the arena is used."""


class Tflm:
    def __init__(self, model: bytes, arena_bytes: int, **_: Any) -> None:
        from tflite_micro.python.tflite_micro import runtime

        self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)

    def run(self, inputs: list[Any], outputs: int) -> list[Any]:
        for position, value in enumerate(inputs):
            self._interpreter.set_input(value, position)
        self._interpreter.invoke()
        return [self._interpreter.get_output(position) for position in range(outputs)]

    def trace(self, inputs: list[Any]) -> dict[int, Any]:
        raise RuntimeError("TFLM reuses memory: it keeps no tensor but the output")

    def print_allocations(self) -> None:
        self._interpreter.print_allocations()


class BuiltinRef:
    def __init__(self, model: bytes, *, traced: list[int], **_: Any) -> None:
        tflite = tflite_alone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf.lite.Interpreter announces its successor on every use
            self._interpreter = tflite.Interpreter(
                model_content=model,
                num_threads=1,
                experimental_op_resolver_type=tflite.OpResolverType.BUILTIN_REF,
                experimental_preserve_all_tensors=bool(traced),
            )
        self._interpreter.allocate_tensors()
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        self._traced = traced

    def run(self, inputs: list[Any], outputs: int) -> list[Any]:
        for index, value in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs[:outputs]]

    def trace(self, inputs: list[Any]) -> dict[int, Any]:
        self.run(inputs, 0)
        return {index: self._interpreter.get_tensor(index) for index in self._traced}

    def print_allocations(self) -> None:
        raise RuntimeError("only TFLM has an arena")


def tflite_alone() -> Any:
    """Import TensorFlow's module of TFLite's interpreter, which is a library of its own: 0.1 s instead of 3 s.

    Nothing of the module that is `tensorflow` runs. Where TensorFlow is too new, or too old, for that, all of it does.
    """
    spec = importlib.util.find_spec("tensorflow")
    if spec is None:
        raise ModuleNotFoundError("No module named 'tensorflow'")
    sys.modules["tensorflow"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module("tensorflow.lite.python.interpreter")
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow"]:
            del sys.modules[name]
        return importlib.import_module("tensorflow.lite.python.interpreter")


class Server:
    """Answers requests on the connection until its other end is closed."""

    def __init__(self, runtime: str, connection: Connection, printed: Callable[[], str]) -> None:
        self._runtime, self._connection, self._printed = runtime, connection, printed
        self._interpreter: Interpreter | None = None

    def serve(self) -> None:
        while True:
            try:
                request = json.loads(self._connection.recv_bytes())
                data = self._connection.recv_bytes()
            except (EOFError, OSError):
                return
            self._printed()  # forget what was printed before
            try:
                answer, payload = getattr(self, request.pop("do"))(data, **request)
            except Exception as error:
                answer, payload = {"error": f"{error}\n{self._printed()}"}, b""
            self._connection.send_bytes(json.dumps(answer).encode())
            self._connection.send_bytes(payload)

    def load(self, model: bytes, **options: Any) -> tuple[dict[str, Any], bytes]:
        self._interpreter = None  # the memory of the last one first
        self._interpreter = (Tflm if self._runtime == "tflm" else BuiltinRef)(model, **options)
        return {}, b""

    def run(self, data: bytes, *, inputs: list[Any], outputs: int) -> tuple[dict[str, Any], bytes]:
        assert self._interpreter
        results = [self._interpreter.run(case, outputs) for case in split_cases(data, inputs)]
        return {}, b"".join(np.asarray(value).tobytes() for result in results for value in result)

    def trace(self, data: bytes, *, inputs: list[Any]) -> tuple[dict[str, Any], bytes]:
        assert self._interpreter
        (case,) = split_cases(data, inputs)
        tensors = self._interpreter.trace(case)
        named = {index: (value.dtype.name, list(value.shape)) for index, value in tensors.items()}
        return {"tensors": named}, b"".join(value.tobytes() for value in tensors.values())

    def allocations(self, _data: bytes) -> tuple[dict[str, Any], bytes]:
        assert self._interpreter
        self._interpreter.print_allocations()
        return {"text": self._printed()}, b""


def split_cases(data: bytes, inputs: list[Any]) -> list[list[Any]]:
    """Split the inputs of each case, which lie one behind the other; `inputs` are pairs of a dtype and a shape."""
    kinds = [(np.dtype(dtype), tuple(shape)) for dtype, shape in inputs]
    sizes = [dtype.itemsize * int(np.prod(shape)) for dtype, shape in kinds]
    cases = []
    for start in range(0, len(data), sum(sizes)):
        case = []
        for (dtype, shape), size in zip(kinds, sizes, strict=True):
            case.append(np.frombuffer(data[start : start + size], dtype).reshape(shape))
            start += size
        cases.append(case)
    return cases


def limit_resources(memory_bytes: int, file_bytes: int) -> None:
    """End with the parent, dump no core, and take no more memory than any model needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which hears Ctrl-C too, ends this process
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        lower_limit(resource.RLIMIT_AS, memory_bytes)
    lower_limit(resource.RLIMIT_FSIZE, file_bytes)
    lower_limit(resource.RLIMIT_CORE, 0)


def lower_limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def capture_output() -> Callable[[], str]:
    """Send what is printed, by C++ too, into a file; returns a function that takes what has come since."""
    libc = ctypes.CDLL(None)
    sink = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
    for descriptor in (1, 2):
        os.dup2(sink.fileno(), descriptor)

    def take() -> str:
        libc.fflush(None)
        sys.stdout.flush()
        sys.stderr.flush()
        sink.seek(0)
        text = sink.read(_PRINTED_BYTES).decode(errors="replace")
        sink.seek(0)
        sink.truncate()
        return text

    return take


def main() -> None:
    runtime, socket = sys.argv[1], int(sys.argv[2])
    limit_resources(_MEMORY_BYTES[runtime], _FILE_BYTES)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    Server(runtime, Connection(socket), capture_output()).serve()


if __name__ == "__main__":
    main()
