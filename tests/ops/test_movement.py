"""Operators that only move values, against TFLM and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.model import QuantizedModel
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.load import load_graph
from codegen.tflite.verify import verify_file
from nanou_deploy.boards.boards import find_board
from nanou_deploy.verify.golden import ORACLE
from nanou_deploy.verify.verify import verify
from tests.exactness import assert_exact, compile_bytes
from tests.ops.single_operator import Activation, assert_oracle_is_tflm, constant, model_of

A = Activation
CASES: dict[str, tuple[str, tuple[int, ...], tuple[Any, ...], tuple[int, ...], str, dict[str, Any]]] = {
    "transpose-chw": ("TRANSPOSE", (1, 3, 4, 5), (constant(0, 3, 1, 2),), (1, 5, 3, 4), "TransposeOptions", {}),
    "transpose-rows": ("TRANSPOSE", (1, 3, 4, 5), (constant(0, 2, 1, 3),), (1, 4, 3, 5), "TransposeOptions", {}),
    "transpose-3d": ("TRANSPOSE", (1, 6, 4), (constant(0, 2, 1),), (1, 4, 6), "TransposeOptions", {}),
    "slice": ("SLICE", (1, 6, 5, 3), (constant(0, 1, 2, 0), constant(1, 4, -1, 2)), (1, 4, 3, 2), "SliceOptions", {}),
    "strided": (
        "STRIDED_SLICE",
        (1, 6, 5, 3),
        (constant(0, 1, 0, 0), constant(1, 6, 5, 2), constant(1, 2, 2, 1)),
        (1, 3, 3, 2),
        "StridedSliceOptions",
        {},
    ),
    "strided-masks": (
        "STRIDED_SLICE",
        (1, 6, 5, 3),
        (constant(0, -2, 0, 0), constant(0, 0, 4, 0), constant(1, 1, 1, 1)),
        (1, 2, 4, 3),
        "StridedSliceOptions",
        {"BeginMask": 1, "EndMask": 11},
    ),
    "strided-shrink": (
        "STRIDED_SLICE",
        (1, 6, 5, 3),
        (constant(0, -2, 0, 0), constant(1, -1, 5, 3), constant(1, 1, 1, 1)),
        (1, 5, 3),
        "StridedSliceOptions",
        {"ShrinkAxisMask": 2},
    ),
    "strided-backwards": (
        "STRIDED_SLICE",
        (1, 6),
        (constant([0, 5]), constant([1, -7]), constant([1, -2])),
        (1, 3),
        "StridedSliceOptions",
        {},
    ),
    "mirror-reflect": (
        "MIRROR_PAD",
        (1, 6, 5, 3),
        (constant([[0, 0], [2, 1], [1, 2], [0, 0]]),),
        (1, 9, 8, 3),
        "MirrorPadOptions",
        {"Mode": 0},
    ),
    "mirror-symmetric": (
        "MIRROR_PAD",
        (1, 6, 5, 3),
        (constant([[0, 0], [2, 1], [1, 2], [0, 0]]),),
        (1, 9, 8, 3),
        "MirrorPadOptions",
        {"Mode": 1},
    ),
    "depth-to-space": ("DEPTH_TO_SPACE", (1, 3, 2, 8), (), (1, 6, 4, 2), "DepthToSpaceOptions", {"BlockSize": 2}),
    "space-to-depth": ("SPACE_TO_DEPTH", (1, 6, 4, 2), (), (1, 3, 2, 8), "SpaceToDepthOptions", {"BlockSize": 2}),
    "expand-dims": ("EXPAND_DIMS", (1, 4), (constant([1]),), (1, 1, 4), "ExpandDimsOptions", {}),
    "gather-columns": ("GATHER", (1, 3, 4, 5), (constant([2, 0, 2]),), (1, 3, 3, 5), "GatherOptions", {"Axis": 2}),
    "gather-channels": (
        "GATHER",
        (1, 3, 4, 5),
        (constant([[4], [1]]),),
        (1, 3, 4, 2, 1),
        "GatherOptions",
        {"Axis": -1},
    ),
    "gather-nd": ("GATHER_ND", (1, 3, 4, 5), (constant([[0, 2], [0, 1]]),), (2, 4, 5), "GatherNdOptions", {}),
    "reverse": ("REVERSE_V2", (1, 3, 4, 5), (constant([1]),), (1, 3, 4, 5), "ReverseV2Options", {}),
    "broadcast-to": ("BROADCAST_TO", (1, 3, 1, 5), (constant(1, 3, 4, 5),), (1, 3, 4, 5), "BroadcastToOptions", {}),
    "reshape": ("RESHAPE", (1, 3, 4, 5), (constant([1, 60]),), (1, 60), "ReshapeOptions", {}),
}


def flatbuffer_of(case: str) -> bytes:
    name, shape, constants, out_shape, table, fields = CASES[case]
    return model_of(name, A(shape), constants, A(out_shape), table, **fields)


@pytest.mark.parametrize("case", CASES)
def test_moves_as_tflm(case: str) -> None:
    assert_oracle_is_tflm(flatbuffer_of(case))


def sample() -> bytes:
    """Rows that pass one by one, rows put together from several, whole tensors, and a table of positions."""
    b = ModelBuilder()
    source = value = b.activation((1, 6, 8, 4), 0.1, 7)
    steps: list[tuple[str, tuple[Any, ...], tuple[int, ...], str, dict[str, Any]]] = [
        ("SPACE_TO_DEPTH", (), (1, 3, 4, 16), "SpaceToDepthOptions", {"BlockSize": 2}),
        ("TRANSPOSE", (constant(0, 3, 1, 2),), (1, 16, 3, 4), "TransposeOptions", {}),
        ("MIRROR_PAD", (constant([[0, 0], [0, 0], [1, 1], [2, 1]]),), (1, 16, 5, 7), "MirrorPadOptions", {"Mode": 0}),
        ("SLICE", (constant(0, 2, 1, 0), constant(1, 9, 4, 6)), (1, 9, 4, 6), "SliceOptions", {}),
        ("GATHER", (constant([3, 0, 2, 2]),), (1, 9, 4, 4), "GatherOptions", {"Axis": 3}),
        ("REVERSE_V2", (constant([2]),), (1, 9, 4, 4), "ReverseV2Options", {}),
        ("RESHAPE", (constant([1, 144]),), (1, 144), "ReshapeOptions", {}),
    ]
    for name, constants, shape, table, fields in steps:
        inputs = [value, *(b.constant(one) for one in constants)]
        value = b.operator(name, inputs, b.activation(shape, 0.1, 7), table, **fields)
    return b.finish([source], [value])


def test_several_in_a_row_as_compiled_c(compiler: None, tmp_path: Path) -> None:
    assert_exact(sample(), tmp_path, builtin_ref=False)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_stacked_along_any_axis(axis: int, compiler: None, tmp_path: Path) -> None:
    """Along the first, an output row is a whole input, now of one, now of the other."""
    b = ModelBuilder()
    source = b.activation((1, 5, 6, 3), 0.1, 7)
    other = b.quantize(b.quantize(source, 0.2, 3), 0.1, 7)
    shape = np.insert([1, 5, 6, 3], axis if axis > 0 else 4, 2).tolist()
    both = b.operator("PACK", [source, other], b.activation(shape, 0.1, 7), ValuesCount=2, Axis=axis)
    assert_exact(b.finish([source], [both]), tmp_path, builtin_ref=False)


def test_every_other_pixel_as_a_batch_of_images_and_back(compiler: None, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 6, 4, 2), 0.1, 7)
    block, nothing, crops = (b.constant(constant(values)) for values in ([2, 2], [[0, 0], [0, 0]], [[1, 2], [0, 1]]))
    batch, back = b.activation((4, 3, 2, 2), 0.1, 7), b.activation((1, 3, 3, 2), 0.1, 7)
    b.operator("SPACE_TO_BATCH_ND", [source, block, nothing], batch, "SpaceToBatchNDOptions")
    b.operator("BATCH_TO_SPACE_ND", [batch, block, crops], back, "BatchToSpaceNDOptions")
    assert_exact(b.finish([source], [back]), tmp_path)


def test_space_to_batch_with_padding_is_refused_as_tflm_pads_with_anything() -> None:
    b = ModelBuilder()
    source = b.activation((1, 5, 4, 2), 0.1, 7)
    inputs = [source, b.constant(constant([2, 2])), b.constant(constant([[1, 0], [0, 0]]))]
    batch = b.activation((4, 3, 2, 2), 0.1, 7)
    b.operator("SPACE_TO_BATCH_ND", inputs, batch, "SpaceToBatchNDOptions")
    flat = b.activation((1, 48), 0.1, 7)
    b.operator("RESHAPE", batch, flat, "ReshapeOptions")
    with pytest.raises(UnsupportedError, match="undefined"):
        compile_bytes(b.finish([source], [flat]))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_joined_again_after_a_split(axis: int, compiler: None, tmp_path: Path) -> None:
    """SPLIT has several outputs, of which each becomes a layer; CONCATENATION takes them in another order."""
    shape = (1, 4, 6, 2)
    part = tuple(n // 2 if i == axis else n for i, n in enumerate(shape))
    b = ModelBuilder()
    source = b.activation(shape, 0.1, -128)
    parts = [b.activation(part, 0.1, -128) for _ in range(2)]
    b.operator("SPLIT", [b.constant(np.array(axis, np.int32)), source], parts, "SplitOptions", NumSplits=2)
    joined = b.activation(shape, 0.1, -128)
    b.operator("CONCATENATION", parts[::-1], joined, "ConcatenationOptions", Axis=axis)
    assert_exact(b.finish([source], [joined]), tmp_path, builtin_ref=False)


def test_tile_as_keras_writes_upsampling_is_a_resize(compiler: None, tmp_path: Path) -> None:
    """TFLM has no TILE; what the chain computes is compared with the interpreters by way of the same resize."""
    b = ModelBuilder()
    source = b.activation((1, 3, 4, 2), 0.1, 7)
    value = source
    for name, constants, shape, table in (
        ("RESHAPE", constant([1, 3, 1, 4, 1, 2]), (1, 3, 1, 4, 1, 2), "ReshapeOptions"),
        ("TILE", constant([1, 1, 2, 1, 3, 1]), (1, 3, 2, 4, 3, 2), "TileOptions"),
        ("RESHAPE", constant([1, 6, 12, 2]), (1, 6, 12, 2), "ReshapeOptions"),
    ):
        value = b.operator(name, [value, b.constant(constants)], b.activation(shape, 0.1, 7), table)
    data = b.finish([source], [value])
    compiled = compile_bytes(data)
    assert [operator.stem for operator in compiled.graph.operators] == ["resize_nearest_neighbor"]
    report = verify(QuantizedModel("upsampling", data), [(find_board("host"), 3)])
    assert (report.passed, report.truth) == (True, ORACLE)
    assert {one.name: one.status for one in report.executors}["TFLM"] == "absent"
    assert {one.name: one.status for one in report.executors}["aot host"] == "equal"


@pytest.mark.parametrize(
    ("case", "change", "error"),
    [
        ("transpose-chw", {"constants": (constant(0, 3, 1, 1),)}, ModelError),
        ("slice", {"constants": (constant(0, 1, 2, 0), constant(1, 9, 1, 2))}, ModelError),
        ("depth-to-space", {"fields": {"BlockSize": 0}}, ModelError),
        ("strided", {"fields": {"EllipsisMask": 2}}, UnsupportedError),
    ],
)
def test_what_contradicts_its_shapes_is_refused(case: str, change: dict[str, Any], error: type[Exception]) -> None:
    name, shape, constants, out_shape, table, fields = CASES[case]
    given = {"constants": constants, "fields": fields} | change
    with pytest.raises(error):
        compile_bytes(model_of(name, A(shape), given["constants"], A(out_shape), table, **given["fields"]))


@pytest.mark.parametrize("name", ["SPLIT", "UNPACK"])
@pytest.mark.parametrize("used", [[0], [1], [2, 0]])
def test_outputs_that_nobody_reads(name: str, used: list[int], compiler: None, tmp_path: Path) -> None:
    b = ModelBuilder()
    source = b.activation((1, 3, 4), 0.1, 3)
    shape = (1, 1, 4) if name == "SPLIT" else (1, 4)
    parts = [b.activation(shape, 0.1, 3) for _ in range(3)]
    if name == "SPLIT":
        b.operator("SPLIT", [b.constant(np.array(1, np.int32)), source], parts, NumSplits=3)
    else:
        b.operator("UNPACK", [source], parts, Num=3, Axis=1)
    assert_exact(b.finish([source], [b.concatenate([parts[i] for i in used], axis=1)]), tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("name", ["UNPACK", "PACK"])
def test_another_number_of_tensors_than_stated_is_refused(name: str, dtype: str) -> None:
    """Interpreters believe the options, also of float32. Found by the soak of damaged files."""
    b = ModelBuilder()
    scales, zeros = ([0.1], [3]) if dtype == "int8" else ([], [])
    whole, *parts = (b._tensor(shape, dtype, scales, zeros, 0, None) for shape in ((1, 2, 4), (1, 4), (1, 4)))
    if name == "UNPACK":
        b.operator(name, [whole], parts, Num=3, Axis=1)
        flatbuffer = b.finish([whole], parts)
    else:
        b.operator(name, parts, whole, ValuesCount=3, Axis=1)
        flatbuffer = b.finish(parts, [whole])
    with pytest.raises(ModelError, match="states 3"):
        verify_file(load_graph(flatbuffer))
