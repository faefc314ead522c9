"""DIV against TFLM, whatever is broadcast and of whatever sign; what TFLM would stop at is refused."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from codegen.errors import ModelError, UnsupportedError
from codegen.kernels.broadcast import INT8
from codegen.kernels.portable.div import Div
from codegen.operators.possible_values import possible_values
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.load import load_graph
from tests.exactness import (
    EMULATED_CORES,
    assert_exact,
    assert_exact_every_way,
    assert_interpreters_agree,
    compile_bytes,
    frames_for,
)
from tests.ops.single_operator import assert_oracle_is_tflm, drawn, drawn_zero_point

SHAPE = (1, 4, 6, 5)
DIVISORS = ("above", "below", "constant", "computed")


def constant(b: ModelBuilder, values: Any, scale: float, zero_point: int) -> int:
    data = np.asarray(values, np.int8)
    return b._tensor(data.shape, "int8", [scale], [zero_point], 0, data)


def nonzero(shape: tuple[int, ...], zero_point: int, seed: int = 3) -> np.ndarray[Any, Any]:
    """Noise of both signs around the zero point, without it."""
    noise = np.random.default_rng(seed).integers(-128, 128, shape)
    return np.where(noise == zero_point, zero_point + (1 if zero_point < 127 else -1), noise)


def bounded(b: ModelBuilder, x: int, kind: str, zero_point: int) -> int:
    """What `x` becomes as a divisor of which no value is 0: of one sign, or |x| + 1."""
    shape = tuple(b.tensors[x]["shape"])
    if kind == "computed":
        positive = b.operator("ABS", [x], b.activation(shape, 0.02, zero_point), None)
        one = constant(b, [50], 0.02, 0)
        return b.operator("ADD", [positive, one], b.activation(shape, 0.03, zero_point))
    least = constant(b, [zero_point + 1 if kind == "above" else zero_point - 1], 0.02, zero_point)
    name = "MAXIMUM" if kind == "above" else "MINIMUM"
    like = b.activation(shape, 0.02, zero_point)
    return b.operator(name, [b.quantize(x, 0.02, zero_point), least], like, "MaximumMinimumOptions")


def divided(b: ModelBuilder, first: int, second: int, scale: float, zero_point: int, activation: int = 0) -> int:
    shape = np.broadcast_shapes(b.tensors[first]["shape"], b.tensors[second]["shape"])
    return b.operator(
        "DIV", [first, second], b.activation(shape, scale, zero_point), FusedActivationFunction=activation
    )


def random_layer(rng: Random, b: ModelBuilder, values: list[int]) -> int:
    """An earlier value by constants, or by another that is kept from 0; back to its scale, which later layers take."""
    value = values[-1]
    shape, (scale,), (zero,) = (b.tensors[value][key] for key in ("shape", "scales", "zeros"))
    shape = tuple(shape)
    zero_point = rng.choice([-127, 126, rng.randint(-127, 126)])
    if rng.random() < 0.5:
        smaller = (1, *(rng.choice([1, extent]) for extent in shape[1:]))
        by_scale = rng.uniform(0.005, 0.5)
        other = constant(b, nonzero(smaller, zero_point, rng.getrandbits(32)), by_scale, zero_point)
    else:
        alike = [one for one in values if tuple(b.tensors[one]["shape"]) == shape]
        other, by_scale = bounded(b, rng.choice(alike), rng.choice(["above", "below"]), zero_point), 0.02
    output = scale / by_scale / rng.uniform(130, 100_000)
    made = divided(b, value, other, output, rng.randint(-128, 127), rng.choice([0, 1]))
    return b.quantize(made, scale, zero)


def sample() -> bytes:
    """Rows by rows, by constants, and constants by rows; the whole by what was computed of it."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -3)
    value = divided(b, source, bounded(b, source, "above", -128), 0.004, 5)
    value = divided(b, value, constant(b, nonzero((6, 5), 7), 0.01, 7), 0.002, -9)
    value = divided(b, constant(b, INT8[:5], 0.02, 3), bounded(b, value, "below", 127), 0.004, 5, activation=1)
    return b.finish([source], [divided(b, value, bounded(b, source, "computed", -128), 0.0005, 0)])


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", DIVISORS)
def test_is_tflms(kind: str, rank: int) -> None:
    """Zero points at both ends, single values and 1x1 maps among shapes, fused activations."""
    rng = np.random.default_rng(rank)
    for turn in range(4):
        shape = (1, *(int(n) for n in rng.integers(1, 6, rank - 1)))
        scale, zero_point = drawn(rng, 0.003, 1.0), drawn_zero_point(rng)
        b = ModelBuilder()
        source = b.activation(shape, scale, zero_point)
        if kind == "constant":
            smaller = tuple(int(rng.choice([1, n])) for n in shape)[int(rng.integers(0, rank)) :]
            zero, by_scale = drawn_zero_point(rng), drawn(rng, 0.003, 1.0)
            other = constant(b, nonzero(smaller, zero, turn), by_scale, zero)
        else:
            zero, by_scale = {"above": -128, "below": 127, "computed": -100}[kind], 0.03 if kind == "computed" else 0.02
            other = bounded(b, source, kind, zero)
        output = scale / by_scale / drawn(rng, 130, 4_000_000)
        made = divided(b, source, other, output, drawn_zero_point(rng), int(rng.choice([0, 1, 2, 3])))
        assert_oracle_is_tflm(b.finish([source], [made]))


