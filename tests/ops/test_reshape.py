"""RESHAPE: row by row where rows stay rows, else from the whole input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.errors import ModelError
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")


def test_other_rows_need_the_whole_input(tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 6, 2), 0.1, 0)
    pooled = b.max_pool(source, (1, 1), (1, 1))
    reshaped = b.reshape(pooled, (1, 6, 2, 4))
    compiled = assert_exact(b.finish([source], [b.max_pool(reshaped, (3, 1), (3, 1))]), tmp_path)
    assert compiled.plan.placement(pooled).depth_rows == 4
    assert compiled.plan.placement(reshaped).depth_rows == 3


def test_same_rows_stream(tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 6, 2), 0.1, 0)
    pooled = b.max_pool(source, (1, 1), (1, 1))
    reshaped = b.reshape(pooled, (1, 4, 3, 4))
    compiled = assert_exact(b.finish([source], [b.max_pool(reshaped, (1, 1), (1, 1))]), tmp_path)
    assert [compiled.plan.placement(tensor).depth_rows for tensor in (pooled, reshaped)] == [1, 1]


@pytest.mark.parametrize("position", ["first", "last", "only", "first and last"])
def test_at_the_frames(position: str, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = value = b.activation((1, 4, 6, 2), 0.1, 0)
    if position != "last":
        value = b.reshape(value, (1, 2, 6, 4))
    if position != "only":
        value = b.max_pool(value, (1, 2), (1, 2))
    if "last" in position:
        value = b.reshape(value, (1, 1, 24, 1))
    assert_exact(b.finish([source], [value]), tmp_path)


def test_shapes_that_an_open_batch_made_false_are_told() -> None:
    """Keras 3 writes UpSampling2D so: what a converter cannot know becomes 1, here a height of 24."""
    b = ModelBuilder()
    source = b.activation((1, 24, 16, 2, 8), 0.1, 0)
    with pytest.raises(ModelError, match="RESHAPE") as refused:
        compile_bytes(b.finish([source], [b.reshape(source, (1, 1, 32, 8))]))
    assert "a batch of 1" in str(refused.value.hint)


def test_a_false_shape_is_told_before_what_follows_from_it() -> None:
    """The shape is computed, of SHAPE, in the file; CONCATENATION and dense layers behind it only suffer from it."""
    b = ModelBuilder()
    source, beside = b.activation((1, 4, 6, 2), 0.1, 0), b.activation((1, 4, 4, 3), 0.1, 0)
    shape = b.operator("SHAPE", [source], b._tensor((4,), "int32", [], [], 0, None), "ShapeOptions")
    enlarged = b.operator("RESHAPE", [source, shape], b.activation((1, 1, 4, 3), 0.1, 0), "ReshapeOptions")
    joined = b.operator("CONCATENATION", [enlarged, beside], b.activation((1, 4, 4, 6), 0.1, 0), Axis=3)
    with pytest.raises(ModelError, match=r"operator 1 \(RESHAPE\) maps") as refused:
        compile_bytes(b.finish([source, beside], [joined]))
    assert "a batch of 1" in str(refused.value.hint)


def flattened(*, is_output: bool = False, scale: float = 0.1) -> bytes:
    """A map that is flattened for a fully connected layer, as Keras writes it; the flat one may leave too."""
    b = ModelBuilder()
    source = b.activation((1, 4, 6, 2), 0.1, 0)
    between = b.reshape(b.max_pool(source, (1, 1), (1, 1)), (1, 6, 8))
    flat = b.operator("RESHAPE", [between, b.constant(np.array([1, 48], np.int32))], b.activation((1, 48), scale, 0))
    weights = b.constant(np.random.default_rng(1).integers(-127, 128, (3, 48)).astype(np.int8), [0.01])
    made = b.operator("FULLY_CONNECTED", [flat, weights, -1], b.activation((1, 3), 0.3, 5), "FullyConnectedOptions")
    return b.finish([source], [made, flat] if is_output else [made])


def test_a_fully_connected_layer_reads_what_is_in_front_of_reshapes(tmp_path: Path) -> None:
    compiled = assert_exact(flattened(), tmp_path, builtin_ref=False)
    assert [stage.stem for stage in compiled.program.stages] == ["max_pool_2d", "fully_connected"]


def test_it_reads_the_reshape_where_that_leaves_or_states_another_scale() -> None:
    for flatbuffer in (flattened(is_output=True), flattened(scale=0.2)):
        assert "reshape" in [operator.stem for operator in compile_bytes(flatbuffer).graph.operators]
