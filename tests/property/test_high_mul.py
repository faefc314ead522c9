"""Random channels: whatever the search returns is exact, and it seldom returns nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.arithmetic import certify as certificate
from codegen.arithmetic.one_multiply_search import RequantizedChannel, Rescale, WeightedSum, find_high_mul
from codegen.arithmetic.requantize import quantize_multiplier
from tests.high_mul_certificate import certify

Channel = tuple[Rescale, WeightedSum]


@st.composite
def channels(draw: st.DrawFn) -> Channel:
    """Outputs that use a part, all, or a multiple of the int8 range; biases that shift them anywhere."""
    weights = np.array(draw(st.lists(st.integers(-127, 127), min_size=1, max_size=40)))
    input_zero_point = draw(st.sampled_from([-128, -128, -3, 0, 127]))
    sums = WeightedSum.of_weights(weights, -128 - input_zero_point, 127 - input_zero_point)
    zero_point = draw(st.sampled_from([-128, -128, -127, -20, 0, 64, 127]))
    low = draw(st.sampled_from([-128, zero_point]))
    high = draw(st.integers(low, 127) | st.just(127))
    outputs = draw(st.floats(math.log(0.5), math.log(5000)).map(math.exp))
    multiplier, shift = quantize_multiplier(outputs / max(sums.high - sums.low, 1))
    bias = draw(st.integers(-2, 2) | st.integers(-sums.high, -sums.low))
    # What `accumulator_bound` proves before: the left-shifted accumulator fits int32.
    reach = max(abs(sums.partial_low), abs(sums.partial_high)) + abs(bias)
    while reach << max(shift, 0) >= 2**31:
        shift -= 1
    return Rescale(bias, multiplier, shift, low - zero_point, high - zero_point), sums


@settings(max_examples=150, deadline=None)
@given(
    channels(),
    st.sampled_from([127, 32767, 2**31 - 1]),
    st.sampled_from([0, 8, 20]),
    st.booleans(),
    st.sampled_from([0, -1, 128]) | st.integers(-255, 255),
)
def test_what_is_found_is_exact(
    channel: Channel, max_weight: int, max_shift: int, sign_correction: bool, offset: int
) -> None:
    exact, sums = channel
    options = {"max_weight": max_weight, "max_shift": max_shift, "sign_correction": sign_correction, "offset": offset}
    result = find_high_mul(exact, sums, **options)
    assert result == find_high_mul(exact, sums, **options)
    if result is not None:
        assert result.c * sums.largest_weight <= max_weight
        assert result.shift <= max_shift
        assert result.offset == offset
        assert sign_correction or result.sign_correction == 0
        certify(result, exact, sums, samples=100)


@settings(max_examples=150, deadline=None)
@given(
    channels(),
    st.booleans(),
    st.sampled_from(["c", "b", "multiplier", "shift", "sign_correction", "offset"]),
    st.data(),
)
def test_the_certificate_knows_right_from_wrong(
    channel: Channel, sign_correction: bool, field: str, data: st.DataObject
) -> None:
    """`certify` compares few sums; here all are compared, by other arithmetic, and both must agree."""
    exact, sums = channel
    offset = -1 if sign_correction else 0
    right = find_high_mul(exact, sums, max_weight=32767, max_shift=8, sign_correction=sign_correction, offset=offset)
    if right is None:
        return
    assert certificate.certify(RequantizedChannel(exact, sums, right)).failure == ""
    size = abs(getattr(right, field)) // 64 + 1
    wrong = replace(right, **{field: getattr(right, field) + data.draw(st.integers(-size, size))})
    stated = certificate.certify(RequantizedChannel(exact, sums, wrong)).failure
    try:
        certify(wrong, exact, sums, samples=100)
    except (AssertionError, ValueError):
        assert stated
    else:  # it refuses what C does not define, or where results could decrease, without looking further
        assert not stated or "is negative" in stated or "is shifted" in stated


@settings(max_examples=50, deadline=None)
@given(channels(), st.integers(-255, 255))
def test_constants_are_always_found(channel: Channel, offset: int) -> None:
    exact, sums = channel
    for constant in (
        Rescale(exact.bias, 0, 0, exact.low, exact.high),
        Rescale(exact.bias, exact.multiplier, exact.shift, exact.high, exact.high),
    ):
        result = find_high_mul(constant, sums, offset=offset)
        assert result is not None
        assert result.c == 0
        certify(result, constant, sums, samples=100)


def test_typical_channels_seldom_find_nothing() -> None:
    """Of 200 random channels that use the whole output range, with int16 weights: at most 1 % without a triple."""
    rng = np.random.default_rng(3)
    for zero_point, options in ((-128, {}), (-20, {"sign_correction": True, "offset": -1})):
        missing = 0
        for _ in range(100):
            weights = np.clip(np.round(rng.normal(0, 45, rng.choice([4, 8, 9, 16, 32, 64]))), -127, 127).astype(int)
            weights[0] = 127
            sums = WeightedSum.of_weights(weights, 0, 255)
            multiplier, shift = quantize_multiplier(float(rng.uniform(250, 1500)) / (sums.high - sums.low))
            middle = (sums.low + sums.high) // 2
            bias = int(rng.normal(-middle if zero_point == -20 else 0, (sums.high - sums.low) / 8))
            exact = Rescale(bias, multiplier, shift, -128 - zero_point, 127 - zero_point)
            result = find_high_mul(exact, sums, max_weight=32767, max_shift=20, **options)
            missing += result is None
            if result is not None:
                certify(result, exact, sums, samples=20)
        assert missing <= 1
