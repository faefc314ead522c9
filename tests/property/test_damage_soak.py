"""The soak's cases, a few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from codegen.canonicalize.take_off_borders import check_conversion
from codegen.errors import CompilerLimit, ModelError, UnsupportedError
from codegen.graph.graph import Graph
from codegen.kernels.window import make_window
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.load import load_graph
from tests.golden.test_tensors import MODELS
from tests.ops import contributions
from tests.property.damage_soak import damaged_file, outcome


def test_damaged_files_are_refused_or_mean_the_same() -> None:
    tally = Counter(outcome(damaged_file(number), runs=number % 4 == 0) for number in range(120))
    assert tally["refused"] > 60, tally
    assert tally["compiled"] + tally["equal"] > 5, tally


def test_a_border_gives_as_many_values_as_it_takes() -> None:
    """Interpreters believe the output's shape: here, 131,072 times what there is."""
    graph = next(g for g in bordered() if any(op.stem == "dequantize" for op in g.operators))
    (operator,) = (op for op in graph.operators if op.stem == "dequantize")
    output = graph.tensor(operator.outputs[0])
    tensors = list(graph.tensors)
    tensors[output.index] = replace(output, shape=(*output.shape[:-1], output.shape[-1] << 17))
    with pytest.raises(ModelError, match=r"DEQUANTIZE.* states output"):
        check_conversion(replace(graph, tensors=tuple(tensors)), operator)


def bordered() -> Iterator[Graph]:
    for make in MODELS.values():
        yield load_graph(make())


def test_a_window_is_no_larger_than_what_it_can_see() -> None:
    graphs = (load_graph(make()) for make in contributions("sample").values())
    graph, operator = next((g, op) for g in graphs for op in g.operators if op.stem == "average_pool_2d")
    with pytest.raises(CompilerLimit, match="16386"):
        make_window(graph, operator, (3, 16386))


def test_steps_that_16_bits_do_not_hold_are_refused() -> None:
    """TFLM would take a dilation of 65,538 for one of 2."""
    graphs = (load_graph(make()) for make in contributions("sample").values())
    graph, operator = next((g, op) for g in graphs for op in g.operators if op.stem == "conv_2d")
    beyond = replace(operator, options={**operator.options, "dilation_height": 65538})
    with pytest.raises(UnsupportedError, match="dilation beyond 32,767"):
        make_window(graph, beyond, (3, 3))


def test_a_zero_point_that_int32_does_not_hold_is_refused() -> None:
    """TFLM would cut it off."""
    b = ModelBuilder()
    source = b.activation((1, 4), 0.1, 100 + (1 << 40), "uint8")
    result = b.quantize(source, 0.1, 0)
    with pytest.raises(ModelError, match="no int32 holds"):
        load_graph(b.finish([source], [result]))