def test_every_pair_is_tflms() -> None:
    """All 256 dividends by all 255 divisors of either sign, at the coarsest output that TFLM takes and a fine one."""
    for zero_point, scale in ((-128, 1 / 129), (100, 1 / 129), (0, 1 / 4_000_000)):
        b = ModelBuilder()
        source = b.activation((1, 256, 255, 1), 1.0, zero_point)
        others = np.delete(INT8, zero_point + 128)
        made = divided(b, source, constant(b, others[:, None], 1.0, zero_point), scale, -128)
        compiled = compile_bytes(b.finish([source], [made]))
        assert compiled.proofs.failures == ()
        every = np.broadcast_to(INT8.astype(np.int8)[:, None, None], (1, 256, 255, 1))
        assert_interpreters_agree(compiled, np.ascontiguousarray(every), builtin_ref=False)


@pytest.mark.usefixtures("compiler")
def test_compiled_every_way(tmp_path: Path) -> None:
    compiled = compile_bytes(sample())
    assert sum(isinstance(stage.kernel, Div) for stage in compiled.program.stages) == 4
    frames = frames_for(compiled)
    truth = assert_interpreters_agree(compiled, frames, builtin_ref=False)
    assert_exact_every_way(sample(), tmp_path, frames, truth)


@EMULATED_CORES
def test_emulated(board: str, tools: tuple[str, ...], tmp_path: Path, require_tool: Any) -> None:
    for tool in tools:
        require_tool(tool)
    assert_exact(sample(), tmp_path, board=board, builtin_ref=False)


@pytest.mark.parametrize(
    ("zero_point", "scale", "says"),
    [(-128, 0.004, "can be 0"), (5, 0.004, "can be 0"), (-129, 0.5, "scale"), (-129, 1e-9, "scale")],
)
def test_what_tflm_stops_at_is_refused(zero_point: int, scale: float, says: str) -> None:
    """A divisor that may be 0; quotients that would be shifted by less than 0 bits or by more than 31."""
    b = ModelBuilder()
    source = b.activation(SHAPE, 0.02, -3)
    other = bounded(b, source, "above", -128) if zero_point < -128 else b.quantize(source, 0.02, zero_point)
    with pytest.raises((UnsupportedError, ModelError), match=says):
        compile_bytes(b.finish([source], [divided(b, source, other, scale, 0)]))


@pytest.mark.parametrize(("activation", "is_refused"), [(0, False), (1, False), (2, False), (3, True)])
def test_limits_that_no_int32_holds_are_refused(activation: int, is_refused: bool) -> None:
    """6 is more than 2^31 steps of 2.5e-9, as TFLM finds too; 1 and 0 are not."""
    b = ModelBuilder()
    source = b.activation((1, 3), 5e-7, 0)
    made = divided(b, source, bounded(b, source, "above", -128), 2.5e-9, 0, activation)
    model = b.finish([source], [made])
    if is_refused:
        with pytest.raises(UnsupportedError, match="limits of its relu6"):
            compile_bytes(model)
    else:
        assert_oracle_is_tflm(model)


def test_possible_values_are_all_that_occur() -> None:
    """Of |x| + 1, of a value clamped twice, and of a pool, of which nothing is known."""
    b = ModelBuilder()
    source = b.activation((1, 2, 2, 1), 0.02, 0)
    computed = bounded(b, source, "computed", -128)
    clamped = bounded(b, bounded(b, source, "above", 0), "below", 127)
    pooled = b.max_pool(clamped, (2, 2), (2, 2))
    graph = load_graph(b.finish([source], [computed, pooled]))
    assert possible_values(graph, computed).min() == -128 + 33  # 50 steps of 0.02 in steps of 0.03
    assert possible_values(graph, clamped).min() > -128
    assert len(possible_values(graph, pooled)) == 256
