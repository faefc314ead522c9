"""Keras model or SavedModel -> full-int8 .tflite, with ranges from representative data or from fake quantization.

The result has int8 inputs and outputs, int8 weights per channel, int32 biases and a batch of 1. The same model and
the same representative data give the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.captured_output import silenced
from codegen.errors import ModelError
from codegen.graph.model import BINARY_CLASSES, Preprocessing, QuantizedModel, segmentation
from codegen.graph.output_values import follow_values
from codegen.start_tensorflow import import_tensorflow
from codegen.tflite.load import load_graph
from codegen.tflite.power_of_two import with_power_of_two_weights
from codegen.untrusted import shown

if TYPE_CHECKING:
    import keras

Samples = Sequence[npt.NDArray[np.float32]]  # one array (N, ...) for each input, in the order of the .tflite file

# Index tensors (the size operand of RESIZE_NEAREST_NEIGHBOR) and biases are int32; everything else is int8.
ALLOWED_DTYPES = ("int8", "int32")


def quantize(
    model: keras.Model,
    representative: npt.NDArray[np.float32] | None,
    *,
    name: str,
    preprocessing: Preprocessing,
    threshold: float = 0.5,
    provenance: Mapping[str, Any],
    classes: tuple[str, ...] = BINARY_CLASSES,
    drivable: tuple[str, ...] = BINARY_CLASSES[1:],
    power_of_two: bool = False,
) -> QuantizedModel:
    """Quantize a Keras model of one input and one output to int8.

    `representative` is float32 (N, H, W, C), normalized by `preprocessing`, from the training set: the converter
    takes the activation ranges from it. None is for a model trained with fake quantization
    (`tf.quantization.fake_quant_with_min_max_vars` on its input and every activation that rounds): its own ranges are
    used. `power_of_two` is for one of which activations and weights were trained with such scales: the file gets
    exactly these (codegen.tflite.power_of_two). Raises ModelError where shapes disagree, the data are not normalized, a
    range is missing, or the converter leaves something in floating point.
    """
    shape = (preprocessing.height_px, preprocessing.width_px, preprocessing.channels)
    _check_arguments(model, representative, shape, preprocessing)
    if representative is None:
        flatbuffer = _convert_with_own_ranges(model, shape, preprocessing)
    else:
        flatbuffer = _convert(model, _graph(model, shape), representative)
    if power_of_two:
        flatbuffer = with_power_of_two_weights(flatbuffer)
    check_full_int8(flatbuffer)
    graph = load_graph(flatbuffer)
    followed = follow_values(graph, graph.output.index)
    values = followed.values if followed else "logits"
    contract = segmentation(preprocessing, threshold, values=values, classes=classes, drivable=drivable)
    return QuantizedModel(name, flatbuffer, contract, dict(provenance))


def check_full_int8(flatbuffer: bytes) -> None:
    """Raise ModelError naming the operator and tensor that the converter left in floating point."""
    graph = load_graph(flatbuffer)
    for end, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in map(graph.tensor, indices):
            if tensor.dtype != "int8":
                raise ModelError(
                    f"the model's {end} {shown(tensor.name)} is {tensor.dtype}, not int8",
                    hint="end the model with what it computes, before any ARG_MAX or cast, and quantize again",
                )
    for operator in graph.operators:
        for index in (*operator.inputs, *operator.outputs):
            if index >= 0 and graph.tensor(index).dtype not in ALLOWED_DTYPES:
                tensor = graph.tensor(index)
                raise ModelError(
                    f"{operator.label} was left in {tensor.dtype} (tensor {tensor.name})",
                    hint="replace this layer by one that TFLite can quantize",
                )


def _check_arguments(
    model: keras.Model,
    representative: npt.NDArray[np.float32] | None,
    shape: tuple[int, ...],
    preprocessing: Preprocessing,
) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(f"{model.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not one each")
    data_shape = shape if representative is None else representative.shape[1:]
    for what, found in (("the model's input", tuple(model.inputs[0].shape[1:])), ("data", data_shape)):
        if found != shape:
            raise ModelError(f"{what} is {found}, the preprocessing contract says {shape}")
    if representative is None:
        return
    low, high = preprocessing.normalize(np.array([0, 255], np.uint8))
    if not len(representative) or representative.min() < low - 1e-4 or representative.max() > high + 1e-4:
        raise ModelError(
            f"representative data are empty or outside {low:g}..{high:g}",
            hint="normalize them with the model's own preprocessing",
        )


def _convert_with_own_ranges(model: keras.Model, shape: tuple[int, ...], preprocessing: Preprocessing) -> bytes:
    """Convert by the model's own ranges. The converter wants data all the same: any two must give one file."""
    graph = _graph(model, shape)
    black, white = (
        _convert(model, graph, preprocessing.normalize(np.full((1, *shape), value, np.uint8))) for value in (0, 255)
    )
    if black != white:
        raise ModelError(
            f"{model.name} lacks a range of its own for some activation: it converts differently with other data",
            hint="put fake quantization behind every operation that computes, or give representative data",
        )
    return black


def _graph(model: keras.Model, shape: tuple[int, ...]) -> Any:
    """Trace the inference of one image: `from_keras_model` would keep the batch open."""
    tf = import_tensorflow()
    image = tf.TensorSpec((1, *shape), tf.float32, name="image")
    with silenced():
        return tf.function(lambda image: model(image, training=False), autograph=False).get_concrete_function(image)


def _convert(model: keras.Model, graph: Any, representative: npt.NDArray[np.float32]) -> bytes:
    """Convert a graph of the model, whose weights become constants in it.

    Saved as a model and loaded again, it would become the same operators and constants in eight times the time.
    """
    with silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter misses statistics that are for inputs of other types
        converter = import_tensorflow().lite.TFLiteConverter.from_concrete_functions([graph], model)
        converter.experimental_lower_to_saved_model = False
        return bytes(_set_up(converter, [representative]).convert())


def convert_saved_model(folder: Path, representative: Samples | None) -> bytes:
    """Convert a SavedModel with fixed shapes: full int8 with ranges from `representative`, without it float32.

    Loading it and measuring ranges runs the model. What it cannot convert, TensorFlow says in exceptions of its own.
    """
    return bytes(saved_model_converter(folder, representative).convert())


def saved_model_converter(folder: Path, representative: Samples | None) -> Any:
    """TensorFlow's converter, set up for `convert_saved_model`."""
    return _set_up(import_tensorflow().lite.TFLiteConverter.from_saved_model(str(folder)), representative)


def _set_up(converter: Any, representative: Samples | None) -> Any:
    tf = import_tensorflow()
    if representative is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: batches_of_one(representative)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter


def batches_of_one(samples: Samples) -> Iterator[list[npt.NDArray[np.float32]]]:
    """Each sample's inputs, as an interpreter takes them."""
    for inputs in zip(*samples, strict=True):
        yield [value[None].astype(np.float32) for value in inputs]
