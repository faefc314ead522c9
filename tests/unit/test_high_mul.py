"""The integers of one-multiply requantization: chosen cases, and that the checker itself can fail."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.arithmetic.one_multiply_search import HighMul, Rescale, WeightedSum, find_high_mul, find_layer
from codegen.arithmetic.requantize import quantize_multiplier
from codegen.kernels import convolution
from codegen.tflite.load import load_graph
from tests.high_mul_certificate import certify, exact_result

NANO_U = Path(__file__).parents[3] / "shared" / "models" / "nano_u_botanic.tflite"
WEIGHTS = np.array([127, -88, 5, 40, -3, 99, -127, 12, 61])


def rescale(
    real: float = 0.01, bias: int = 300, zero_point: int = -128, low: int = -128, high: int = 127
) -> tuple[Rescale, WeightedSum]:
    multiplier, shift = quantize_multiplier(real)
    return (
        Rescale(bias, multiplier, shift, low - zero_point, high - zero_point),
        WeightedSum.of_weights(WEIGHTS, 0, 255),
    )


def found(exact: Rescale, sums: WeightedSum, **options: int) -> HighMul:
    result = find_high_mul(exact, sums, **options)  # type: ignore[arg-type]
    assert result is not None
    certify(result, exact, sums)
    return result


def test_the_weighted_sum_bounds_every_partial_sum() -> None:
    assert WeightedSum.of_weights(np.array([2, -3]), 0, 255) == WeightedSum(-765, 510, -765, 510, 3)
    assert WeightedSum.of_weights(np.array([2, -3]), 1, 10) == WeightedSum(-28, 17, -30, 20, 3)
    assert WeightedSum.of_weights(np.array([], int), 0, 255) == WeightedSum(0, 0, 0, 0, 0)


def test_a_typical_channel_fits_int16_weights() -> None:
    result = found(*rescale(), max_weight=32767)
    assert result.c * 127 <= 32767
    assert (result.shift, result.sign_correction) == (0, 0)


def test_apply_is_what_the_checker_calls_generated() -> None:
    exact, sums = rescale(real=0.003, zero_point=0)
    result = found(exact, sums, max_shift=20, sign_correction=True, offset=-1)
    values = np.arange(sums.low, sums.high + 1, 17)
    clamped = np.clip(result.apply(values) - result.offset, exact.low, exact.high)
    assert clamped.tolist() == [exact_result(exact, int(value)) for value in values]


def test_the_least_factor_is_taken_and_a_lower_limit_finds_none() -> None:
    exact, sums = rescale(real=0.0047)
    c = found(exact, sums).c
    assert c > 1
    assert found(exact, sums, max_weight=c * 127).c == c
    assert find_high_mul(exact, sums, max_weight=c * 127 - 1) is None


@pytest.mark.parametrize(
    ("exact", "sums"),
    [
        (Rescale(5, 0, 0, 0, 255), WeightedSum.of_weights(WEIGHTS, 0, 255)),  # multiplier 0
        (Rescale(9000, 1 << 30, -6, 0, 255), WeightedSum.of_weights(np.zeros(9, int), 0, 255)),  # zero weights
        (Rescale(-900000, 1 << 30, -6, 0, 255), WeightedSum.of_weights(WEIGHTS, 0, 255)),  # always clamped below
        (Rescale(900000, 1 << 30, -6, -50, 77), WeightedSum.of_weights(WEIGHTS, 0, 255)),  # always clamped above
        (Rescale(-900000, 1 << 30, -6, -50, 77), WeightedSum.of_weights(WEIGHTS, 0, 255)),
        (Rescale(-40 << 7, 1 << 30, -6, -128, 127), WeightedSum.of_weights(np.array([3, -4]), 0, 1)),  # one value
    ],
)
def test_a_constant_channel_needs_no_weights(exact: Rescale, sums: WeightedSum) -> None:
    for offset in (0, -1, 128):
        assert found(exact, sums, offset=offset).c == 0


@pytest.mark.parametrize("offset", [-128, -1, 0, 5, 128, 255])
def test_the_offset_comes_with_the_result(offset: int) -> None:
    found(*rescale(zero_point=-128), offset=offset)


@pytest.mark.parametrize("real", [1.0, 1.7, 3.0, 200.0])
def test_left_shifts(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert shift > 0
    found(Rescale(-7, multiplier, shift, -128, 127), WeightedSum.of_weights(np.array([1, -1, 2]), 0, 255))


def test_limits_of_the_activation_inside_the_range() -> None:
    exact, sums = rescale(zero_point=-20, low=-20, high=40)  # ReLU6-like: results 0 to 60
    assert (exact.low, exact.high) == (0, 60)
    found(exact, sums)


def test_results_of_both_signs_need_the_sign_correction() -> None:
    """Halves round away from zero, so the steps at k <= 0 and at k > 0 lie on lines 1 to 2 sums apart."""
    exact, sums = rescale(real=0.003, zero_point=0, bias=0)
    assert find_high_mul(exact, sums, max_shift=20) is None
    result = found(exact, sums, max_shift=20, sign_correction=True, offset=-1)
    assert result.sign_correction < 0


def test_huge_intervals_are_never_enumerated() -> None:
    weights = np.where(np.arange(288) % 3, 127, -127)
    exact = Rescale(1000, *quantize_multiplier(255 / 8e6), 0, 255)
    sums = WeightedSum.of_weights(weights, 0, 255)
    assert sums.high - sums.low > 2**23
    started = time.perf_counter()
    result = find_high_mul(exact, sums, max_shift=20)
    assert time.perf_counter() - started < 1
    assert result is not None
    certify(result, exact, sums)


def test_partial_sums_limit_the_factor() -> None:
    """Final sums may be small while partial ones are not, where inputs never vanish."""
    weights = np.array([127] * 400 + [-127] * 400)
    sums = WeightedSum.of_weights(weights, 250, 255)
    assert sums.partial_high > 40 * sums.high
    exact = Rescale(sums.high, *quantize_multiplier(255 / (sums.high - sums.low)), 0, 255)
    free = found(exact, replace(sums, partial_low=sums.low, partial_high=sums.high), max_shift=20)
    limit = 2**31 // (free.c + 1)  # a partial sum that the factor just found would carry out of int32
    limited = find_high_mul(exact, replace(sums, partial_low=-limit * 2, partial_high=limit * 2), max_shift=20)
    assert limited is None or limited.c < free.c
    found(exact, sums, max_shift=20)


@pytest.mark.parametrize("max_shift", [-1, 21])
def test_the_shift_limit_is_checked(max_shift: int) -> None:
    with pytest.raises(ValueError, match="max_shift"):
        find_high_mul(*rescale(), max_shift=max_shift)


def test_a_layer_has_one_shift() -> None:
    """This channel of Nano-U has no triple without a shift, the others do, and one of them is constant."""
    hard = Rescale(7994, 1342145773, -8, 0, 255), WeightedSum(-143565, 113475, -143565, 113475, 127)
    assert find_high_mul(*hard) is None
    channels = [rescale(), hard, (Rescale(9000, 0, 0, 3, 255), hard[1])]
    assert find_layer(channels) is None
    layer = find_layer(channels, max_weight=32767, max_shift=20)
    assert layer is not None
    assert len({one.shift for one in layer}) == 1
    assert 0 < layer[0].shift < 8
    for one, (exact, sums) in zip(layer, channels, strict=True):
        assert 0 <= one.multiplier < 2**31
        certify(one, exact, sums)


def test_another_offset_may_do_without_a_shift() -> None:
    hard = Rescale(7994, 1342145773, -8, 0, 255), WeightedSum(-143565, 113475, -143565, 113475, 127)
    assert found(*hard, offset=-2).shift == 0


@pytest.mark.parametrize("change", [{"b": 1}, {"b": -1}, {"multiplier": 1}, {"multiplier": -1}, {"c": 1}, {"shift": 1}])
def test_the_checker_notices_other_integers(change: dict[str, int]) -> None:
    exact, sums = rescale(real=0.0047)
    result = found(exact, sums)
    [(name, step)] = change.items()
    # The interval of b is a few wide: leave it.
    other = replace(result, **{name: getattr(result, name) + step * (result.c if name == "b" else 1)})
    with pytest.raises(AssertionError):
        certify(other, exact, sums)


def test_the_checker_notices_int32_overflow() -> None:
    exact, sums = rescale()
    result = found(exact, sums)
    with pytest.raises(AssertionError):
        certify(result, exact, replace(sums, partial_high=2**31 // result.c))


@pytest.mark.skipif(not NANO_U.exists(), reason="the public Nano-U model is not beside the checkout")
def test_every_channel_of_nano_u_has_one_with_int16_weights() -> None:
    layers = _layers(NANO_U)
    started = time.process_time()
    found_layers = [find_layer(channels, max_weight=32767, max_shift=20) for channels in layers]
    assert time.process_time() - started < 2
    assert sum(map(len, layers)) == 288
    for layer, channels in zip(found_layers, layers, strict=True):
        assert layer is not None
        for result, (exact, sums) in zip(layer, channels, strict=True):
            certify(result, exact, sums, samples=20)
    assert [layer[0].shift for layer in found_layers if layer].count(0) == len(layers) - 1


def _layers(path: Path) -> list[list[tuple[Rescale, WeightedSum]]]:
    graph = load_graph(path.read_bytes())
    layers = []
    for operator in graph.operators:
        if operator.stem in ("conv_2d", "depthwise_conv_2d"):
            scaling = convolution.requantization(graph, operator)
            weights = graph.tensor(operator.inputs[1]).data
            assert weights is not None
            taps = np.moveaxis(weights, 3 if operator.stem == "depthwise_conv_2d" else 0, 0)
            low, high = scaling.low - scaling.output_zero_point, scaling.high - scaling.output_zero_point
            reach = (-128 - scaling.input_zero_point, 127 - scaling.input_zero_point)
            rows = zip(taps, scaling.bias.tolist(), scaling.multiplier.tolist(), scaling.shift.tolist(), strict=True)
            layers.append(
                [
                    (Rescale(bias, multiplier, shift, low, high), WeightedSum.of_weights(row, *reach))
                    for row, bias, multiplier, shift in rows
                ]
            )
    return layers
