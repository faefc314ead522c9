"""Models of other frameworks become int8 models with a sidecar; what would do more than compute is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from codegen.tflite.files import load_model
from codegen.tflite.interpreters import run_tflm
from codegen.tflite.load import load_graph
from nanou_deploy.convert.conversion import TensorFacts
from nanou_deploy.convert.keras_archive import check_archive
from nanou_deploy.convert.layer_loss import share_lost
from nanou_deploy.convert.onnx_file import convert_onnx
from nanou_deploy.convert.samples import find_samples
from nanou_deploy.convert.source import ModelSource
from nanou_deploy.errors import EXIT_OK, EXIT_TOOL_MISSING, EXIT_USAGE, DeployError
from nanou_train.errors import DataError
from tests.command_line import Finished, run

SIDE = 16


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def nanou(*arguments: object, expect: int = EXIT_OK) -> Finished:
    done = run(*arguments, cwd=Path.cwd())
    assert done.returncode == expect, done.stderr
    return done


def _convolution(x: Any, weights: list[list[float]], name: str) -> Any:
    import keras

    kernel = np.array(weights, np.float32)[None, None]
    layer = keras.layers.Conv2D(kernel.shape[-1], 1, use_bias=False, name=name)
    result = layer(x)
    layer.set_weights([kernel])
    return result


def _pictures(folder: Path, names: list[str]) -> None:
    """Noise; a mask is where red is above the middle."""
    rng = np.random.default_rng(0)
    for name in names:
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        for part, image in (("img", pixels), ("mask", np.where(pixels[..., 0] > 127, np.uint8(255), np.uint8(0)))):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / part / f"{name}.png")


def test_keras_is_scored_by_masks_and_its_worst_layer_named(tmp_path: Path) -> None:
    """One layer has a channel of a hundred times the others' range, which takes the others' precision."""
    import keras

    image = keras.Input((None, None, 3))
    x = _convolution(image, np.eye(3).tolist(), "fine")
    x = _convolution(x, [[1, 0, 0], [0, 1, 0], [0, 0, 100]], "greedy")
    keras.Model(image, _convolution(x, [[8], [0], [0]], "last")).save(tmp_path / "net.keras")
    _pictures(tmp_path / "data", [f"{index:02}" for index in range(24)])
    options = ("--task", "segment", "--values", "logits", "--classes", "sky,road", "--drivable", "road")
    command = ("import", tmp_path / "net.keras", "--data", tmp_path / "data", *options, "--samples", "12")
    assert nanou(*command, expect=EXIT_USAGE).stderr.count("--mean and --std") == 1
    done = nanou(*command, "--mean", "0.5", "--std", "0.5", "--size", f"{SIDE}x{SIDE}", "--json")
    told = json.loads(done.stdout)
    assert told["score"]["metric"] == "miou"
    assert told["score"]["samples"] == 12
    assert told["score"]["is_unseen"]
    assert told["score"]["float_score"] == 1
    assert told["score"]["int8_score"] < 0.9
    assert "greedy" in told["worst_layer"]["tensor"]
    graph_name = load_graph((tmp_path / "net.tflite").read_bytes()).operators[told["worst_layer"]["index"]].stem
    assert graph_name.upper() == told["worst_layer"]["operator"]
    model = load_model(tmp_path / "net.tflite")
    assert (model.image.mean, model.image.height_px, model.drivable) == (0.5, SIDE, ("road",))
    again = nanou(*command, "--mean", "0.5", "--std", "0.5", expect=1)
    assert "is there already" in again.stderr


def test_saved_model_of_several_inputs_and_outputs_keeps_which_is_which(tmp_path: Path) -> None:
    import keras

    small, large = keras.Input((4,), name="z_small"), keras.Input((2, 3), name="a_large")
    flat = keras.layers.Flatten()(large)
    joined = keras.layers.Concatenate()([small, flat])
    model = keras.Model([small, large], [keras.layers.Dense(5)(joined), keras.layers.Dense(2)(flat)])
    model.export(tmp_path / "net", verbose=False)
    rng, data = np.random.default_rng(1), tmp_path / "data"
    data.mkdir()
    values = {(4,): rng.normal(0, 1, (40, 4)), (2, 3): rng.normal(0, 9, (40, 2, 3))}
    command = ("import", tmp_path / "net", "--data", data, "--output", tmp_path / "out" / "net.tflite", "--json")
    np.save(data / "input_0.npy", values[(2, 3)])
    assert "input_1.npy" in nanou(*command, expect=1).stderr
    np.save(data / "input_1.npy", values[(4,)])
    told = json.loads(nanou(*command).stdout)
    shapes = [tuple(one["shape"][1:]) for one in told["inputs"]]
    assert set(shapes) == set(values)
    assert all(one["same_decision"] > 0.8 and one["mean_difference_steps"] < 2 for one in told["score"]["agreements"])
    imported = load_model(tmp_path / "out" / "net.tflite")
    graph = load_graph(imported.flatbuffer)
    assert [graph.tensor(index).shape[1:] for index in graph.inputs] == shapes
    quantized = [
        np.clip(np.round(values[shape] / tensor.scale) + tensor.zero_point, -128, 127).astype(np.int8).reshape(40, -1)
        for shape, tensor in zip(shapes, map(graph.tensor, graph.inputs), strict=True)
    ]
    outputs = run_tflm(imported.flatbuffer, np.concatenate(quantized, axis=1)).view(np.int8)
    exact = model([values[(4,)].astype(np.float32), values[(2, 3)].astype(np.float32)])
    position = 0
    for tensor in map(graph.tensor, graph.outputs):
        count = tensor.shape[-1]
        real = (outputs[:, position : position + count].astype(float) - tensor.zero_point) * tensor.scale
        np.testing.assert_allclose(real, next(one for one in exact if one.shape[-1] == count), atol=4 * tensor.scale)
        position += count


def test_saved_model_that_writes_a_file_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    mark = tmp_path / "mark"

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4))])
        def serve(self, x: Any) -> Any:
            tf.io.write_file(str(mark), "x")
            return {"y": x + 1}

    writer = Writer()
    tf.saved_model.save(writer, str(tmp_path / "net"), signatures={"serving_default": writer.serve})
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "input.npy", np.zeros((3, 4)))
    done = nanou("import", tmp_path / "net", "--data", tmp_path / "data", expect=1)
    assert "does more than compute" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "net"]


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ({"class_name": "Lambda", "module": "keras.layers", "config": {}}, "runs code"),
        ({"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/tmp/x"}}, "runs code"),
        ({"class_name": "Own", "module": "package", "registered_name": "package>Own", "config": {}}, "its maker's"),
        ({"class_name": "system", "module": "os", "config": {}}, "none of Keras"),
        ({"class_name": "function", "module": "keras.utils", "config": "get_file"}, "none of Keras"),
        ({"class_name": "function", "module": "keras.ops", "config": "save"}, "none of Keras' activations"),
    ],
)
def test_keras_file_may_name_only_layers_that_compute(tmp_path: Path, layer: dict[str, Any], says: str) -> None:
    config = {"class_name": "Sequential", "module": "keras", "config": {"layers": [{"config": {"activation": layer}}]}}
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(DeployError, match=says):
        check_archive(path)


def test_what_is_no_such_model_or_data_is_said_before_tensorflow_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "input.npy", np.zeros((3, 4)))
    hints = {"net.pth": "torch.onnx.export", "net.tflite": "needs no import", "folder": "no SavedModel"}
    for name, says in hints.items():
        path = tmp_path / name
        path.mkdir() if name == "folder" else path.write_bytes(b"x")
        assert says in nanou("import", path, "--data", data, expect=1).stderr
    (tmp_path / "keras.keras").write_bytes(b"PK")
    done = nanou("import", tmp_path / "keras.keras", "--data", data, "--mean", "0", expect=EXIT_USAGE)
    assert "of pictures" in done.stderr
    (tmp_path / "torch.onnx").write_bytes(b"x")
    if importlib.util.find_spec("onnx2tf") is None:
        done = nanou("import", tmp_path / "torch.onnx", "--data", data, expect=EXIT_TOOL_MISSING)
        assert "nanou-deploy[onnx]" in done.stderr


def test_layouts_of_data(tmp_path: Path) -> None:
    image = [TensorFacts("image", (1, SIDE, SIDE, 3))]
    _pictures(tmp_path / "set" / "train", ["a", "b", "c"])
    _pictures(tmp_path / "set" / "test", ["d", "e"])
    found = find_samples(tmp_path / "set", image, most=2, most_scored=9)
    assert [one.path.stem for one in found.representative] == ["a", "c"]
    assert [one.mask and one.mask.stem for one in found.scored] == ["d", "e"]
    for name in ("cat", "dog"):
        (tmp_path / "kinds" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "kinds" / name / "1.png")
    found = find_samples(tmp_path / "kinds", image, most=9, most_scored=9)
    assert ([one.label for one in found.scored], found.labels) == (["cat", "dog"], ("cat", "dog"))
    assert not found.is_scored_unseen
    (tmp_path / "kinds" / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="as an array"):
        find_samples(tmp_path / "kinds", image, most=9, most_scored=9)
    np.save(tmp_path / "kinds" / "x.npy", np.zeros((2, 3, SIDE, SIDE)))
    with pytest.raises(DeployError, match=r"takes \(N, 16, 16, 3\)") as refused:
        find_samples(tmp_path / "kinds", image, most=9, most_scored=9)
    assert "moveaxis" in refused.value.hint


def test_share_lost_is_that_of_the_mean_channel() -> None:
    exact = np.array([[[[1000.0, 1.0]], [[-1000.0, -1.0]]]])
    assert share_lost(exact, np.array([[[[127, 0]], [[-127, 0]]]], np.int8), 1000 / 127, 0) == pytest.approx(0.5)


@pytest.mark.parametrize("beside", [False, True])
def test_onnx_gets_its_channels_last(tmp_path: Path, beside: bool) -> None:
    """Where the extra is installed, which `make setup` does not do. PyTorch keeps weights `beside` the file."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnx2tf")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(0, 0.5, (4, 3, 3, 3)).astype(np.float32), "w")]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
             helper.make_node("Relu", ["c"], ["y"])]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, SIDE, 24]) for name, channels in
            (("x", 3), ("y", 4))]  # fmt: skip
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "net.onnx",
        save_as_external_data=beside,
        location="net.onnx.data",
        size_threshold=0,
    )
    assert (tmp_path / "net.onnx.data").exists() == beside
    _pictures(tmp_path / "data", ["a", "b", "c"])
    done = nanou("import", tmp_path / "net.onnx", "--data", tmp_path / "data", "--mean", "0", "--std", "1", "--json")
    told = json.loads(done.stdout)
    assert [one["shape"] for one in (*told["inputs"], *told["outputs"])] == [[1, SIDE, 24, 3], [1, SIDE, 24, 4]]
    assert told["score"]["agreements"][0]["mean_difference_steps"] < 2
    made = load_model(tmp_path / "net.tflite")
    assert made.picture is not None
    assert made.picture.width_px == 24
    imported = made.provenance["imported"]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("net.onnx*")}
    assert imported.get("weights", []) == [{"file": n, "sha256": d} for n, d in digests.items() if n != "net.onnx"]
    assert (imported["sha256"] == digests["net.onnx"]) is not beside


