"""BATCH_MATMUL of two activations, and of constants, which CONSTANT gives: against TFLM and as compiled C."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from codegen.errors import ModelError, UnsupportedError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import assert_oracle_is_tflm, drawn, drawn_zero_point

Shape = tuple[int, ...]
PRODUCTS: Sequence[tuple[Shape, Shape]] = [
    ((1, 4, 3), (1, 3, 5)),
    ((1, 1, 1), (1, 1, 1)),
    ((1, 7, 16), (1, 16, 2)),
    ((2, 4, 3), (2, 3, 5)),
    ((1, 3, 4, 5), (1, 3, 5, 2)),
    ((1, 1, 4, 5), (1, 3, 5, 2)),
    ((1, 3, 1, 5), (1, 1, 5, 6)),
    ((2, 2, 2, 3), (2, 2, 3, 1)),
    ((1, 2, 2, 3, 4), (1, 2, 2, 4, 3)),
    ((1, 2, 3, 3, 4), (1, 2, 1, 4, 3)),
]


def turned(shape: Shape, *, is_turned: bool) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2]) if is_turned else shape


def product(
    b: ModelBuilder, first: int, second: int, output: tuple[float, int], *, adj_x: bool = False, adj_y: bool = False
) -> int:
    left, right = (tuple(b.tensors[i]["shape"]) for i in (first, second))
    left, right = turned(left, is_turned=adj_x), turned(right, is_turned=adj_y)
    shape = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    made = b.activation(shape, *output)
    return b.operator("BATCH_MATMUL", [first, second], made, "BatchMatMulOptions", AdjX=adj_x, AdjY=adj_y)


@pytest.mark.parametrize("shapes", PRODUCTS)
@pytest.mark.parametrize("zero_points", [(-128, 127), (127, -128), (3, 0)])
def test_is_tflms(shapes: tuple[Shape, Shape], zero_points: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shapes[0]) + zero_points[0] + 128)
    for adj_x, adj_y in ((False, False), (True, False), (False, True), (True, True)):
        b = ModelBuilder()
        scales = drawn(rng, 0.01, 2.0), drawn(rng, 0.01, 2.0)
        first = b.activation(turned(shapes[0], is_turned=adj_x), scales[0], zero_points[0])
        second = b.activation(turned(shapes[1], is_turned=adj_y), scales[1], zero_points[1])
        output = scales[0] * scales[1] * drawn(rng, 0.5, 200.0), drawn_zero_point(rng)
        made = product(b, first, second, output, adj_x=adj_x, adj_y=adj_y)
        assert_oracle_is_tflm(joined(b, [first, second], made))


def joined(b: ModelBuilder, operands: list[int], made: int) -> bytes:
    """A model of one input, which becomes both operands: what runs many cases takes one."""
    sizes = [int(np.prod(b.tensors[i]["shape"])) for i in operands]
    source = b.activation((1, sum(sizes)), 0.1, 3)
    produced, b.operators = b.operators, []
    for operand, size, start in zip(operands, sizes, np.cumsum([0, *sizes]).tolist(), strict=False):
        begin, extent = (b.constant(np.array(v, np.int32)) for v in ([0, start], [1, size]))
        part = b.operator("SLICE", [source, begin, extent], b.activation((1, size), 0.1, 3))
        tensor = b.tensors[operand]
        scaled = b.quantize(part, tensor["scales"][0], tensor["zeros"][0])
        b.operator("RESHAPE", [scaled, b.constant(np.array(tensor["shape"], np.int32))], operand)
    b.operators += produced
    return b.finish([source], [made])


def sample() -> bytes:
    """Attention: queries by keys, a softmax, by values; then matrices of several ranks, constants among them."""
    b = ModelBuilder()
    source = b.activation((1, 6, 4), 0.05, -128)
    other = b.quantize(source, 0.04, 9)
    scores = product(b, source, other, (0.03, -5), adj_y=True)
    shares = b.operator("SOFTMAX", [scores], b.activation((1, 6, 6), 1 / 256, -128), Beta=1.0)
    mixed = product(b, shares, other, (0.02, 4))
    squares = product(b, mixed, mixed, (0.01, 1), adj_x=True)
    weights = b.constant(np.arange(-12, 12).reshape(1, 4, 6).astype(np.int8), [0.1])
    mixed = product(b, squares, weights, (0.1, -7))
    heads = b.reshape(mixed, (1, 2, 4, 3))
    product_of_heads = product(b, heads, heads, (0.5, 0), adj_x=True)
    many = b.reshape(product_of_heads, (1, 1, 2, 3, 3))
    return b.finish([source], [product(b, many, many, (2.0, 3))])


@pytest.mark.usefixtures("compiler")
def test_compiled_c(tmp_path: Path) -> None:
    assert_exact(sample(), tmp_path)


def test_what_does_not_fit_is_an_error() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 3), 0.1, 0)
    made = b.operator("BATCH_MATMUL", [source, source], b.activation((1, 4, 3), 0.1, 0), "BatchMatMulOptions")
    with pytest.raises(ModelError, match="4x3 and 4x3"):
        compile_bytes(b.finish([source], [made]))


def test_sums_that_leave_32_bits_are_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 2, 2000), 1.0, 127)
    with pytest.raises(UnsupportedError, match="2000 products"):
        compile_bytes(b.finish([source], [product(b, source, source, (0.01, 0), adj_y=True)]))
