"""Read and write model files: NAME.tflite and its sidecar NAME.json, which states the contract."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.model import CameraSize, Preprocessing, QuantizedModel
from codegen.tflite.load import load_graph

SIDECAR_SCHEMA = 1


def sidecar(model: QuantizedModel) -> dict[str, Any]:
    """What stands beside the .tflite file, as a JSON document."""
    return {
        "schema": SIDECAR_SCHEMA,
        "name": model.name,
        "sha256": model.sha256,
        "threshold": model.threshold,
        "preprocessing": asdict(model.preprocessing),
        "camera": asdict(model.camera),
        "classes": list(model.classes),
        "drivable": list(model.drivable),
        "provenance": dict(model.provenance),
    }


def save_model(model: QuantizedModel, path: Path) -> None:
    """Write PATH (.tflite) and its sidecar; the sidecar last, so that a stale pair is noticed on load."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.flatbuffer)
    path.with_suffix(".json").write_text(json.dumps(sidecar(model), indent=2, sort_keys=True) + "\n")


def load_model(path: Path) -> QuantizedModel:
    """Read a .tflite file and its sidecar, if any.

    Raises ModelError where the file is missing, is no TFLite file, or the sidecar belongs to another file.
    """
    try:
        flatbuffer = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}", hint="give the path of a .tflite file") from error
    if flatbuffer[4:8] != b"TFL3":
        raise ModelError(f"{path} is not a TFLite file", hint="`nanou-deploy quantize` makes one from a training run")
    sidecar_path = path.with_suffix(".json")
    if not sidecar_path.exists():
        name = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)[:64]
        return QuantizedModel(name, flatbuffer, input_contract(flatbuffer), provenance={"source": path.name})
    try:
        stated = json.loads(sidecar_path.read_text())
        model = QuantizedModel(
            name=stated["name"],
            flatbuffer=flatbuffer,
            preprocessing=Preprocessing(**stated["preprocessing"]),
            threshold=float(stated["threshold"]),
            provenance=stated["provenance"],
            camera=CameraSize(**stated.get("camera", {})),
            classes=tuple(stated.get("classes", ())),
            drivable=tuple(stated.get("drivable", ())),
        )
        stated_sha256, schema = stated["sha256"], stated["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{sidecar_path} is not a model sidecar: {error!r}", hint="delete it or quantize again"
        ) from error
    if schema != SIDECAR_SCHEMA or stated_sha256 != model.sha256:
        raise ModelError(
            f"{sidecar_path} describes another file than {path.name}",
            hint="quantize again, or delete the sidecar to use the contract implied by the model's input",
        )
    return model


def input_contract(flatbuffer: bytes) -> Preprocessing:
    """The preprocessing that the model's input quantization implies, for models made elsewhere.

    A scale of 1/127.5 or 2/255 spans [-1, 1] and means (x/255 - 0.5) / 0.5; 1/255 spans [0, 1] and means x/255.
    Raises UnsupportedError for any other range, since guessing would silently shift every input.
    """
    graph = load_graph(flatbuffer)
    if not graph.inputs:
        raise UnsupportedError("the model has no input", hint="export a model with one input and one output")
    graph_input = graph.input
    if len(graph_input.shape) != 4 or not graph_input.scales:
        raise UnsupportedError(f"input '{graph_input.name}' {graph_input.shape} is no quantized NHWC image")
    _, height_px, width_px, channels = graph_input.shape
    span = 255.0 * graph_input.scale
    if abs(span - 2.0) < 0.02:
        return Preprocessing(height_px, width_px, channels, mean=0.5, std=0.5)
    if abs(span - 1.0) < 0.01:
        return Preprocessing(height_px, width_px, channels, mean=0.0, std=1.0)
    raise UnsupportedError(
        f"input scale {graph_input.scale:g} does not tell how pixels were normalized",
        hint="write a sidecar NAME.json beside NAME.tflite that states preprocessing (docs/DESIGN.md, Model files)",
    )
