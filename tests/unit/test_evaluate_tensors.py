"""`evaluate` of what segments nothing: classifiers on folders of classes, raw models on .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.graph.graph import Graph, Operator, Tensor
from codegen.tflite.builder import ModelBuilder
from nanou_deploy.verify.golden import make_cases
from tests.command_line import run, run_json

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}
RUNTIMES = ("--executor", "tflm")


def classifier(last: str = "SOFTMAX", *, picture: bool = True) -> bytes:
    """Which of its three inputs is largest, of one pixel or of a vector."""
    b = ModelBuilder()
    source = b.activation((1, 1, 1, 3) if picture else (1, 3), 1 / 127.5, 0)
    flat = b.reshape(source, (1, 3))
    weights = b.constant(np.diag([127] * 3).astype(np.int8), [0.04], zero_point=0)
    logits = b.activation((1, 3), 0.1, 0)
    b.operator("FULLY_CONNECTED", [flat, weights, -1], logits, KeepNumDims=False)
    if last == "SOFTMAX":
        output = b.activation((1, 3), 1 / 256, -128)
        b.operator("SOFTMAX", [logits], output, "SoftmaxOptions", Beta=1.0)
        logits = output
    return b.finish([source], [logits])


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """colours.tflite with its contract, and pictures of which one lies among another colour's."""
    (tmp_path / "colours.tflite").write_bytes(classifier())
    assert run("describe", "colours.tflite", "--classes", "red,green,blue", cwd=tmp_path).returncode == 0
    for name, count in (("red", 3), ("green", 2), ("blue", 1)):
        folder = tmp_path / "data/test" / name
        folder.mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 6), COLOURS[name]).save(folder / f"{i}.png")
    Image.new("RGB", (8, 6), COLOURS["blue"]).save(tmp_path / "data/test/green/odd.png")
    (tmp_path / "data/test/red/notes.txt").write_text("x")
    return tmp_path


def test_a_classifier_stands_beside_the_majority(colours: Path) -> None:
    code, document = run_json("evaluate", "--model", "colours.tflite", "--data", "data", *RUNTIMES, cwd=colours)
    assert (code, document["task"], document["cases"]) == (0, "classify", 7)
    assert document["skipped"] == ["red/notes.txt"]
    assert document["majority"] == {"name": "red", "top1": 3 / 7}
    scores = document["executors"]["tflm"]
    assert scores["confusion"] == [[3, 0, 0], [0, 2, 1], [0, 0, 1]]
    assert scores["top1"] == 6 / 7
    assert [one["recall"] for one in scores["classes"]] == [1.0, 2 / 3, 1.0]
    assert [one["precision"] for one in scores["classes"]] == [1.0, 1.0, 0.5]
    shown = run("evaluate", "--model", "colours.tflite", "--data", "data", *RUNTIMES, "--output", "e", cwd=colours)
    assert "always red" in shown.stdout
    assert "1 files are no cases" in shown.stderr
    assert (colours / "e/evaluation.json").exists()


def test_folders_are_named_as_the_contract_s_classes(colours: Path) -> None:
    (colours / "data/test/pink").mkdir()
    done = run("evaluate", "--model", "colours.tflite", "--data", "data", *RUNTIMES, cwd=colours)
    assert done.returncode == 1
    assert "pink" in done.stderr
    assert "red, green, blue" in done.stderr
    (colours / "colours.json").unlink()  # without names, folders are indices
    done = run("evaluate", "--model", "colours.tflite", "--data", "data", *RUNTIMES, cwd=colours)
    assert done.returncode == 1
    assert "describe --classes" in done.stderr


