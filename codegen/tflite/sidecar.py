"""The sidecar of a model: its contract as a JSON document, read field by field and held to what the model is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Set
from dataclasses import MISSING, asdict, fields
from pathlib import Path, PurePath
from typing import Any

from codegen.errors import ModelError
from codegen.graph.contract import check_contract, default_classes
from codegen.graph.graph import Graph
from codegen.graph.model import (
    MAX_TENSORS,
    CameraSize,
    Contract,
    InputContract,
    OutputContract,
    Preprocessing,
    QuantizedModel,
)
from codegen.graph.output_values import follow_values
from codegen.untrusted import shown

SIDECAR_SCHEMA = 2
_SIZE = ("height_px", "width_px", "channels")  # of a picture, which schema 2 takes from the tensor
_KEYS_1 = {"schema", "name", "sha256", "threshold", "preprocessing", "provenance"}
_OPTIONAL_1 = {"camera", "classes", "drivable"}
_KEYS = {"schema", "name", "sha256", "inputs", "outputs"}
_OPTIONAL = {"camera", "provenance"}


def sidecar(model: QuantizedModel) -> dict[str, Any]:
    """Return what stands beside the .tflite file, as a JSON document of schema 2."""
    return {
        "schema": SIDECAR_SCHEMA,
        "name": model.name,
        "sha256": model.sha256,
        **contract_document(model.contract),
        "camera": asdict(model.camera),
        "provenance": dict(model.provenance),
    }


def without_paths(value: Any) -> Any:
    """Cut absolute paths in a JSON document down to their names: the maker's folders are nobody else's business."""
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def contract_document(contract: Contract) -> dict[str, Any]:
    """Return the `inputs` and `outputs` of a sidecar."""
    return {
        "inputs": [_input_document(stated) for stated in contract.inputs],
        "outputs": [_output_document(stated) for stated in contract.outputs],
    }


def _input_document(stated: InputContract) -> dict[str, Any]:
    if stated.image is None:
        return {"kind": "raw"}
    return {"kind": "image"} | {key: _plain(value) for key, value in asdict(stated.image).items() if key not in _SIZE}


def _output_document(stated: OutputContract) -> dict[str, Any]:
    if stated.task == "raw":
        return {"task": "raw", "values": stated.values}
    document = {key: _plain(value) for key, value in asdict(stated).items()}
    return {key: value for key, value in document.items() if key != "drivable" or stated.task == "segment"}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def read_sidecar(document: Any, flatbuffer: bytes, read_graph: Callable[[bytes], Graph]) -> QuantizedModel:
    """Read the model that a sidecar of schema 1 or 2 states, checked against its canonical graph.

    Raises ValueError where the document is not of its schema, ModelError where a value is out of bounds or contradicts
    the model.
    """
    schema = _object("the document", document).get("schema")
    if type(schema) is not int or schema not in (1, SIDECAR_SCHEMA):
        raise ModelError(
            f"sidecar schema {shown(schema)} is not 1 or {SIDECAR_SCHEMA}", hint="describe the model again"
        )
    stated = _members("the document", document, *((_KEYS_1, _OPTIONAL_1) if schema == 1 else (_KEYS, _OPTIONAL)))
    if stated["sha256"] != hashlib.sha256(flatbuffer).hexdigest():
        raise ModelError(
            "it describes another file than the model beside it",
            hint="write another one with `nanou-deploy describe MODEL --fresh`, or delete it",
        )
    graph = read_graph(flatbuffer)
    model = QuantizedModel(
        name=stated["name"],
        flatbuffer=flatbuffer,
        contract=_contract_1(stated, graph) if schema == 1 else _contract(stated, graph),
        provenance=_object("provenance", stated.get("provenance", {})),
        camera=CameraSize(**_members_of(CameraSize, "camera", stated.get("camera", {}))),
    )
    check_contract(model.contract, graph)
    return model


def _contract(stated: Mapping[str, Any], graph: Graph) -> Contract:
    inputs = [_input(f"input {i}", value, _shape(graph, graph.inputs, i)) for i, value in _enumerated("inputs", stated)]
    outputs = [_output(f"output {i}", value) for i, value in _enumerated("outputs", stated)]
    return Contract(tuple(inputs), tuple(outputs))


def _input(what: str, value: Any, shape: tuple[int, ...]) -> InputContract:
    kind = _object(what, value).get("kind")
    if kind == "raw":
        _members(what, value, {"kind"}, set())
        return InputContract()
    if kind != "image":
        raise ModelError(f"{what} has the kind {shown(kind)}", hint="known are image, raw")
    members = dict(_members(what, value, {"kind", "mean", "std"}, {"color_order", "resize_filter"}))
    del members["kind"]
    if len(shape) != 4:
        raise ModelError(f"{what} has shape {shape} and is to be an image", hint="state it as raw")
    return InputContract(Preprocessing(*shape[1:], **members))


def _output(what: str, value: Any) -> OutputContract:
    task = _object(what, value).get("task")
    optional = {"values"} if task == "raw" else {"threshold", "classes", *(["drivable"] if task == "segment" else [])}
    members = dict(_members(what, value, {"task"} if task == "raw" else {"task", "values"}, optional))
    for key in ("classes", "drivable"):
        if key in members:
            members[key] = _names(key, members[key])
    return OutputContract(**members)


def _contract_1(stated: Mapping[str, Any], graph: Graph) -> Contract:
    """Read schema 1, of one picture and one map; the operators before it say whether its values are probabilities."""
    picture = Preprocessing(**_members_of(Preprocessing, "preprocessing", stated["preprocessing"]))
    followed = follow_values(graph, graph.output.index)
    classes, drivable = (_names(key, stated.get(key, [])) for key in ("classes", "drivable"))
    certain = default_classes(graph.output)
    classes = classes or certain[0]
    drivable = drivable or (classes[1:2] if certain[1] else ())
    values = followed.values if followed else "logits"
    output = OutputContract("segment", values, stated["threshold"], classes, drivable)
    return Contract((InputContract(picture),), (output,))


# ---- Values of a stranger's document -----------------------------------------------------------------------------


def _shape(graph: Graph, indices: tuple[int, ...], number: int) -> tuple[int, ...]:
    return graph.tensor(indices[number]).shape if number < len(indices) else ()


def _enumerated(what: str, stated: Mapping[str, Any]) -> list[tuple[int, Any]]:
    value = stated[what]
    if not isinstance(value, list) or len(value) > MAX_TENSORS:
        raise ValueError(f"{what} is no list of up to {MAX_TENSORS}")
    return list(enumerate(value))


def _object(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    return value


def _members(what: str, value: Any, required: Set[str], optional: Set[str]) -> dict[str, Any]:
    """Return a JSON object with all the required keys, and no others but the optional ones."""
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
