"""What stands between camera bytes and decisions, for one model: the input table, the output threshold, the classes."""

from __future__ import annotations

import math
from math import prod

import numpy as np
import numpy.typing as npt

from codegen.errors import ModelError
from codegen.graph.graph import Graph, Tensor
from codegen.graph.model import (
    BINARY_CLASSES,
    MAX_CLASSES,
    MAX_LABELS,
    Contract,
    OutputContract,
    Preprocessing,
    Quantization,
    QuantizedModel,
    threshold_q,
)
from codegen.graph.output_values import follow_values
from codegen.untrusted import shown

MOST_SATURATED = 32  # of 256 pixel values; a model's own contract fits its input's range but for rounding
PICTURE_CHANNELS = (1, 3)  # grey, or colours
NO_OUTPUT = 128  # a threshold that no int8 reaches
_PROPORTION = 1.5  # most by which a map may be stretched against the picture
_HINT = "say otherwise with `nanou-deploy describe MODEL --fresh`, or quantize again"


# ---- Inputs ----------------------------------------------------------------------------------------------------


def input_lookup(model: QuantizedModel, graph: Graph) -> npt.NDArray[np.int8]:
    """int8 (256,): the model input byte for each pixel component; (C, 256) where channels differ in it."""
    picture, tensor = _picture(model, graph)
    return picture.lookup_table(_quantization(tensor))


