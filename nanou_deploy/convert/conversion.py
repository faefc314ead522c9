"""Convert a model of another framework in a process of its own, which may do no more than that, and may die."""

from __future__ import annotations

import io
import json
import math
import os
import re
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.child_python import python_command
from codegen.graph.model import MAX_TENSORS
from codegen.tflite.files import MODEL_BYTES
from codegen.tflite.load import load_graph
from codegen.tflite.quantize import Samples, check_full_int8
from codegen.untrusted import parse_json, printable, read_bounded
from nanou_deploy.convert.source import ModelSource
from nanou_deploy.errors import DeployError

_ANSWER_S = 1800.0
_TEXT_BYTES = 16 << 20
_MOST_LAYERS = 4096
_OUTPUT_BYTES = 1 << 30


@dataclass(frozen=True)
class TensorFacts:
    """An input or output of the converted model: its name in the model, and its shape with a batch of 1."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class LayerLoss:
    """What one layer loses by int8: `lost` is the error's share of the signal's power, as the mean over channels.

    `error_steps` is the root mean square error in steps of the layer's output; rounding alone makes 0.29. `index` is
    the operator's in the .tflite file, where its tensor has the same name there.
    """

    index: int | None
    operator: str
    tensor: str
    error_steps: float
    lost: float


@dataclass(frozen=True, eq=False)
class Quantized:
    """The int8 .tflite file, and what its layers lose, in the order of the network."""

    flatbuffer: bytes
    layers: tuple[LayerLoss, ...]

    @property
    def worst(self) -> LayerLoss | None:
        return max(self.layers, key=lambda layer: layer.lost, default=None)


class Conversion:
    """A model that is being converted: `inputs` and `outputs`, then `quantize`, then `run`. A context manager.

    `weights` has the sha256 of each file that an .onnx file keeps weights in, by its name.
    """

    def __init__(self, source: ModelSource, *, signature: str, size: tuple[int, int] | None) -> None:
        self._source = source
        self._folder = tempfile.TemporaryDirectory(prefix="nanou-import-")
        self._root = Path(self._folder.name)
        self._start()
        try:
            path = str(source.path.absolute())
            answer = self._ask("open", path=path, format=source.format, signature=signature, size=size)
            self.inputs, self.outputs = (_tensor_facts(answer, key) for key in ("inputs", "outputs"))
            self.weights = _weights(answer["weights"])
        except BaseException:
            self.close()
            raise

    def quantize(self, representative: Samples) -> Quantized:
        """Convert to full int8 with the ranges of `representative`. Raises DeployError, ModelError."""
        self._save("representative", representative)
        answer = self._ask("quantize", inputs=len(representative))
        flatbuffer = read_bounded(self._root / "int8.tflite", MODEL_BYTES)
        check_full_int8(flatbuffer)
        graph = load_graph(flatbuffer)
        indices = {graph.tensor(output).name: one.index for one in graph.operators for output in one.outputs}
        return Quantized(flatbuffer, tuple(_layer_loss(row, indices) for row in answer["layers"][:_MOST_LAYERS]))

    def run(self, scored: Samples) -> tuple[list[npt.NDArray[np.float32]], list[npt.NDArray[np.int8]]]:
        """Each output (N, ...) of the float32 model, and of the int8 one, for the same inputs."""
        self._save("scored", scored)
        self._ask("run", inputs=len(scored))
        counts = range(len(self.outputs))
        floats = [self._load(f"float-{index}.npy", np.float32) for index in counts]
        return floats, [self._load(f"int8-{index}.npy", np.int8) for index in counts]

    def close(self) -> None:
        """End the process and remove its folder, whatever it is at."""
        self._connection.close()
        try:
            self._child.wait(0.2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._folder.cleanup()

    def __enter__(self) -> Conversion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                python_command("-m", "nanou_deploy.convert.conversion_process", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                cwd=self._root,
                env=_environment(self._root),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())

    def _ask(self, what: str, **request: Any) -> dict[str, Any]:
        """Send a request and take the answer, which is no more to be trusted than the file."""
        path = self._source.path
        try:
            self._connection.send_bytes(json.dumps({"do": what, **request}).encode())
            if not self._connection.poll(_ANSWER_S):
                raise DeployError(f"converting {path} took more than {_ANSWER_S:g} s", hint="use fewer --samples")
            answer = parse_json(self._connection.recv_bytes(_TEXT_BYTES))
        except (OSError, EOFError, ValueError) as error:
            self._connection.close()
            self._child.wait()
            raise DeployError(
                f"the process that converts {path} ended with {self._child.returncode}",
                hint="the model crashes TensorFlow or takes more memory than is allowed: export it again, or smaller",
            ) from error
        if "error" in answer:
            hint = printable(str(answer.get("hint") or ""), 400) or "export the model again, or change that part of it"
            raise DeployError(f"{path} cannot be imported: {printable(str(answer['error']), 500)}", hint=hint)
        return dict(answer)

    def _save(self, name: str, samples: Samples) -> None:
        for index, values in enumerate(samples):
            np.save(self._root / f"{name}-{index}.npy", values.astype(np.float32))

    def _load(self, name: str, dtype: Any) -> npt.NDArray[Any]:
        values = np.load(io.BytesIO(read_bounded(self._root / name, _OUTPUT_BYTES)), allow_pickle=False)
        if values.dtype != dtype:
            raise DeployError(f"an output of {self._source.path} is {values.dtype}", hint="export the model again")
        return np.asarray(values)


def _environment(folder: Path) -> dict[str, str]:
    """Everything that the libraries write goes into the folder, and nothing is downloaded."""
    nowhere = "http://127.0.0.1:9"
    ours = {"HOME": str(folder), "TMPDIR": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    paths = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere)
    return {**os.environ, **ours, **proxies, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}


def _tensor_facts(answer: dict[str, Any], key: str) -> tuple[TensorFacts, ...]:
    facts = tuple(TensorFacts(str(one["name"])[:256], tuple(map(int, one["shape"]))) for one in answer[key])
    if not 1 <= len(facts) <= MAX_TENSORS or any(math.prod(one.shape) > 1 << 28 for one in facts):
        raise DeployError(f"the model has {len(facts)} {key} or huge ones", hint="export a smaller model")
    return facts


def _weights(answer: dict[str, Any]) -> dict[str, str]:
    """Check that what the process says of files are names and digests."""
    if not all(re.fullmatch(r"[0-9a-f]{64}", str(one)) for one in answer.values()):
        raise DeployError("the process that converts gives no digests", hint="export the model again")
    return {printable(name, 255): str(one) for name, one in answer.items()}


def _layer_loss(row: dict[str, Any], indices: dict[str, int]) -> LayerLoss:
    name = str(row["tensor"])
    return LayerLoss(indices.get(name), str(row["operator"]), name, float(row["error_steps"]), float(row["lost"]))
