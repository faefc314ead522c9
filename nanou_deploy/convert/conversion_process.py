"""Child process that loads a stranger's model, converts and runs it; conversion.py starts it and asks.

`python -P -m nanou_deploy.convert.conversion_process SOCKET`, in an empty folder of its own. A request is a JSON
message, and so is its answer; arrays and models are files in the folder.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.errors import CodegenError
from codegen.graph.model import Quantization
from codegen.tflite.interpreter_process import capture_output, limit_resources, lower_limit
from nanou_deploy.errors import DeployError
from nanou_train.errors import TrainError

_MEMORY_BYTES = 24 << 30  # of address space, of which TensorFlow takes much
_FILE_BYTES = 2 << 30
_CPU_S = 3600
_FIXED = Path("fixed")  # the SavedModel with fixed shapes that every format ends in


def open_model(path: str, format: str, signature: str, size: list[int] | None) -> dict[str, Any]:
    """Bring the model to a SavedModel of fixed shapes, and to float.tflite, whose inputs and outputs are told.

    So are the sha256 of files of weights beside an .onnx file.
    """
    from codegen.start_tensorflow import import_tensorflow
    from codegen.tflite.quantize import convert_saved_model
    from nanou_deploy.convert.fixed_shapes import fix_shapes
    from nanou_train.networks.saved_model import check_saved_model

    given, asked, weights = Path(path), (size[0], size[1]) if size else None, dict[str, str]()
    if format == "keras":
        from nanou_deploy.convert.keras_archive import check_archive, export_archive

        check_archive(given)
        import_tensorflow()
        folder = Path("exported")
        export_archive(given, folder)
    elif format == "onnx":
        from nanou_deploy.convert.onnx_file import convert_onnx

        import_tensorflow()
        folder = Path("exported")
        weights = convert_onnx(given, folder, asked)
    else:
        folder = given
    import_tensorflow()
    check_saved_model(folder)
    fix_shapes(folder, _FIXED, signature, asked)
    Path("float.tflite").write_bytes(convert_saved_model(_FIXED, None))
    interpreter = _interpreter("float.tflite")
    (served,) = interpreter.get_signature_list()
    runner = interpreter.get_signature_runner(served)
    return {
        "inputs": _tensors(interpreter.get_input_details(), runner.get_input_details()),
        "outputs": _tensors(interpreter.get_output_details(), runner.get_output_details()),
        "weights": weights,
    }


def quantize_model(inputs: int) -> dict[str, Any]:
    """Make int8.tflite with the ranges of representative-I.npy, and measure its layers."""
    from codegen.tflite.quantize import convert_saved_model
    from nanou_deploy.convert.layer_loss import measure_layers

    representative = [np.load(f"representative-{index}.npy") for index in range(inputs)]
    Path("int8.tflite").write_bytes(convert_saved_model(_FIXED, representative))
    return {"layers": measure_layers(_FIXED, representative)}


def run_models(inputs: int) -> dict[str, Any]:
    """Run float.tflite and int8.tflite on scored-I.npy; outputs to float-I.npy and int8-I.npy."""
    scored = [np.load(f"scored-{index}.npy") for index in range(inputs)]
    for name in ("float", "int8"):
        for index, values in enumerate(_run(_interpreter(f"{name}.tflite"), scored)):
            np.save(f"{name}-{index}.npy", values)
    return {}


def _interpreter(name: str) -> Any:
    import tensorflow as tf

    reference = tf.lite.experimental.OpResolverType.BUILTIN_REF  # int8 as TFLM computes it
    kind = {"experimental_op_resolver_type": reference} if name.startswith("int8") else {}
    interpreter = tf.lite.Interpreter(model_path=name, num_threads=1, **kind)
    interpreter.allocate_tensors()
    return interpreter


def _tensors(details: list[dict[str, Any]], named: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Name in the signature and shape, in the file's order."""
    names = {detail["index"]: name for name, detail in named.items()}
    return [
        {"name": names.get(detail["index"], detail["name"]), "shape": [int(dim) for dim in detail["shape"]]}
        for detail in details
    ]


def _run(interpreter: Any, cases: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[Any]]:
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    collected: list[list[npt.NDArray[Any]]] = [[] for _ in outputs]
    for case in zip(*cases, strict=True):
        for detail, value in zip(inputs, case, strict=True):
            interpreter.set_tensor(detail["index"], _quantized(value[None], detail))
        interpreter.invoke()
        for into, detail in zip(collected, outputs, strict=True):
            into.append(interpreter.get_tensor(detail["index"]).copy())
    return [np.concatenate(values) for values in collected]


def _quantized(value: npt.NDArray[np.float32], detail: dict[str, Any]) -> npt.NDArray[Any]:
    if detail["dtype"] != np.int8:
        return value
    unclamped = Quantization(*detail["quantization"]).unclamped(value.astype(np.float64))
    return np.asarray(np.clip(unclamped, -128, 127), np.int8)


# ---- The process ---------------------------------------------------------------------------------------------------

_REQUESTS: dict[str, Callable[..., dict[str, Any]]] = {
    "open": open_model,
    "quantize": quantize_model,
    "run": run_models,
}


def _serve(connection: Connection, printed: Callable[[], str]) -> None:
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = _REQUESTS[request.pop("do")](**request)
        except (CodegenError, DeployError, TrainError) as error:
            answer = {"error": str(error), "hint": error.hint}
        except MemoryError:
            answer = {"error": "it takes more memory than any model for a microcontroller"}
        except (Exception, SystemExit) as error:
            answer = {"error": _in_words(error)}
        printed()  # forget it: what these libraries print is of no use to a user
        connection.send_bytes(json.dumps(answer).encode())


def _in_words(error: BaseException) -> str:
    """Join what TensorFlow's converter, Keras and onnx2tf say over many lines in one."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if operations := sorted(set(re.findall(r"'(tf\.\w+)' op (?:is neither|requires)", text))):
        return f"TFLite has no int8 kernel for {', '.join(operations)[:200]}"
    if operations := sorted(set(re.findall(r"(?:Flex|Custom) ops: ([\w, ]+)", text))):
        return f"TFLite has no kernel for {', '.join(operations)[:200]}"
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["without a word"]
    said = lines[-1] if lines[0] == "in user code:" else lines[0]  # behind a traceback, as Keras puts it
    return f"{type(error).__name__}: {said[:300]}"


def main() -> None:
    limit_resources(_MEMORY_BYTES, _FILE_BYTES)
    lower_limit(resource.RLIMIT_CPU, _CPU_S)
    _serve(Connection(int(sys.argv[1])), capture_output())


if __name__ == "__main__":
    main()