def test_vectors_of_features_are_npy_files(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(classifier(picture=False))
    for index in range(3):
        (tmp_path / f"data/{index}").mkdir(parents=True)
        np.save(tmp_path / f"data/{index}/a.npy", np.eye(3, dtype=np.float32)[index])
        np.save(tmp_path / f"data/{index}/b.npy", np.eye(3, dtype=np.float32)[index : index + 1])
    code, document = run_json("evaluate", "--model", "m.tflite", "--data", "data", *RUNTIMES, cwd=tmp_path)
    assert (code, document["executors"]["tflm"]["top1"], document["cases"]) == (0, 1.0, 6)


def test_raw_tensors_are_compared_in_real_numbers(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(classifier("", picture=False))
    inputs = np.array([[0.5, 0.0, -0.5], [1.0, 0.25, 0.0]], np.float32)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/input.npy", inputs)
    arguments = ("evaluate", "--model", "m.tflite", *RUNTIMES)
    code, document = run_json(*arguments, "--data", "data", "--output", "kept", cwd=tmp_path)
    assert (code, document["task"], document["errors"]) == (0, "raw", [])
    given = np.load(tmp_path / "kept/tflm_output_0.npy")
    assert given.dtype == np.int8
    assert np.abs(given * 0.1 - inputs * 127 * 0.04).max() < 0.12
    np.save(tmp_path / "data/output.npy", given * 0.1 + 0.3)
    _, document = run_json(*arguments, "--data", "data", cwd=tmp_path)
    assert document["errors"][0]["largest"] == pytest.approx(0.3)
    assert document["errors"][0]["largest_steps"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("input.npy", np.zeros((2, 4), np.float32), "shape (2, 4)"),
        ("input.npy", np.zeros((0, 3), np.float32), "shape (0, 3)"),
        ("input.npy", np.full((1, 3), np.nan, np.float32), "no numbers"),
        ("input.npy", np.zeros((1, 3), np.int32), "is int32, the tensor int8"),
        ("input.npy", np.array([["a"]]), "no array of numbers"),
        ("other.npy", np.zeros((1, 3), np.float32), "input.npy is not there"),
    ],
)
def test_what_is_no_case_is_refused(name: str, array: np.ndarray, said: str, tmp_path: Path) -> None:  # type: ignore[type-arg]
    (tmp_path / "m.tflite").write_bytes(classifier("", picture=False))
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / name, array)
    done = run("evaluate", "--model", "m.tflite", "--data", "data", *RUNTIMES, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(classifier("", picture=False))
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/input.npy", np.array([print], dtype=object), allow_pickle=True)
    done = run("evaluate", "--model", "m.tflite", "--data", "data", *RUNTIMES, cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot read" in done.stderr


def test_without_data_it_says_what_data_are(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(classifier())
    done = run("evaluate", "--model", "m.tflite", *RUNTIMES, cwd=tmp_path)
    assert done.returncode == 1
    assert "one for each class" in done.stderr


def test_verify_takes_the_same_data(colours: Path) -> None:
    said = ("--model", "colours.tflite", "--runtime", "tflm", "--cases", "4", "--data", "data")
    code, document = run_json("verify", *said, cwd=colours)
    assert (code, document["passed"]) == (0, True)
    (colours / "raw.tflite").write_bytes(classifier("", picture=False))
    np.save(colours / "data/input.npy", np.zeros((2, 3), np.float32))
    code, document = run_json("verify", "--model", "raw.tflite", *said[2:], cwd=colours)
    assert (code, document["passed"]) == (0, True)
    np.save(colours / "data/input.npy", np.zeros((2, 4), np.float32))
    assert run("verify", "--model", "raw.tflite", *said[2:], cwd=colours).returncode == 1


def test_cases_of_a_float_model_are_numbers() -> None:
    """The interpreter takes it; the compiler does not."""
    tensors = (Tensor(0, "x", (1, 4), "float32"), Tensor(1, "y", (1, 4), "float32"))
    graph = Graph(tensors, (Operator(0, "relu", (0,), (1,), {}),), (0,), (1,))
    values = make_cases(graph, 30, seed=0).file.view(np.float32)
    assert values.shape == (30, 4)
    assert np.isfinite(values).all()
    assert (values.min(), values.max()) == (-4.0, 127 / 32)
