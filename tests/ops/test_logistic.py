"""LOGISTIC against every interpreter and as compiled C, and its whole table against TFLM for many scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.errors import UnsupportedError
from codegen.operators.logistic import logistic_table
from codegen.tflite import interpreters as reference
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes, interpreters_differ

pytestmark = pytest.mark.usefixtures("compiler")


def build(scale: float, zero_point: int) -> bytes:
    b = ModelBuilder()
    source = b.activation((1, 16, 16, 1), scale, zero_point)
    return b.finish([source], [b.logistic(source)])


def test_exact(tmp_path: Path) -> None:
    assert_exact(build(0.0866, -35), tmp_path)


@pytest.mark.parametrize("zero_point", [-128, -35, 0, 64, 127])
def test_table_is_tflms(zero_point: int) -> None:
    every_input = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    for scale in [0.0001, 0.003, 0.0156, 0.05, 0.0866, 0.13, 0.25, 1.0, 7.5]:
        found = reference.run_tflm(build(scale, zero_point), every_input).reshape(-1)
        np.testing.assert_array_equal(logistic_table(float(np.float32(scale)), zero_point), found, f"scale {scale}")


def test_coarse_scales(require_module: Callable[[str], None]) -> None:
    """From scale 1 on, TFLM saturates early where TFLite does not: at -6.0, of probability 1/404. TFLM is the truth."""
    require_module("tensorflow")
    frame = np.full((1, 16, 16, 1), -3, np.int8)
    flatbuffer = build(2.0, 0)
    assert (reference.run_builtin_ref(flatbuffer, frame) == -127).all()
    assert (reference.run_tflm(flatbuffer, frame) == -128).all()
    assert logistic_table(2.0, 0)[-3 + 128] == -128


@pytest.mark.parametrize(("scale", "zero_point", "differing"), [(0.0630107373, 57, 1), (0.05, 10, 0), (2.0, 0, 1)])
def test_where_the_interpreters_differ(
    scale: float, zero_point: int, differing: int, require_module: Callable[[str], None]
) -> None:
    """The soak leaves BUILTIN_REF out where, and only where, this predicts that it differs from TFLM."""
    require_module("tensorflow")
    frame = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    flatbuffer = build(scale, zero_point)
    found = reference.run_builtin_ref(flatbuffer, frame) != reference.run_tflm(flatbuffer, frame)
    assert found.sum() == differing
    assert interpreters_differ(compile_bytes(flatbuffer)) == bool(differing)


def test_other_output_quantization_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4, 4, 1), 0.1, 0)
    out = b.logistic(source)
    b.tensors[out]["zeros"] = [0]
    with pytest.raises(UnsupportedError, match="1/256"):
        compile_bytes(b.finish([source], [out]))
