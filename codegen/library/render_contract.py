"""Describe for templates what a model's tensors mean: how pictures come in, and what its output decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from codegen.graph.contract import class_names, decision_threshold, drivable_classes, input_lookup
from codegen.graph.graph import Graph, image_shape
from codegen.graph.model import Preprocessing, QuantizedModel
from codegen.library.c_text import float_literal, number_lines

NEVER = 128  # a threshold that no int8 reaches


@dataclass(frozen=True)
class Decision:
    """Describes the output that decides: its task, and how its values become classes."""

    task: str
    values: str
    rule: str  # "threshold" of one channel, else "highest"
    names: tuple[str, ...]
    drivable: tuple[str, ...]
    drivable_bits: str
    scale: str
    zero_point: int
    height: int
    width: int


def describe_decision(model: QuantizedModel, graph: Graph) -> Mapping[str, Any]:
    """Return `decision`, its `threshold_q`, and the number of the output that it is about.

    None of a raw model, and where the library gives the output in another type than int8, as the interpreter's does.
    """
    position = model.contract.decisive_output
    if position is None or graph.tensor(graph.outputs[position]).dtype != "int8":
        return {"decision": None, "threshold_q": NEVER, "decisive_output": 0}
    tensor, stated = graph.tensor(graph.outputs[position]), model.decision
    names, drivable = class_names(model, graph), drivable_classes(model, graph)
    height, width, channels = image_shape(tensor.shape)
    decision = Decision(
        stated.task,
        stated.values,
        "threshold" if channels == 1 else "highest",
        names,
        tuple(names[index] for index in drivable),
        f"0x{sum(1 << index for index in drivable):08x}u",
        float_literal(tensor.scale),
        tensor.zero_point,
        height,
        width,
    )
    uses_threshold = decision.rule == "threshold" or stated.task == "grid"
    threshold = decision_threshold(model, graph) if stated.task == "segment" or uses_threshold else NEVER
    return {"decision": decision, "threshold_q": threshold, "decisive_output": position}


def describe_picture(model: QuantizedModel, graph: Graph) -> Mapping[str, Any]:
    """Return `picture` (None where no int8 input is one), the input's number, and `input_lookup`, tables of int8."""
    position, stated = model.contract.image_input, model.picture
    if position is None or stated is None or graph.tensor(graph.inputs[position]).dtype != "int8":
        return {"picture": None, "picture_input": 0, "input_lookup": ()}
    height_px, width_px, channels = image_shape(graph.tensor(graph.inputs[position]).shape)
    picture: Preprocessing = replace(stated, height_px=height_px, width_px=width_px, channels=channels)
    tables = input_lookup(model, graph).reshape(-1, 256)
    return {
        "picture": picture,
        "picture_input": position,
        "input_lookup": tuple(tuple(number_lines(table, 16)) for table in tables),
    }
