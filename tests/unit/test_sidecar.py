"""A sidecar is a stranger's file: every field is typed and bounded where it is read, whatever stands in it."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from codegen.errors import ModelError
from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.files import SIDECAR_BYTES, contract_graph, inferred, load_model, save_model
from codegen.tflite.sidecar import read_sidecar, sidecar

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 10**18, "", "8", "x" * 5000, "a\nb", "*/ int evil; /*", '"', "\\", "$(id)", "${x}",
    "{{ 7 * 7 }}", "<script>", "%s%n", "\0", "\u2028", "\x1b[2J", "\u202e", "../../etc", [], {}, [[]], ["a"], {"a": 1},
    [0.5, 0.5, 0.5], 0.1,
)  # fmt: skip


def flatbuffer(channels: int = 1, scale: float = 1 / 127.5, zero_point: int = 0) -> bytes:
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), scale, zero_point)
    weights = np.arange(channels * 3, dtype=np.int8).reshape(channels, 1, 1, 3)
    bias = np.zeros(channels, np.int32)
    output = b.convolution(source, weights, [0.01] * channels, bias, scale=0.1, zero_point=0)
    return b.finish([source], [output])


MODEL = QuantizedModel("small", flatbuffer(), segmentation(Preprocessing(6, 8)), provenance={"data": {"seed": 1}})
COLOURS = QuantizedModel(
    "three",
    flatbuffer(3),
    segmentation(Preprocessing(6, 8), classes=("sky", "road", "grass"), drivable=("road", "grass")),
)


def sidecar_1(model: QuantizedModel) -> dict[str, Any]:
    """A sidecar of schema 1, as releases before this one wrote them."""
    return {
        "schema": 1,
        "name": model.name,
        "sha256": model.sha256,
        "threshold": model.threshold,
        "preprocessing": {
            "height_px": 6, "width_px": 8, "channels": 3, "mean": 0.5, "std": 0.5, "resize_filter": "box",
            "color_order": "RGB",
        },
        "camera": {"width_px": 160, "height_px": 120},
        "classes": list(model.classes),
        "drivable": list(model.drivable),
        "provenance": {"data": {"seed": 1}},
    }  # fmt: skip


def documents(model: QuantizedModel) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(document)) for document in (sidecar(model), sidecar_1(model))]


def written(folder: Path, model: QuantizedModel, text: str | bytes) -> Path:
    path = folder / "m.tflite"
    path.write_bytes(model.flatbuffer)
    path.with_suffix(".json").write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def members(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON document."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from members(item, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return document


def check(path: Path) -> QuantizedModel | None:
    """Load it, or have it refused in one printable line or two."""
    try:
        return load_model(path)
    except ModelError as error:
        said = f"{error}{error.hint}".replace(str(path.parent), "")
    assert said.isprintable()
    assert len(said) < 400
    return None


@pytest.mark.parametrize("model", [MODEL, COLOURS])
def test_what_was_saved_is_what_is_read(tmp_path: Path, model: QuantizedModel) -> None:
    save_model(model, tmp_path / "m.tflite")
    assert load_model(tmp_path / "m.tflite") == model


@pytest.mark.parametrize("model", [MODEL, COLOURS])
def test_schema_1_means_what_it_meant(tmp_path: Path, model: QuantizedModel) -> None:
    document = sidecar_1(model)
    read = load_model(written(tmp_path, model, json.dumps(document)))
    assert read.contract == model.contract
    for key in ("camera", "classes", "drivable"):
        del document[key]
    bare = load_model(written(tmp_path, model, json.dumps(document)))
    assert (bare.classes, bare.drivable) == ((), ()) if model is COLOURS else (MODEL.classes, MODEL.drivable)


@pytest.mark.parametrize("model", [MODEL, COLOURS])
def test_no_value_gets_past_its_field(tmp_path: Path, model: QuantizedModel) -> None:
    """What is accepted of hostile values means what it says: it survives a second writing, and types are right."""
    for document in documents(model):
        for path in members(document):
            for value in HOSTILE:
                hostile = changed(document, path, value)
                accepted = check(written(tmp_path, model, json.dumps(hostile)))
                if accepted is None:
                    continue
                stated = json.loads(json.dumps(sidecar(accepted)))
                assert read_sidecar(stated, model.flatbuffer, contract_graph) == accepted
                assert isinstance(accepted.threshold, float)
                assert all(name.isprintable() for name in accepted.classes)
                assert set(accepted.drivable) <= set(accepted.classes)
                if document["schema"] == 2 and value not in ([], {}):
                    assert _member(stated, path) == _member(hostile, path)


def _member(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def test_no_key_is_added_or_lacking(tmp_path: Path) -> None:
    for document in documents(COLOURS):
        objects = [(), *(path for path in members(document) if isinstance(_member(document, path), dict))]
        for path in objects:
            more = json.dumps(changed(document, (*path, "more"), 1))
            assert (check(written(tmp_path, COLOURS, more)) is None) == (path[:1] != ("provenance",))
        for path in members(document):
            if isinstance(path[-1], int):
                continue
            short = copy.deepcopy(document)
            del _member(short, path[:-1])[path[-1]]
            may_lack = path[-1] in MAY_LACK[document["schema"]] or (path[0] in ("camera", "provenance") and path[1:])
            assert (check(written(tmp_path, COLOURS, json.dumps(short))) is not None) == bool(may_lack), path


MAY_LACK = {
    1: ("camera", "drivable", "resize_filter", "color_order", "mean", "std", "channels"),
    2: ("camera", "provenance", "drivable", "resize_filter", "color_order", "threshold"),
}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace('"name"', '"camera": {}, "name"'), "'camera' twice"),
        (lambda text: text.replace("0.5", "NaN", 1), "NaN"),
        (lambda text: text.replace("0.5", "Infinity", 1), "Infinity"),
        (lambda text: text.replace("0.5", "1e999", 1), "beyond double"),
        (lambda text: text.replace('"seed": 1', '"seed": ' + "9" * 5000), "beyond 64 bits"),
        (lambda text: text.replace('"seed": 1', '"seed": ' + "[" * 100_000 + "]" * 100_000), "deep"),
        (lambda text: text.replace('"seed": 1', '"seed": "' + "x" * SIDECAR_BYTES + '"'), "more than 262,144 bytes"),
        (lambda text: "[" + text + "]", "no object"),
        (lambda text: text[:40], "not a model sidecar"),
        (lambda text: "", "not a model sidecar"),
        (lambda text: text.encode("utf-16"), "not a model sidecar"),
        (lambda text: text.replace('"schema": 2', '"schema": true'), "schema True"),
        (lambda text: text.replace('"schema": 2', '"schema": 99'), "schema 99"),
        (lambda text: text.replace('"image"', '"picture"'), "kind 'picture'"),
        (lambda text: text.replace('"mean": 0.5', '"mean": [0.5, 0.5]'), "2 values for 3 channels"),
        (lambda text: text.replace('"mean": 0.5', '"mean": [0.5, 0.5, 0.9]'), "of 256 pixel values lie outside"),
        (lambda text: text.replace('"logits"', '"probabilities"'), "values from -12.8 to 12.7"),
        (lambda text: text.replace('"segment"', '"classify"'), "unknown key 'drivable'"),
        (lambda text: text.replace('"segment"', '"raw"'), "unknown key"),
        (lambda text: text.replace('"std": 0.5', '"std": 0.1'), "of 256 pixel values lie outside"),
        (lambda text: text.replace('"sha256": "', '"sha256": "0'), "describes another file"),
    ],
)  # fmt: skip
def test_a_damaged_sidecar_is_named(tmp_path: Path, damage: Any, said: str) -> None:
    text = json.dumps(sidecar(MODEL))
    assert damage(text) != text
    with pytest.raises(ModelError, match=said):
        load_model(written(tmp_path, MODEL, damage(text)))


def test_random_damage_is_read_or_refused_in_words(tmp_path: Path) -> None:
    rng, text = Random(0), json.dumps(sidecar(COLOURS)).encode()
    for _ in range(500):
        damaged = bytearray(text)
        for _ in range(rng.choice((1, 2, 8))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        check(written(tmp_path, COLOURS, bytes(damaged)))


@pytest.mark.parametrize(("key", "size"), [("height_px", 7), ("channels", 1)])
def test_schema_1_is_of_the_model_s_size(tmp_path: Path, key: str, size: int) -> None:
    document = sidecar_1(MODEL)
    document["preprocessing"][key] = size
    with pytest.raises(ModelError, match=r"shape \(1, 6, 8, 3\), the contract says"):
        load_model(written(tmp_path, MODEL, json.dumps(document)))


def test_the_second_of_two_classes_is_the_drivable_one(tmp_path: Path) -> None:
    document = sidecar_1(MODEL) | {"classes": ["sky", "road"], "drivable": ["sky"]}
    with pytest.raises(ModelError, match="'road' counts as drivable; its contract says 'sky'"):
        load_model(written(tmp_path, MODEL, json.dumps(document)))


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.tflite")
    with pytest.raises(ModelError, match="pipe or a device"):
        load_model(tmp_path / "m.tflite")
    (tmp_path / "m.tflite").unlink()
    (tmp_path / "m.tflite").write_bytes(MODEL.flatbuffer)
    os.mkfifo(tmp_path / "m.json")
    with pytest.raises(ModelError, match="pipe or a device"):
        load_model(tmp_path / "m.tflite")


@pytest.mark.parametrize(
    ("scale", "zero_point", "mean_and_std"),
    [
        (1 / 127.5, 0, (0.5, 0.5)),
        (1 / 127, 0, (0.5, 0.5)),
        (2 / 255, -1, (0.5, 0.5)),
        (1 / 255, -128, (0.0, 1.0)),
        (1 / 255, -1, (0.5, 1.0)),
        (1 / 255, 0, (0.5, 1.0)),
        (2 / 255, -128, None),
        (1 / 255, 127, None),
        (1.0, -128, None),
    ],
)
def test_scale_and_zero_point_together_say_what_a_pixel_means(
    scale: float, zero_point: int, mean_and_std: tuple[float, float] | None
) -> None:
    picture = inferred(flatbuffer(scale=scale, zero_point=zero_point)).contract.inputs[0].image
    assert (None if picture is None else (picture.mean, picture.std)) == mean_and_std
