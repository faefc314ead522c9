"""Read and write model files: NAME.tflite and its sidecar NAME.json, which states the contract."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

from codegen.atomic_files import replacing
from codegen.canonicalize.canonicalize import canonicalize
from codegen.errors import CodegenError, ModelError
from codegen.graph.contract import check_contract
from codegen.graph.graph import Graph
from codegen.graph.infer_contract import InferredContract, infer_contract
from codegen.graph.model import QuantizedModel
from codegen.tflite.load import load_graph
from codegen.tflite.metadata import read_metadata
from codegen.tflite.sidecar import read_sidecar, sidecar
from codegen.untrusted import parse_json, read_bounded

MODEL_BYTES = 64 << 20  # more than any flash that these models are for
SIDECAR_BYTES = 256 << 10
_AGAIN = "write another one with `nanou-deploy describe MODEL --fresh`, or delete it"


def save_model(model: QuantizedModel, path: Path) -> None:
    """Write PATH (.tflite) and its sidecar. Raises ModelError where `load_model` would.

    The sidecar takes its place first: a kill between the two leaves a pair that `load_model` refuses, never a model
    whose contract would be guessed.
    """
    check_contract(model.contract, contract_graph(model.flatbuffer))
    with replacing(path) as flatbuffer_file, replacing(path.with_suffix(".json")) as sidecar_file:
        flatbuffer_file.write_bytes(model.flatbuffer)
        sidecar_file.write_text(_sidecar_text(model), encoding="utf-8")


def save_sidecar(model: QuantizedModel, path: Path) -> Path:
    """Write the sidecar of the .tflite file at `path`, which stays as it is; return where. Raises as `save_model`."""
    check_contract(model.contract, contract_graph(model.flatbuffer))
    target = path.with_suffix(".json")
    with replacing(target) as file:
        file.write_text(_sidecar_text(model), encoding="utf-8")
    return target


def _sidecar_text(model: QuantizedModel) -> str:
    return json.dumps(sidecar(model), indent=2, sort_keys=True) + "\n"


def load_model(path: Path) -> QuantizedModel:
    """Read a .tflite file and its sidecar, if any; without one, what is certain of the contract.

    Raises ModelError where the file is missing, is no TFLite file, or the sidecar is damaged, belongs to another file
    or contradicts the model.
    """
    flatbuffer = read_model(path)
    sidecar_path = path.with_suffix(".json")
    if not sidecar_path.exists():
        return model_without_sidecar(path, flatbuffer)
    text = _read(sidecar_path, SIDECAR_BYTES, _AGAIN)
    try:
        return read_sidecar(parse_json(text), flatbuffer, contract_graph)
    except ValueError as error:
        raise ModelError(f"{sidecar_path} is not a model sidecar: {error}", hint=_AGAIN) from error
    except ModelError as error:
        raise ModelError(f"{sidecar_path}: {error}", hint=error.hint) from error


def read_model(path: Path) -> bytes:
    """Read the bytes of a .tflite file. Raises ModelError where it is missing or no TFLite file."""
    flatbuffer = _read(path, MODEL_BYTES, "give the path of a .tflite file")
    if flatbuffer[4:8] != b"TFL3":
        raise ModelError(f"{path} is not a TFLite file", hint="`nanou-deploy quantize` makes one from a training run")
    return flatbuffer


def model_without_sidecar(path: Path, flatbuffer: bytes) -> QuantizedModel:
    """Return the model with what is certain of its contract."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)[:64]
    return QuantizedModel(name, flatbuffer, inferred(flatbuffer).contract, {"source": path.name})


def inferred(flatbuffer: bytes) -> InferredContract:
    """Return what is certain of the contract without a sidecar, and why."""
    return infer_contract(contract_graph(flatbuffer), read_metadata(flatbuffer))


@lru_cache(maxsize=2)
def contract_graph(flatbuffer: bytes) -> Graph:
    """Return the graph that a contract is about: canonical, or as the file has it where it has no canonical form."""
    graph = load_graph(flatbuffer)
    try:
        return canonicalize(graph)
    except CodegenError:
        return graph


def _read(path: Path, most_bytes: int, hint: str) -> bytes:
    try:
        return read_bounded(path, most_bytes)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ModelError(f"cannot read {path}: {error}", hint=hint) from error
