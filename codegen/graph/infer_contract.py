"""Infer what is certain of a model's contract from its file alone, and say why; what is not certain stays raw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from codegen.errors import ModelError
from codegen.graph.contract import check_picture, int8_quantization, is_map
from codegen.graph.graph import Graph, Tensor
from codegen.graph.model import MAX_LABELS, Contract, InputContract, OutputContract, Preprocessing
from codegen.graph.output_values import follow_values

# mean and std of the three ranges that networks are fed with: -1..1, 0..1 and -0.5..0.5.
_RANGES = ((0.5, 0.5), (0.0, 1.0), (0.5, 1.0))
_COLOURS = 3


@dataclass(frozen=True)
class TensorMetadata:
    """What TFLite metadata state of one tensor: `mean` and `std` of pixels in 0..255, names of its last axis."""

    is_image: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileMetadata:
    """TFLite metadata of a model's inputs and outputs, by index."""

    inputs: Mapping[int, TensorMetadata] = field(default_factory=dict)
    outputs: Mapping[int, TensorMetadata] = field(default_factory=dict)


@dataclass(frozen=True)
class InferredContract:
    """A contract of what is certain, and for each input and output why it is, or why nothing is."""

    contract: Contract
    input_reasons: tuple[str, ...]
    output_reasons: tuple[str, ...]


def infer_contract(graph: Graph, metadata: FileMetadata | None = None) -> InferredContract:
    """Infer the contract of a canonical graph, whose file may have metadata that its tensors must agree with."""
    metadata = metadata or FileMetadata()
    inputs = [_infer_input(graph.tensor(i), metadata.inputs.get(n)) for n, i in enumerate(graph.inputs)]
    pictures = [graph.tensor(i).shape for (stated, _), i in zip(inputs, graph.inputs, strict=True) if stated.image]
    picture = pictures[0] if pictures else None
    outputs = [_infer_output(graph, i, picture, metadata.outputs.get(n)) for n, i in enumerate(graph.outputs)]
    contract = Contract(tuple(stated for stated, _ in inputs), tuple(stated for stated, _ in outputs))
    return InferredContract(contract, tuple(why for _, why in inputs), tuple(why for _, why in outputs))


def _infer_input(tensor: Tensor, metadata: TensorMetadata | None) -> tuple[InputContract, str]:
    shape, quantization = tensor.shape, int8_quantization(tensor)
    if metadata and metadata.is_image and metadata.mean and len(shape) == 4:
        scaled = [tuple(value / 255.0 for value in values) for values in (metadata.mean, metadata.std)]
        mean, std = (values if len(set(values)) > 1 else values[0] for values in scaled)
        try:
            picture = Preprocessing(*shape[1:], mean=mean, std=std)
            check_picture(picture, tensor)
        except ModelError as error:
            return InputContract(), f"the file's metadata contradict its tensors: {error}"
        return InputContract(picture), "the file's metadata call it an image and state mean and std"
    if len(shape) != 4 or shape[0] != 1:
        return InputContract(), f"shape {shape} is no image (1, height, width, channels)"
    if shape[3] != _COLOURS:
        first = "; if channels come first, export with channels last" if shape[1] in (1, _COLOURS) < shape[2:] else ""
        return InputContract(), f"of shape {shape} it may be a picture or anything else{first}"
    if quantization is None:
        return InputContract(), f"{tensor.dtype} without a quantization that would tell its range"
    low, high = ((q - quantization.zero_point) * quantization.scale for q in (-128, 127))
    for mean, std in _RANGES:
        if max(abs(low + mean / std), abs(high - (1.0 - mean) / std)) < 0.02 / std:
            why = f"three channels with values from {low:.3g} to {high:.3g}: (v/255 - {mean:g}) / {std:g}"
            return InputContract(Preprocessing(*shape[1:], mean=mean, std=std)), why
    return InputContract(), f"values from {low:.3g} to {high:.3g} leave more than one mean and std"


def _infer_output(
    graph: Graph, index: int, picture: tuple[int, ...] | None, metadata: TensorMetadata | None
) -> tuple[OutputContract, str]:
    tensor, followed = graph.tensor(index), follow_values(graph, index)
    shape = tensor.shape
    if followed is None:
        return OutputContract(), "no LOGISTIC or SOFTMAX whose values it keeps"
    why = f"its values come from {followed.origin}"
    is_vector = bool(shape) and prod(shape) == shape[-1] <= MAX_LABELS
    if is_vector and (followed.is_distribution or shape[-1] == 1):
        count = max(2, shape[-1])
        names = metadata.labels if metadata and len(metadata.labels) == count else ()
        named = "; names are the file's metadata's" if names else ""
        return OutputContract("classify", followed.values, classes=names), f"{why}, one for each class{named}"
    if picture and is_map(shape, picture) and _is_certain_map(shape, picture, followed.is_distribution):
        return OutputContract("segment", followed.values), f"{why}, for each pixel"
    return OutputContract(values=followed.values), f"{why}; what they are of is not certain"


def _is_certain_map(shape: Sequence[int], picture: Sequence[int], is_distribution: bool) -> bool:
    """One value for each place; or classes of each pixel, since those of larger cells may be a grid of objects."""
    return shape[3] == 1 or (is_distribution and shape[1:3] == picture[1:3])