def quantize_pixels(model: QuantizedModel, graph: Graph, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """uint8 pixels (..., H, W, C) -> the model's input, int8 of the same shape."""
    picture, tensor = _picture(model, graph)
    return picture.quantize(pixels, _quantization(tensor))


def _picture(model: QuantizedModel, graph: Graph) -> tuple[Preprocessing, Tensor]:
    at = model.contract.image_input
    return model.picture or model.image, graph.tensor(graph.inputs[at or 0])


def int8_quantization(tensor: Tensor) -> Quantization | None:
    """Return the quantization of the tensor as int8, uint8 shifted; None where it has none for all values."""
    if tensor.dtype not in ("int8", "uint8") or len(tensor.scales) != 1 or len(tensor.zero_points) != 1:
        return None
    return Quantization(tensor.scale, tensor.zero_point - (128 if tensor.dtype == "uint8" else 0))


def _quantization(tensor: Tensor) -> Quantization:
    quantization = int8_quantization(tensor)
    if quantization is None:
        raise ModelError(f"tensor {tensor.index} '{tensor.name}' is {tensor.dtype} without one scale and zero point")
    return quantization


# ---- Outputs ---------------------------------------------------------------------------------------------------


def decision_threshold(model: QuantizedModel, graph: Graph) -> int:
    """Return the int8 output from which on a pixel counts as drivable; 128 means never."""
    return _threshold(model.decision, _decisive(model, graph))


def probability_of(model: QuantizedModel, graph: Graph, threshold: int) -> float:
    """Compute the probability that the int8 output `threshold` stands for, in the middle of what gives that threshold.

    Raises ModelError where the outputs are neither logits nor probabilities.
    """
    stated, tensor = model.decision, _decisive(model, graph)
    if stated.values == "raw":
        raise ModelError("the output's values are raw", hint="state which they are, with `nanou-deploy describe`")
    quantization = _quantization(tensor)
    real = quantization.scale * (threshold - 0.5 - quantization.zero_point)
    return real if stated.values == "probabilities" else 1 / (1 + math.exp(-real))


def _threshold(stated: OutputContract, tensor: Tensor) -> int:
    if stated.values == "raw":
        return NO_OUTPUT
    return threshold_q(stated.real_threshold, _quantization(tensor))


def _decisive(model: QuantizedModel, graph: Graph) -> Tensor:
    return graph.tensor(graph.outputs[model.contract.decisive_output or 0])


def class_names(model: QuantizedModel, graph: Graph) -> tuple[str, ...]:
    """Names by index: two for one output channel, else one for each channel; class0, class1... where none are stated.

    Raises ModelError where the contract names another number of classes.
    """
    return _class_names(model.decision, _decisive(model, graph))


def _class_names(stated: OutputContract, tensor: Tensor) -> tuple[str, ...]:
    channels = tensor.shape[-1]
    count = 2 if channels == 1 else channels
    if stated.classes and len(stated.classes) != count:
        raise ModelError(
            f"the output has {channels} channel(s), its contract names {len(stated.classes)} classes", hint=_HINT
        )
    return stated.classes or tuple(f"class{index}" for index in range(count))


def drivable_classes(model: QuantizedModel, graph: Graph) -> tuple[int, ...]:
    """Return indices of the classes that count as drivable: those of the contract, or none.

    Raises ModelError where the contract wants another one of one channel.
    """
    return _drivable_classes(model.decision, _decisive(model, graph))


def _drivable_classes(stated: OutputContract, tensor: Tensor) -> tuple[int, ...]:
    names = _class_names(stated, tensor)
    chosen = tuple(sorted(names.index(name) for name in stated.drivable))
    if tensor.shape[-1] == 1 and chosen not in ((), (1,)):
        raise ModelError(
            f"the output has one channel, so {shown(names[1])} counts as drivable; its contract says"
            f" {', '.join(map(shown, stated.drivable))}",
            hint="name the drivable class second",
        )
    return chosen


def decide_classes(outputs: npt.NDArray[np.int8], threshold: int) -> npt.NDArray[np.uint8]:
    """int8 model outputs (..., K) -> class indices uint8 (...), as `nanou_class_at` in the generated library.

    K = 1: 1 from the int8 `threshold` on (128 means never). Else the index of the highest, the lower of equal ones.
    """
    if outputs.shape[-1] == 1:
        return (outputs[..., 0].astype(np.int16) >= threshold).astype(np.uint8)
    highest: npt.NDArray[np.uint8] = np.argmax(outputs, axis=-1).astype(np.uint8)
    return highest


def remarks(model: QuantizedModel) -> tuple[str, ...]:
    """Return what a maker of firmware has to be told about the contract, in sentences; nothing where all is stated."""
    stated = model.decision
    if model.contract == Contract() or stated.task == "raw":
        return (f"{model.name} is raw: nobody has said what its output means, so that nothing is decided",)
    if stated.task == "segment" and not stated.drivable:
        return (f"none of the classes of {model.name} counts as drivable, so that nothing is",)
    return ()


# ---- Checks ----------------------------------------------------------------------------------------------------


def check_contract(contract: Contract, graph: Graph) -> None:
    """Raise ModelError where the contract is another model's, or what it says cannot be meant."""
    for what, stated, found in (("input", contract.inputs, graph.inputs), ("output", contract.outputs, graph.outputs)):
        if len(stated) != len(found):
            raise ModelError(f"the model has {len(found)} {what}(s), the contract says {len(stated)}", hint=_HINT)
    for picture, index in ((stated.image, i) for stated, i in zip(contract.inputs, graph.inputs, strict=True)):
        if picture is not None:
            check_picture(picture, graph.tensor(index))
    at = contract.image_input
    pictured = None if at is None else graph.tensor(graph.inputs[at])
    for output, index in zip(contract.outputs, graph.outputs, strict=True):
        _check_output(output, graph, graph.tensor(index), pictured)


def check_picture(picture: Preprocessing, tensor: Tensor) -> None:
    """Raise ModelError where the tensor is no such picture, or could not represent much of it."""
    size = (1, picture.height_px, picture.width_px, picture.channels)
    if tensor.shape != size:
        raise ModelError(f"the model's input has shape {tensor.shape}, the contract says {size}", hint=_HINT)
    if picture.channels not in PICTURE_CHANNELS:
        raise ModelError(
            f"the model's input has shape {tensor.shape}: {picture.channels} channels are no picture",
            hint="state it as raw; if its channels come first, export the model with channels last",
        )
    quantization = int8_quantization(tensor)
    if quantization and (saturated := picture.saturated(quantization)) > MOST_SATURATED:
        raise ModelError(
            f"with mean {_listed(picture.mean)} and std {_listed(picture.std)}, {saturated} of 256 pixel values lie"
            f" outside the range of the model's input (scale {tensor.scale:g}, zero point {tensor.zero_point})",
            hint=_HINT,
        )


def _listed(value: float | tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in value) if isinstance(value, tuple) else f"{value:g}"


def _check_output(stated: OutputContract, graph: Graph, tensor: Tensor, picture: Tensor | None) -> None:
    if stated.values == "probabilities" or stated.task != "raw":
        _check_values(stated, graph, tensor)
    if stated.task == "raw":
        return
    if stated.task == "classify":
        if not tensor.shape or prod(tensor.shape) != tensor.shape[-1] or tensor.shape[-1] > MAX_LABELS:
            raise ModelError(f"the output has shape {tensor.shape}, which is no vector of classes", hint=_HINT)
    elif not is_map(tensor.shape, picture.shape if picture else None):
        of = f" of a picture of {picture.shape}" if picture else ""
        raise ModelError(
            f"the output has shape {tensor.shape}, which is no map (1, height, width, up to {MAX_CLASSES}){of}",
            hint="if its channels come first, export the model with channels last; else state the output as raw",
        )
    _drivable_classes(stated, tensor)
    channels = tensor.shape[-1]
    if stated.task == "grid" and channels == 1:
        raise ModelError("a grid needs a channel for background and one for each object", hint="state a map instead")
    if stated.values == "raw" and (channels == 1 or stated.task == "grid"):
        raise ModelError("a threshold needs values that are logits or probabilities", hint="state which they are")
    quantization = int8_quantization(tensor)
    # A poor network may give nothing else; one of values from 0 to about 1 cannot have meant logits.
    is_unit = quantization and quantization.zero_point == -128 and 0.5 < 255 * quantization.scale < 1.1
    if channels == 1 and is_unit and _threshold(stated, tensor) <= -128:
        raise ModelError(
            f"with threshold {stated.threshold:g} every value of the output (scale {tensor.scale:g}, zero point"
            f" {tensor.zero_point}) counts as {shown(_class_names(stated, tensor)[1])}",
            hint=f"they are stated as {stated.values}: check that; or train longer",
        )


def _check_values(stated: OutputContract, graph: Graph, tensor: Tensor) -> None:
    followed = follow_values(graph, tensor.index)
    if followed and stated.values not in (followed.values, "raw"):
        raise ModelError(
            f"the output comes from {followed.origin}, so that it has {followed.values}; the contract says"
            f" {stated.values}",
            hint=_HINT,
        )
    quantization = int8_quantization(tensor)
    if stated.values == "probabilities" and quantization:
        low, high = (quantization.scale * (q - quantization.zero_point) for q in (-128, 127))
        if low < -0.1 or high > 1.1:
            raise ModelError(
                f"the output has values from {low:g} to {high:g}; the contract says probabilities", hint=_HINT
            )


def is_map(shape: tuple[int, ...], picture: tuple[int, ...] | None) -> bool:
    """Whether a tensor is (1, height, width, classes), in the proportions of the picture where there is one.

    What has its channels first is not: as a map it would be a row, or a column.
    """
    if len(shape) != 4 or shape[0] != 1 or not 1 <= shape[3] <= MAX_CLASSES:
        return False
    if picture is None:
        return True
    stretched = (shape[1] * picture[2]) / (shape[2] * picture[1])
    return 1 / _PROPORTION <= stretched <= _PROPORTION


def default_classes(tensor: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names and drivable ones of sidecars of schema 1 that name none: one channel is what is drivable."""
    return (BINARY_CLASSES, BINARY_CLASSES[1:]) if tensor.shape[-1:] == (1,) else ((), ())
