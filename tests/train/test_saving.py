"""Models saved in every format load back and compute the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_train.errors import TrainError
from nanou_train.networks.architectures import create_nano_u
from nanou_train.networks.saving import load_model, save_model

X = np.random.default_rng(0).uniform(-1, 1, (2, 24, 32, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


@pytest.fixture
def model() -> Any:
    """With everything of our own in it: rounding, normalization, a resize."""
    from nanou_train.networks.fake_quant import quantization_aware

    return quantization_aware(create_nano_u((24, 32, 3), (4,), 4))


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "served"])
def test_saved_is_loaded(model: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / "deep" / name
    for _ in range(2):  # the second time over the first
        assert save_model(model, path) == path
    loaded = load_model(path)
    np.testing.assert_array_equal(loaded(X), model(X))
    assert loaded.input_shape == model.input_shape
    assert [left.name for left in path.parent.iterdir()] == [name]  # and nothing half-written
    if path.suffix:
        assert all(
            np.array_equal(one, other) for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True)
        )
        assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def test_mistakes_are_named_and_nothing_is_lost(model: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for path, says in (
        ("model.tflite", r"no model format \.tflite"),
        ("mine", "other things in it"),
        ("file/below.keras", "cannot write"),
    ):
        with pytest.raises(TrainError, match=says):
            save_model(model, tmp_path / path)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    (tmp_path / "broken.keras").write_bytes(b"PK")
    for path, says in (("absent.keras", "no model file"), ("mine", "no SavedModel"), ("broken.keras", "cannot read")):
        with pytest.raises(TrainError, match=says):
            load_model(tmp_path / path)


@pytest.mark.parametrize("what", ["tf.io.write_file(MARK, 'x')", "tf.print('x')", "tf.py_function(print, [1.0], [])"])
def test_a_saved_model_that_does_more_than_compute_is_not_even_loaded(tmp_path: Path, what: str) -> None:
    import tensorflow as tf

    class Teacher(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3))])
        def serve(self, x: Any) -> Any:
            eval(what, {"tf": tf, "MARK": str(tmp_path / "mark")})
            return x

    teacher = Teacher()
    tf.saved_model.save(teacher, str(tmp_path / "teacher"), signatures={"serving_default": teacher.serve})
    with pytest.raises(TrainError, match="does more than compute"):
        load_model(tmp_path / "teacher")
    assert not (tmp_path / "mark").exists()


def test_what_saves_weights_is_for_nothing_else(model: Any, tmp_path: Path) -> None:
    """Its function may write files, so that nothing that is loaded may call it."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = save_model(model, tmp_path / "teacher") / "saved_model.pb"
    document = saved_model_pb2.SavedModel()
    document.ParseFromString(file.read_bytes())
    (graph,) = document.meta_graphs
    function = next(one for one in graph.graph_def.library.function if "traced_save" in one.signature.name)
    served = next(node for node in graph.object_graph_def.nodes if node.WhichOneof("kind") == "function")
    served.function.concrete_functions.append(function.signature.name)
    file.write_bytes(document.SerializeToString())
    with pytest.raises(TrainError, match="does more than compute"):
        load_model(tmp_path / "teacher")
    file.write_bytes(b"\xff" * 100)
    with pytest.raises(TrainError, match="cannot be read"):
        load_model(tmp_path / "teacher")
