"""Read and write model files: NAME.tflite and its sidecar NAME.json, which states the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from codegen.atomic_files import replacing
from codegen.errors import ModelError
from codegen.graph.contract import drivable_classes
from codegen.graph.graph import Graph
from codegen.graph.model import CameraSize, Preprocessing, Quantization, QuantizedModel
from codegen.tflite.load import load_graph
from codegen.untrusted import parse_json, read_bounded, shown

SIDECAR_SCHEMA = 1
MODEL_BYTES = 64 << 20  # more than any flash that these models are for
SIDECAR_BYTES = 256 << 10
_SIDECAR_KEYS = {"schema", "name", "sha256", "threshold", "preprocessing", "provenance"}
_OPTIONAL_SIDECAR_KEYS = {"camera", "classes", "drivable"}
MOST_SATURATED = 32  # of 256 pixel values; a model's own contract fits its input's range but for rounding


def sidecar(model: QuantizedModel) -> dict[str, Any]:
    """What stands beside the .tflite file, as a JSON document."""
    return {
        "schema": SIDECAR_SCHEMA,
        "name": model.name,
        "sha256": model.sha256,
        "threshold": model.threshold,
        "preprocessing": asdict(model.image),
        "camera": asdict(model.camera),
        "classes": list(model.classes),
        "drivable": list(model.drivable),
        "provenance": dict(model.provenance),
    }


def save_model(model: QuantizedModel, path: Path) -> None:
    """Write PATH (.tflite) and its sidecar.

    The sidecar takes its place first: a kill between the two leaves a pair that `load_model` refuses, never a model
    whose contract would be guessed.
    """
    stated = json.dumps(sidecar(model), indent=2, sort_keys=True) + "\n"
    with replacing(path) as flatbuffer_file, replacing(path.with_suffix(".json")) as sidecar_file:
        flatbuffer_file.write_bytes(model.flatbuffer)
        sidecar_file.write_text(stated, encoding="utf-8")


def load_model(path: Path) -> QuantizedModel:
    """Read a .tflite file and its sidecar, if any.

    Raises ModelError where the file is missing, is no TFLite file, or the sidecar is damaged, belongs to another file
    or contradicts the model.
    """
    flatbuffer = _read(path, MODEL_BYTES, "give the path of a .tflite file")
    if flatbuffer[4:8] != b"TFL3":
        raise ModelError(f"{path} is not a TFLite file", hint="`nanou-deploy quantize` makes one from a training run")
    sidecar_path = path.with_suffix(".json")
    if not sidecar_path.exists():
        name = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)[:64]
        return QuantizedModel(name, flatbuffer, input_contract(flatbuffer), provenance={"source": path.name})
    text = _read(sidecar_path, SIDECAR_BYTES, "delete it or quantize again")
    try:
        model = _model_of_sidecar(parse_json(text), flatbuffer)
        _check_against_graph(model, load_graph(flatbuffer))
    except ValueError as error:
        raise ModelError(
            f"{sidecar_path} is not a model sidecar: {error}", hint="delete it or quantize again"
        ) from error
    except ModelError as error:
        raise ModelError(f"{sidecar_path}: {error}", hint=error.hint) from error
    return model


def _read(path: Path, most_bytes: int, hint: str) -> bytes:
    try:
        return read_bounded(path, most_bytes)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ModelError(f"cannot read {path}: {error}", hint=hint) from error


def _model_of_sidecar(document: Any, flatbuffer: bytes) -> QuantizedModel:
    """The model that a sidecar states. Types and bounds of its values are checked where the model is made of them."""
    stated = _members("the document", document, _SIDECAR_KEYS, _OPTIONAL_SIDECAR_KEYS)
    if type(stated["schema"]) is not int or stated["schema"] != SIDECAR_SCHEMA:
        raise ModelError(
            f"sidecar schema {shown(stated['schema'])} is not {SIDECAR_SCHEMA}", hint="quantize again, or delete it"
        )
    model = QuantizedModel(
        name=stated["name"],
        flatbuffer=flatbuffer,
        preprocessing=Preprocessing(**_members_of(Preprocessing, "preprocessing", stated["preprocessing"])),
        threshold=stated["threshold"],
        provenance=_object("provenance", stated["provenance"]),
        camera=CameraSize(**_members_of(CameraSize, "camera", stated.get("camera", {}))),
        classes=_names("classes", stated.get("classes", [])),
        drivable=_names("drivable", stated.get("drivable", [])),
    )
    if stated["sha256"] != model.sha256:
        raise ModelError(
            "it describes another file than the model beside it",
            hint="quantize again, or delete the sidecar to use the contract implied by the model's input",
        )
    return model


def _object(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    return value


def _members(what: str, value: Any, required: Set[str], optional: Set[str]) -> dict[str, Any]:
    """A JSON object with all the required keys, and no others but the optional ones."""
    members = _object(what, value)
    if unknown := members.keys() - required - optional:
        raise ValueError(f"{what} has the unknown key {shown(min(unknown))}")
    if missing := required - members.keys():
        raise ValueError(f"{what} has no {min(missing)}")
    return members


def _members_of(kind: type[Preprocessing] | type[CameraSize], what: str, value: Any) -> dict[str, Any]:
    required = {member.name for member in fields(kind) if member.default is MISSING}
    return _members(what, value, required, {member.name for member in fields(kind)} - required)


def _names(what: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is no list")
    return tuple(value)


def _check_against_graph(model: QuantizedModel, graph: Graph) -> None:
    """Raise ModelError where the contract is another model's: other sizes, classes, or inputs that all look alike."""
    contract, tensor = model.image, graph.input
    hint = "correct the sidecar, or quantize again"
    size = (1, contract.height_px, contract.width_px, contract.channels)
    if tensor.shape != size:
        raise ModelError(f"the model's input has shape {tensor.shape}, the contract says {size}", hint=hint)
    if model.classes and len(graph.output.shape) == 4:
        drivable_classes(model, graph)
    if tensor.dtype == "int8" and tensor.scales and tensor.zero_points:
        saturated = contract.saturated(Quantization(tensor.scale, tensor.zero_point))
        if saturated > MOST_SATURATED:
            raise ModelError(
                f"with mean {contract.mean:g} and std {contract.std:g}, {saturated} of 256 pixel values lie outside the"
                f" range of the model's input (scale {tensor.scale:g}, zero point {tensor.zero_point})",
                hint=hint,
            )


def input_contract(flatbuffer: bytes) -> Preprocessing | None:
    """The preprocessing that the model's input quantization implies, for models made elsewhere; None: nobody can say.

    It is certain for three ranges, which take scale and zero point to tell apart: [-1, 1] means (x/255 - 0.5) / 0.5,
    [0, 1] means x/255, and [-0.5, 0.5] means x/255 - 0.5. Guessing at any other would silently shift every input.
    """
    graph = load_graph(flatbuffer)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.output.shape) != 4:
        return None
    tensor = graph.input
    if len(tensor.shape) != 4 or tensor.dtype != "int8" or not (tensor.scales and tensor.zero_points):
        return None
    _, height_px, width_px, channels = tensor.shape
    low, high = ((q - tensor.zero_point) * tensor.scale for q in (-128, 127))
    for mean, std in ((0.5, 0.5), (0.0, 1.0), (0.5, 1.0)):
        if max(abs(low + mean / std), abs(high - (1.0 - mean) / std)) < 0.02 / std:
            return Preprocessing(height_px, width_px, channels, mean=mean, std=std)
    return None
