"""`inspect` of whatever can be read: what a file is, and everything that keeps it from a runtime, at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tflite

from codegen.graph.graph import Graph, Operator, Tensor
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.file_kind import file_kind
from codegen.tflite.load import read_graph
from tests.command_line import run, run_json


def graph_of(stem: str, *dtypes: str, weights: str = "") -> Graph:
    """Operators in a row between activations of these types."""
    tensors = [Tensor(i, f"t{i}", (1, 4), dtype) for i, dtype in enumerate(dtypes)]
    last = len(tensors) - 1
    if weights:
        tensors.append(Tensor(last + 1, "w", (1, 4), weights, data=np.zeros((1, 4), weights)))
    read = [last + 1] if weights else []
    operators = [Operator(i, stem, (i, *read), (i + 1,), {}) for i in range(last)]
    return Graph(tuple(tensors), tuple(operators), (0,), (last,))


@pytest.mark.parametrize(
    ("graph", "said", "unblock"),
    [
        (graph_of("custom edgetpu-custom-op", "uint8", "uint8"), "Edge TPU", "edgetpu_compiler was given"),
        (graph_of("custom ethos-u", "int8", "int8"), "Ethos-U", "Vela was given"),
        (graph_of("custom NeutronGraph", "int8", "int8"), "Neutron", "was given"),
        (graph_of("custom FlexErf", "float32", "float32"), "TensorFlow's own operators (FlexErf)", "SELECT_TF_OPS"),
        (graph_of("custom TFLite_Detection", "uint8", "uint8"), "custom operators", "without them"),
        (graph_of("relu", "float32", "float32", "float32"), "float32, not quantized", "representative"),
        (graph_of("relu", "float32", "float32", "float32", weights="int8"), "only weights", "representative"),
        (graph_of("relu", "float32", "float32", "float32", weights="float16"), "float16 weights", "representative"),
        (graph_of("relu", "int16", "int16", "int16", weights="int8"), "16x8", "representative"),
        (graph_of("relu", "uint8", "uint8", "uint8"), "uint8, as TensorFlow 1", "again"),
        (graph_of("relu", "float32", "int8", "uint8"), "int8, float32, uint8 at its ends", ""),
        (graph_of("relu", "int8", "int8", "float32", "int8"), "int8, with float32 inside", ""),
        (graph_of("relu", "int8", "int8"), "int8", ""),
    ],
)
def test_a_file_is_named_as_what_it_is(graph: Graph, said: str, unblock: str) -> None:
    kind = file_kind(graph)
    assert said in kind.description
    assert unblock in kind.unblock
    assert bool(unblock) == bool(kind.unblock)


@pytest.fixture
def lacking(tmp_path: Path) -> Path:
    """A file with three operators that do not compile, among them two of one kind, and one that does."""
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 3), 0.1, 0)
    value = b.logistic(source)
    for name in ("FLOOR", "CEIL", "FLOOR"):
        value = b.operator(name, [value], b.activation((1, 4, 4, 3), 0.1, 0), None)
    path = tmp_path / "lacking.tflite"
    path.write_bytes(b.finish([source], [value]))
    return path


def test_all_that_lacks_is_said_at_once(lacking: Path) -> None:
    code, document = run_json("inspect", "--model", lacking, cwd=lacking.parent)
    assert code == 0
    aot, tflm = document["runtimes"]["aot"], document["runtimes"]["tflm"]
    assert (aot["takes"], tflm["takes"]) == (False, False)
    assert "FLOOR (operator 1, 3); CEIL (operator 2)" in aot["problems"][0]["what"]
    assert [operator["aot"] for operator in document["file_operators"]] == ["yes", "no", "no", "no"]
    assert document["file_operators"][0]["outputs"][0]["zero_point"] == -128
    shown = run("inspect", "--model", lacking, cwd=lacking.parent).stdout
    assert "does not take it" in shown
    assert "LOGISTIC" in shown
    refused = run("generate", "--model", lacking, cwd=lacking.parent)
    assert refused.returncode == 1
    assert all(name in refused.stderr for name in ("FLOOR (operator 1, 3)", "CEIL (operator 2)"))


def test_types_that_no_runtime_takes_are_shown(tmp_path: Path) -> None:
    data = bytearray(lacking_types())
    graph, refused = read_graph(bytes(data))
    assert [tensor.dtype for tensor in graph.tensors] == ["int8", "float64"]
    assert "float64" in str(refused[0])
    (tmp_path / "m.tflite").write_bytes(data)
    code, document = run_json("inspect", "--model", "m.tflite", cwd=tmp_path)
    assert (code, document["contract"]) == (0, None)
    assert "float64" in document["runtimes"]["tflm"]["problems"][-1]["what"]


def lacking_types() -> bytes:
    """RELU from int8 to a type that the builder does not write: patched where the schema has it."""
    b = ModelBuilder()
    source = b.activation((1, 4), 0.1, 0)
    value = b.operator("RELU", [source], b.activation((1, 4), 0.1, 0), None)
    data = bytearray(b.finish([source], [value]))
    tensor = tflite.Model.GetRootAs(data, 0).Subgraphs(0).Tensors(value)
    data[tensor._tab.Pos + tensor._tab.Offset(6)] = tflite.TensorType.FLOAT64
    return bytes(data)


def test_a_sidecar_that_contradicts_is_no_reason_to_show_nothing(tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 3), 1 / 127.5, 0)
    (tmp_path / "m.tflite").write_bytes(b.finish([source], [b.logistic(source)]))
    (tmp_path / "m.json").write_text("{}")
    code, document = run_json("inspect", "--model", "m.tflite", cwd=tmp_path)
    assert code == 0
    assert "schema None" in document["sidecar_problem"]["what"]
    assert document["runtimes"]["aot"]["takes"]
    assert document["operators"][0]["op"] == "LOGISTIC"
    assert "its sidecar is not used" in run("inspect", "--model", "m.tflite", cwd=tmp_path).stdout


def test_what_the_compiler_made_beside_the_files_tensors_is_shown(tmp_path: Path) -> None:
    """Parts of a split convolution, and sums that run over rows, have no quantization in the file."""
    b = ModelBuilder()
    source = b.activation((1, 12, 6, 5), 0.1, 0)
    joined = b.concatenate([b.quantize(source, 0.2, 0), b.quantize(source, 0.2, 0)])
    weights = np.ones((1, 3, 3, 10), np.int8)
    value = b.convolution(joined, weights, [0.01] * 10, None, scale=0.1, zero_point=0, depthwise=True)
    mean = b.operator("MEAN", [value, b.constant(np.array([1, 2], np.int32))], b.activation((1, 10), 0.1, 0),
                      "ReducerOptions")  # fmt: skip
    (tmp_path / "m.tflite").write_bytes(b.finish([source], [mean]))
    done = run("inspect", "--model", tmp_path / "m.tflite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    operators = run_json("inspect", "--model", tmp_path / "m.tflite", cwd=tmp_path)[1]["operators"]
    assert [(one["part"], one["output"]["scale"] is None) for one in operators if one["part"]] == [
        ("a", True), ("b", True), ("a", True),
    ]  # fmt: skip
