"""What is certain of a model from its file alone, and the command that takes the rest and writes the sidecar."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest

from codegen.graph.contract import decision_threshold, input_lookup, quantize_pixels, remarks
from codegen.graph.infer_contract import FileMetadata, TensorMetadata, infer_contract
from codegen.graph.model import InputContract, OutputContract, Preprocessing, QuantizedModel
from codegen.library.render_contract import describe_decision, describe_picture
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.files import contract_graph, inferred, load_model
from codegen.tflite.load import load_graph
from codegen.tflite.metadata import read_metadata
from tests.command_line import run, run_json

NANO_U = (1, 12, 16, 3)


def model(
    channels: int,
    tail: Callable[[ModelBuilder, int], int],
    shape: tuple[int, ...] = NANO_U,
    metadata: dict[str, bytes] | None = None,
) -> bytes:
    """A convolution to `channels`, and what comes behind it."""
    b = ModelBuilder()
    source = b.activation(shape, 1 / 127.5, 0)
    weights = np.ones((channels, 1, 1, shape[3]), np.int8)
    output = b.convolution(source, weights, [0.01] * channels, np.zeros(channels, np.int32), scale=0.1, zero_point=-20)
    return b.finish([source], [tail(b, output)], metadata)


def softmax(b: ModelBuilder, source: int) -> int:
    output = b.activation(b._shape(source), 1 / 256, -128)
    b.operator("SOFTMAX", [source], output, "SoftmaxOptions", Beta=1.0)
    return output


def flat(b: ModelBuilder, source: int) -> int:
    return b.reshape(source, (1, int(np.prod(b._shape(source)))))


CLASSES = OutputContract("classify", "probabilities")
PROBABILITIES = OutputContract("segment", "probabilities")
CASES = {
    "logits": (model(1, lambda b, x: x), OutputContract()),
    "positive": (model(1, lambda b, x: b.quantize(x, 1 / 256, -128)), OutputContract()),
    "several logits": (model(3, lambda b, x: x), OutputContract()),
    "logistic": (model(1, lambda b, x: b.logistic(x)), PROBABILITIES),
    "upsampled": (model(1, lambda b, x: b.resize_nearest(b.logistic(x), (24, 32))), PROBABILITIES),
    "pooled": (model(1, lambda b, x: b.max_pool(b.logistic(x), (2, 2), (2, 2))), PROBABILITIES),
    "requantized": (model(1, lambda b, x: b.quantize(b.logistic(x), 0.005, -128)), PROBABILITIES),
    "grey": (model(1, lambda b, x: b.logistic(x), (1, 12, 16, 1)), OutputContract(values="probabilities")),
    "flattened": (model(1, lambda b, x: flat(b, b.logistic(x))), OutputContract(values="probabilities")),
    "joined": (model(1, lambda b, x: b.concatenate([b.logistic(x), x])), OutputContract()),
    "changed": (model(1, lambda b, x: b.convolution(b.logistic(x), np.ones((1, 1, 1, 1), np.int8), [0.1],
                np.zeros(1, np.int32), scale=0.1, zero_point=0)), OutputContract()),
    "softmax": (model(3, softmax), PROBABILITIES),
    "cells": (model(3, lambda b, x: softmax(b, b.max_pool(x, (4, 4), (4, 4)))), OutputContract(values="probabilities")),
    "vector": (model(10, lambda b, x: softmax(b, flat(b, x)), (1, 1, 1, 3)), CLASSES),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_output_is_what_its_operators_make_certain(name: str) -> None:
    flatbuffer, expected = CASES[name]
    assert inferred(flatbuffer).contract.outputs == (expected,)


@pytest.mark.parametrize("shape", [(1, 3, 12, 16), (1, 12, 16, 1), (1, 12, 16, 4)])
def test_a_picture_has_three_channels_that_come_last(shape: tuple[int, ...]) -> None:
    found = inferred(model(1, lambda b, x: b.logistic(x), shape))
    assert found.contract.inputs == (InputContract(),)
    assert found.contract.outputs == (OutputContract(values="probabilities"),)  # of what, without a picture?
    assert ("channels come first" in found.input_reasons[0]) == (shape[1] == 3)


def test_metadata_say_what_tensors_do_not() -> None:
    data = metadata_model()
    stated = read_metadata(data)
    assert stated.inputs[0].mean == (127.5,)
    assert stated.outputs[0].labels == ("cat", "dog")
    contract = inferred(data).contract
    assert contract.inputs == (InputContract(Preprocessing(1, 1, 1, mean=0.5, std=0.5)),)
    assert contract.outputs == (OutputContract("classify", "probabilities", classes=("cat", "dog")),)
    unlike = FileMetadata({0: TensorMetadata(True, (0.0,), (1.0,))})
    found = infer_contract(contract_graph(data), unlike)
    assert found.contract.inputs == (InputContract(),)
    assert "contradict" in found.input_reasons[0]


def test_damaged_metadata_count_as_absent() -> None:
    data = bytearray(metadata_model())
    begin = data.index(b"M001") - 4
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(begin, begin + 300, 3):
            damaged[at] = rng.integers(0, 256)
        assert isinstance(read_metadata(bytes(damaged)), FileMetadata)


def metadata_model() -> bytes:
    """A grey classifier with metadata as TensorFlow Lite's support library writes them, and its file of labels."""
    b = flatbuffers.Builder(256)
    numbers = [_floats(b, 127.5) for _ in range(2)]
    unit = _fields(b, {1: _fields(b, dict(enumerate(numbers)))}, {0: 1})
    content = _fields(b, {1: _fields(b, {}, {0: 2})}, {0: 2})
    image = _fields(b, {3: content, 4: _vector(b, [unit])})
    labels = _fields(b, {0: b.CreateString("labels.txt")}, {2: 2})
    scores = _fields(b, {6: _vector(b, [labels])})
    subgraph = _fields(b, {2: _vector(b, [image]), 3: _vector(b, [scores])})
    b.Finish(_fields(b, {3: _vector(b, [subgraph])}), b"M001")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("labels.txt", "cat\ndog\n")
    metadata = {"TFLITE_METADATA": bytes(b.Output())}
    return model(2, lambda b, x: softmax(b, flat(b, x)), (1, 1, 1, 1), metadata) + archive.getvalue()


