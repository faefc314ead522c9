"""What stands between camera bytes and decisions, for one model: the input table, the output threshold, the classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codegen.errors import ModelError
from codegen.graph.graph import Graph, Tensor
from codegen.graph.model import BINARY_CLASSES, Quantization, QuantizedModel, threshold_q
from codegen.untrusted import shown


def input_lookup(model: QuantizedModel, graph: Graph) -> npt.NDArray[np.int8]:
    """int8 (256,): the model input byte for each pixel component."""
    return model.image.lookup_table(_quantization(graph.input))


def decision_threshold(model: QuantizedModel, graph: Graph) -> int:
    """The int8 output from which on a pixel counts as drivable; 128 means never.

    A model that ends in LOGISTIC gives probabilities, any other logits.
    """
    is_probability = graph.operators[-1].stem == "logistic"
    return threshold_q(model.threshold, _quantization(graph.output), is_probability=is_probability)


def class_names(model: QuantizedModel, graph: Graph) -> tuple[str, ...]:
    """Names by index: two for one output channel, else one for each channel; class0, class1... where none are stated.

    Raises ModelError where the contract names another number of classes.
    """
    channels = graph.output.shape[-1]
    count = 2 if channels == 1 else channels
    if model.classes and len(model.classes) != count:
        raise ModelError(
            f"{model.name} has {channels} output channel(s), its contract names {len(model.classes)} classes",
            hint="quantize again",
        )
    return model.classes or (BINARY_CLASSES if channels == 1 else tuple(f"class{index}" for index in range(count)))


def drivable_classes(model: QuantizedModel, graph: Graph) -> tuple[int, ...]:
    """Indices of the classes that count as drivable: 1 for one output channel; else those of the contract, or none.

    Raises ModelError where the contract wants another one of one channel.
    """
    names = class_names(model, graph)
    stated = tuple(sorted(names.index(name) for name in model.drivable))
    if graph.output.shape[-1] > 1:
        return stated
    if stated not in ((), (1,)):
        raise ModelError(
            f"{model.name} has one output channel, so {shown(names[1])} counts as drivable; its contract says"
            f" {', '.join(map(shown, model.drivable))}",
            hint="name the drivable class second",
        )
    return (1,)


def decide_classes(outputs: npt.NDArray[np.int8], threshold: int) -> npt.NDArray[np.uint8]:
    """int8 model outputs (..., K) -> class indices uint8 (...), as `nanou_class_at` in the generated library.

    K = 1: 1 from the int8 `threshold` on (128 means never). Else the index of the highest, the lower of equal ones.
    """
    if outputs.shape[-1] == 1:
        return (outputs[..., 0].astype(np.int16) >= threshold).astype(np.uint8)
    highest: npt.NDArray[np.uint8] = np.argmax(outputs, axis=-1).astype(np.uint8)
    return highest


def _quantization(tensor: Tensor) -> Quantization:
    return Quantization(tensor.scale, tensor.zero_point)
