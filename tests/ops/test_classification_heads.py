"""FULLY_CONNECTED, SOFTMAX and LOG_SOFTMAX against TFLM, and as compiled C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import UnsupportedError
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import InterpreterCrash, run_tflm
from tests.exactness import assert_compiled_is_oracle, assert_exact, compile_bytes
from tests.ops.single_operator import Activation, assert_oracle_is_tflm, drawn, drawn_zero_point, model_of


@pytest.mark.parametrize("by_output", [False, True])
def test_fully_connected_is_tflms(by_output: bool) -> None:
    """BUILTIN_REF rounds once where TFLM rounds twice, so it is not asked."""
    rng = np.random.default_rng(int(by_output))
    for _ in range(16):
        out, depth = int(rng.integers(1, 6)), int(rng.integers(1, 40))
        source = Activation((1, depth), drawn(rng, 0.02, 1.0), drawn_zero_point(rng))
        scales = [drawn(rng, 0.002, 0.1) for _ in range(out if by_output else 1)]
        weights = (rng.integers(-127, 128, (out, depth)).astype(np.int8), scales)
        bias = (rng.integers(-500, 500, out).astype(np.int32), [source.scale * scale for scale in scales])
        output = Activation((1, out), drawn(rng, 0.05, 3.0), drawn_zero_point(rng))
        given = (weights, bias if rng.integers(2) else None)
        fields = {"FusedActivationFunction": int(rng.choice([0, 1, 3]))}
        assert_oracle_is_tflm(model_of("FULLY_CONNECTED", source, given, output, "FullyConnectedOptions", **fields))


def test_softmax_is_tflms() -> None:
    rng = np.random.default_rng(3)
    for _ in range(16):
        shape = (1, int(rng.integers(1, 4)), int(rng.integers(1, 12)))
        source = Activation(shape, drawn(rng, 0.002, 3.0), drawn_zero_point(rng))
        output = Activation(shape, 1 / 256, -128)
        assert_oracle_is_tflm(
            model_of("SOFTMAX", source, (), output, "SoftmaxOptions", Beta=float(rng.choice([0.5, 1.0, 2.0])))
        )


def log_softmax(shape: tuple[int, ...], scale: float, zero_point: int) -> bytes:
    source, output = Activation(shape, scale, zero_point), Activation(shape, 16 / 256, 127)
    return model_of("LOG_SOFTMAX", source, (), output)


def test_log_softmax_is_tflms() -> None:
    rng = np.random.default_rng(3)
    for _ in range(24):
        shape = (1, int(rng.integers(1, 4)), int(rng.choice([1, 2, 3, rng.integers(4, 300)])))
        assert_oracle_is_tflm(log_softmax(shape, drawn(rng, 1e-4, 30.0), drawn_zero_point(rng)))


@pytest.mark.parametrize("scale", [1e-7, 0.001, 0.03, 0.2, 5.0])
def test_log_softmax_as_compiled_c(scale: float, compiler: None, tmp_path: Path) -> None:
    assert_exact(log_softmax((1, 40, 23), scale, -128), tmp_path, builtin_ref=False)


def sample(zero_point: int = -128) -> bytes:
    """A map whose rows are joined to one vector, two layers, probabilities, and their own logarithms."""
    rng = np.random.default_rng(1)
    b = ModelBuilder()
    source = b.activation((1, 3, 4, 5), 0.05, zero_point)
    value: Any = source
    for depth, out in ((60, 7), (7, 10)):
        weights = b.constant(rng.integers(-127, 128, (out, depth)).astype(np.int8), [0.01])
        hidden = b.activation((1, out), 0.3, zero_point)
        value = b.operator("FULLY_CONNECTED", [value, weights, -1], hidden, "FullyConnectedOptions")
    value = b.operator("SOFTMAX", [value], b.activation((1, 10), 1 / 256, -128), "SoftmaxOptions", Beta=1.0)
    value = b.operator("LOG_SOFTMAX", [value], b.activation((1, 10), 16 / 256, 127))
    return b.finish([source], [value])


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_a_head_as_compiled_c(zero_point: int, compiler: None, tmp_path: Path) -> None:
    assert_exact(sample(zero_point), tmp_path, builtin_ref=False)


def test_more_values_than_a_sum_of_exponentials_holds_are_refused() -> None:
    shape = (1, 5000)
    flatbuffer = model_of(
        "SOFTMAX", Activation(shape), (), Activation(shape, 1 / 256, -128), "SoftmaxOptions", Beta=1.0
    )
    with pytest.raises(UnsupportedError, match="4095 values at a time"):
        compile_bytes(flatbuffer)


@pytest.mark.usefixtures("compiler")
def test_softmax_of_a_thousand_equal_values(tmp_path: Path) -> None:
    """TFLM's own shift by 32 bits ends it where it is built with assertions; each share is less than half a step."""
    b = ModelBuilder()
    source = b.activation((1, 1000), 0.1, 0)
    output = b.operator("SOFTMAX", [source], b.activation((1, 1000), 1 / 256, -128), "SoftmaxOptions", Beta=1.0)
    model = b.finish([source], [output])
    assert (assert_compiled_is_oracle(model, tmp_path)[:2] == -128).all()
    with pytest.raises(InterpreterCrash) as stopped:
        run_tflm(model, np.zeros((1, 1000), np.int8))
    assert "SOFTMAX" in str(stopped.value.hint)