def _fields(b: flatbuffers.Builder, offsets: dict[int, int], bytes_: dict[int, int] | None = None) -> int:
    """A table by the numbers of its fields."""
    b.StartObject(8)
    for field, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, value in (bytes_ or {}).items():
        b.PrependUint8Slot(field, value, 0)
    return int(b.EndObject())


def _vector(b: flatbuffers.Builder, tables: list[int]) -> int:
    b.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        b.PrependUOffsetTRelative(table)
    return int(b.EndVector())


def _floats(b: flatbuffers.Builder, *values: float) -> int:
    return int(b.CreateNumpyVector(np.array(values, np.float32)))


# ---- The checks on what is stated --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("logits", "--task segment --values probabilities", "the contract says probabilities"),
        ("logistic", "--values logits", "so that it has probabilities; the contract says logits"),
        ("logits", "--task segment --values raw", "a threshold needs values"),
        ("positive", "--task segment --values logits", "every value of the output"),
        ("logits", "--task classify --values logits", "no vector of classes"),
        ("logits", "--task grid --values logits", "a channel for background"),
        ("flattened", "--task segment", "no map"),
        ("logistic", "--classes a,b,c", "names 3 classes"),
        ("logistic", "--classes a,b --drivable a", "name the drivable class second"),
        ("logistic", "--drivable road", "none of the classes"),
        ("logistic", "--mean 5", "of 256 pixel values lie outside"),
        ("logistic", "--mean 0.5,0.5", "2 values for 3 channels"),
        ("vector", "--classes a,b,c,d,e,f,g,h,i,j --drivable b", "in no map"),
        ("vector", "--mean 0.5 --std 0.5", ""),
        ("grey", "--input-kind image --mean 0.5", "--std not given"),
        ("vector", "--output-index 1 --task raw", "counted from 0"),
        ("vector", "--mean x", "no number"),
    ],
)
def test_what_contradicts_the_model_is_refused(name: str, arguments: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(CASES[name][0])
    done = run("describe", "m.tflite", *arguments.split(), cwd=tmp_path)
    assert (done.returncode == 0) == (said == "") == (tmp_path / "m.json").exists()
    assert said in " ".join((done.stderr + done.stdout).split())


def test_channels_first_are_no_map(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(model(1, lambda b, x: b.reshape(b.logistic(x), (1, 1, 12, 16))))
    done = run("describe", "m.tflite", "--task", "segment", cwd=tmp_path)
    assert done.returncode == 1
    assert "channels come first" in done.stderr


# ---- The command -------------------------------------------------------------------------------------------------


def test_what_is_said_is_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(CASES["logits"][0])
    code, shown = run_json("describe", "m.tflite", cwd=tmp_path)
    assert (code, shown["written"], shown["sidecar"]["outputs"]) == (0, None, [{"task": "raw", "values": "raw"}])
    assert not (tmp_path / "m.json").exists()
    (tmp_path / "names.txt").write_text("sky\nroad\n")
    said = [
        "--task",
        "segment",
        "--values",
        "logits",
        "--classes",
        "@names.txt",
        "--drivable",
        "road",
        "--camera",
        "8x6",
    ]
    assert run("describe", "m.tflite", *said, "--dry-run", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "m.json").exists()
    code, shown = run_json("describe", "m.tflite", *said, cwd=tmp_path)
    assert json.loads((tmp_path / "m.json").read_text()) == shown["sidecar"]
    known = load_model(tmp_path / "m.tflite")
    assert (known.classes, known.drivable, known.camera.width_px) == (("sky", "road"), ("road",), 8)
    assert decision_threshold(known, load_graph(known.flatbuffer)) == -20
    assert not remarks(known)
    run("describe", "m.tflite", "--threshold", "0.6", cwd=tmp_path)  # what was known stays
    assert load_model(tmp_path / "m.tflite") == known.deciding(threshold=0.6)


def test_a_sidecar_that_cannot_be_read_is_replaced_only_when_told(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(CASES["logistic"][0])
    (tmp_path / "m.json").write_text("{")
    done = run("describe", "m.tflite", "--threshold", "0.6", cwd=tmp_path)
    assert done.returncode == 1
    assert "--fresh" in done.stderr
    assert run("describe", "m.tflite", "--threshold", "0.6", "--fresh", cwd=tmp_path).returncode == 0
    assert load_model(tmp_path / "m.tflite").threshold == 0.6


def test_per_channel_values_are_tables(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(CASES["logistic"][0])
    said = "--mean 0.45,0.5,0.5 --std 0.5,0.5,0.55 --color-order BGR"
    assert run("describe", "m.tflite", *said.split(), cwd=tmp_path).returncode == 0
    known = load_model(tmp_path / "m.tflite")
    graph = load_graph(known.flatbuffer)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *NANO_U[1:]), np.uint8)
    table = input_lookup(known, graph)
    assert table.shape == (3, 256)
    found = quantize_pixels(known, graph, pixels)
    assert all((found[..., c] == table[c][pixels[..., c]]).all() for c in range(3))
    real = known.image.normalize(pixels)
    assert np.abs(found * graph.input.scale - np.clip(real, -128 / 127.5, 127 / 127.5)).max() < 0.51 * graph.input.scale


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_rules_for_int8_are_not_rendered_for_other_types(dtype: str) -> None:
    """The interpreter's library has the file's own types at its ends."""
    known = QuantizedModel("m", CASES["logistic"][0], inferred(CASES["logistic"][0]).contract)
    graph = load_graph(known.flatbuffer)
    assert describe_decision(known, graph)["decision"].task == "segment"
    assert describe_picture(known, graph)["picture"]
    ends = {*graph.inputs, *graph.outputs}
    tensors = tuple(replace(tensor, dtype=dtype) if tensor.index in ends else tensor for tensor in graph.tensors)
    foreign = replace(graph, tensors=tensors)
    assert describe_decision(known, foreign)["decision"] is None
    assert describe_picture(known, foreign)["picture"] is None


def test_what_is_raw_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture, its numbers, the task, its values, names and what is drivable; in this order."""
    from nanou_deploy.cli import describe as command

    (tmp_path / "m.tflite").write_bytes(model(3, lambda b, x: x, (1, 12, 16, 1)))
    answers = iter([True, 0.5, 0.5, "segment", "logits", "sky,road,grass", "road,grass"])
    for ask in ("confirm", "prompt"):
        monkeypatch.setattr(command.click, ask, lambda *_arguments, **_options: next(answers))
    known = command.ask(command._known(tmp_path / "m.tflite", fresh=False))
    assert next(answers, None) is None
    expected = OutputContract("segment", "logits", classes=("sky", "road", "grass"), drivable=("road", "grass"))
    assert known.model.contract.outputs == (expected,)
    assert known.model.picture == Preprocessing(12, 16, 1, mean=0.5, std=0.5)
