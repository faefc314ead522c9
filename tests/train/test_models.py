"""The networks: parameter counts, shapes, and the operators that they become."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.errors import ModelError
from codegen.graph.model import Preprocessing, Quantization, QuantizedModel
from codegen.tflite.load import load_graph
from codegen.tflite.quantize import check_full_int8, quantize
from nanou_train.data import terrain
from nanou_train.errors import ConfigError, TrainError
from nanou_train.networks.architectures import (
    PRESETS,
    class_count,
    count_parameters,
    create_bu_net,
    create_model_from_config,
    create_nano_u,
)


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


@pytest.fixture(scope="module")
def quantized() -> QuantizedModel:
    """The nano_u preset with seeded random weights."""
    if not os.environ.get("NANOU_REQUIRE_TOOLS"):
        pytest.importorskip("tensorflow")
    import keras

    keras.utils.set_random_seed(7)
    model = create_model_from_config("nano_u")
    contract = Preprocessing(60, 80)
    data = contract.normalize(terrain.generate(8, seed=1)[0])
    return quantize(model, data, name="n", preprocessing=contract, provenance={})


def test_nano_u_preset_is_the_papers() -> None:
    model = create_model_from_config("nano_u")
    assert model.input_shape == (None, 60, 80, 3)
    assert model.output_shape == (None, 60, 80, 1)
    assert count_parameters(model, deployed=True) == 3357
    assert count_parameters(model) == 3063 + 1 + 2 * 287  # kernels, the last bias, BatchNorm gamma and beta


def test_nano_u_becomes_the_chain_of_35_operators(
    quantized: QuantizedModel, shared_model: Callable[[str], Path]
) -> None:
    ours, theirs = (
        load_graph(flatbuffer)
        for flatbuffer in (quantized.flatbuffer, shared_model("nano_u_botanic.tflite").read_bytes())
    )

    def chain(graph: object) -> list[object]:
        return [
            (operator.stem, [graph.tensor(i).shape for i in (*operator.inputs, *operator.outputs)])
            for operator in graph.operators
        ]

    assert chain(ours) == chain(theirs)


def test_operator_counts(quantized: QuantizedModel) -> None:
    graph = load_graph(quantized.flatbuffer)
    assert Counter(operator.stem for operator in graph.operators) == {
        "depthwise_conv_2d": 14,
        "conv_2d": 15,
        "max_pool_2d": 3,
        "resize_nearest_neighbor": 3,
    }
    assert graph.input.shape == (1, 60, 80, 3)
    constants = Counter()
    for tensor in graph.tensors:
        if tensor.data is not None:
            constants[tensor.dtype] += tensor.data.size
    assert constants == {"int8": 3063, "int32": 294}


def test_quantizing_again_gives_the_same_bytes() -> None:
    model, contract = create_nano_u((8, 8, 3), (4,), 4), Preprocessing(8, 8)
    data = np.random.default_rng(2).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    first, second = (quantize(model, data, name="n", preprocessing=contract, provenance={"n": n}) for n in range(2))
    assert first.flatbuffer == second.flatbuffer
    assert (first.provenance, second.provenance) == ({"n": 0}, {"n": 1})


def test_training_and_lookup_table_agree_on_every_pixel_value(quantized: QuantizedModel) -> None:
    """The real value behind each table entry is the network's training input, to half a quantization step."""
    source = load_graph(quantized.flatbuffer).input
    contract = quantized.preprocessing
    values = np.arange(256, dtype=np.uint8)
    table = contract.lookup_table(Quantization(source.scale, source.zero_point)).astype(np.float64)
    real = source.scale * (table - source.zero_point)
    assert np.abs(real - contract.normalize(values)).max() <= source.scale * 0.5 + 1e-6
    assert len(np.unique(table)) >= 254


def test_a_float_island_is_named(quantized: QuantizedModel) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(create_nano_u((8, 8, 3), (4,), 4))
    with pytest.raises(ModelError, match=r"input .* is float32, not int8"):
        check_full_int8(converter.convert())
    check_full_int8(quantized.flatbuffer)