def test_sha256_of_what_was_imported_covers_every_file(tmp_path: Path) -> None:
    """Of one file it is that file's; of a folder, or weights beside, any name or content changes it."""
    path = tmp_path / "net.onnx"
    path.write_bytes(b"graph")
    source, weights = ModelSource(path, "onnx"), {"net.onnx.data": "00" * 32}
    assert source.sha256({}) == hashlib.sha256(b"graph").hexdigest()
    digests = {source.sha256({}), source.sha256(weights), source.sha256({"other": "00" * 32})}
    digests |= {source.sha256({"net.onnx.data": "01" * 32}), source.sha256({**weights, "more": "00" * 32})}
    path.write_bytes(b"graph of another")
    assert len({*digests, source.sha256(weights)}) == 6
    folder = ModelSource(tmp_path, "saved_model")
    before = folder.sha256({})
    path.rename(tmp_path / "saved_model.pb")
    assert folder.sha256({}) != before


@pytest.mark.parametrize(
    ("location", "length", "says"),
    [("../w", 4, "no file beside it"), ("link", 4, "no file beside it"), ("w", 9, "reach beyond"), ("", 4, "no file"),
     ("\x1b[31mw", 4, "no file beside it"), ("w" * 5000, 4, "no ONNX model|no file")],
)  # fmt: skip
@pytest.mark.parametrize("is_attribute", [False, True])
def test_weights_of_onnx_lie_beside_it(
    tmp_path: Path, location: str, length: int, says: str, is_attribute: bool
) -> None:
    """Initializers and the values of nodes alike."""
    onnx = pytest.importorskip("onnx")
    (tmp_path / "w").write_bytes(b"1234")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "w").write_bytes(b"1234")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "w")
    tensor = onnx.TensorProto(name="w", dims=[1], data_type=1, data_location=1)
    for key, value in (("location", location), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    nodes = [onnx.helper.make_node("Constant", [], ["w"], value=tensor)] if is_attribute else []
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "net", [], [], [] if is_attribute else [tensor]))
    path = tmp_path / "folder" / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DeployError, match=says):
        convert_onnx(path, tmp_path / "made", None)