def test_calibration_data_must_be_normalized_and_fit() -> None:
    model = create_nano_u((8, 8, 3), (4,), 4)
    contract = Preprocessing(8, 8)
    for data, says in (
        (np.full((1, 8, 8, 3), 255.0, np.float32), "outside -1..1"),
        (np.zeros((0, 8, 8, 3), np.float32), "empty"),
        (np.zeros((1, 8, 9, 3), np.float32), r"data is \(8, 9, 3\)"),
    ):
        with pytest.raises(ModelError, match=says):
            quantize(model, data, name="n", preprocessing=contract, provenance={})


@pytest.mark.parametrize("create", [create_nano_u, create_bu_net])
@pytest.mark.parametrize(
    ("input_shape", "filters"), [((48, 64, 3), (16, 32)), ((16, 24, 1), (4,)), ((48, 36, 3), (2, 4, 6, 8))]
)
def test_any_depth_and_skips(
    create: Callable[..., object], input_shape: tuple[int, int, int], filters: tuple[int, ...]
) -> None:
    model = create(input_shape, filters, 8)
    assert model.output_shape == (None, *input_shape[:2], 1)
    joins = [layer for layer in model.layers if layer.name.endswith("_join")]
    assert len(joins) == len(filters)
    assert not [layer for layer in create(input_shape, filters, 8, skips=False).layers if layer.name.endswith("_join")]


@pytest.mark.parametrize(("classes", "logits"), [(2, 1), (3, 3), (32, 32)])
def test_two_classes_share_one_logit(classes: int, logits: int) -> None:
    model = create_nano_u((24, 32, 1), (4,), 4, classes=classes)
    assert model.output_shape == (None, 24, 32, logits)
    assert class_count(model) == classes


def test_documented_defaults() -> None:
    assert create_nano_u().input_shape == (None, 48, 64, 3)
    assert create_nano_u().name == "nano_u"
    assert create_bu_net().name == "bu_net"
    assert count_parameters(create_bu_net()) > 50 * count_parameters(create_nano_u())


def test_a_model_from_a_configuration() -> None:
    """A preset's name, an experiment's model_name with changes, or all fields."""
    fields = {"architecture": "nano_u", "input_shape": (24, 32, 3), "filters": (4,), "bottleneck": 4}
    for config in (fields, {"model_name": "nano_u", "input_shape": (24, 32, 3), "filters": (4,), "bottleneck": 4}):
        assert create_model_from_config(config).input_shape == (None, 24, 32, 3)
    assert create_model_from_config({"model_name": "nano_u_skips"}).input_shape == (None, 48, 64, 3)
    with pytest.raises(ConfigError, match="nano_v"):
        create_model_from_config({"model_name": "nano_v"})


def test_inference_does_not_depend_on_the_batch() -> None:
    """BatchNorm must use its moving averages in every layer, also where the caller does not say training=False."""
    model = create_model_from_config("nano_u")
    x = np.random.default_rng(0).normal(size=(4, 60, 80, 3)).astype(np.float32)
    assert np.allclose(model(x)[:1], model(x[:1]), atol=1e-5)
    assert np.allclose(model(x), model(x, training=False))


def test_mistakes_are_named() -> None:
    with pytest.raises(TrainError, match="height 50 cannot be divided") as size:
        create_nano_u((50, 64, 3), (4, 8))
    assert size.value.hint == "use 48x64 or 52x64, or fewer stages"
    with pytest.raises(TrainError, match="height 1 and width 70") as size:
        create_nano_u((1, 70, 3), (4, 8, 8))
    assert size.value.hint == "use 8x72, or fewer stages"
    with pytest.raises(TrainError, match="1 classes"):
        create_nano_u((48, 64, 3), (4,), 4, classes=1)
    with pytest.raises(TrainError, match="filters"):
        create_nano_u((48, 64, 3), ())
    with pytest.raises(ConfigError, match="nano_v") as caught:
        create_model_from_config("nano_v")
    assert "nano_u" in caught.value.hint
    with pytest.raises(ConfigError, match='unknown model key "filter"') as caught:
        create_model_from_config({"architecture": "nano_u", "filter": (4,)})
    assert "filters" in caught.value.hint
    assert PRESETS["nano_u"].skips is False
