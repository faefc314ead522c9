"""Compute logistic and tanh of 16-bit values by TFLite's table, with linear interpolation.

Source: the int16 versions of Logistic and Tanh in tensorflow/lite/kernels/internal/reference/integer_ops/.
"""

from __future__ import annotations

import math

import numpy as np

from codegen.graph.graph import IntArray

# TFLite's table of sigmoid(i / 24) in 16 fractional bits is, so that interpolation errs least, up to 2 above the
# rounded-down values.
_ABOVE = (
    "0110101011111111111111111111221112121111111211111111111111111111"
    "1011101011111111111110111100011001111101000110111011101100010011"
    "0101001100011010111110111100110010000001010001000110101001110000"
    "0111001101101010101001011011001100110001100001110000011111000001"
)


def sigmoid_table() -> IntArray:
    """(256,): sigmoid(i / 24), 16 fractional bits."""
    exact = [math.floor(65536 / (1 + math.exp(-i / 24))) for i in range(256)]
    table: IntArray = np.array(exact, np.int64) + np.array([int(digit) for digit in _ABOVE], np.int64)
    return table


def logistic(values: IntArray) -> IntArray:
    """int16 values of 12 fractional bits -> 15 fractional bits."""
    wide = values * 3
    result = np.where(np.abs(wide) >> 9 >= 255, 0x7FFF << 10, _interpolated(np.abs(wide), 9))
    result = np.where(wide >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1)
    return result >> 10


def tanh(values: IntArray, shift: int) -> IntArray:
    """int16 values of 12 - `shift` fractional bits -> 15 fractional bits."""
    wide = values * (3 << shift) if shift >= 0 else (values * 3 + (1 << (-shift - 1))) >> -shift
    result = np.where(np.abs(wide) >> 8 >= 255, 0xFFFF << 8, _interpolated(np.abs(wide), 8))
    half, rounding = 1 << 23, 1 << 7
    return np.where(wide >= 0, result - half + rounding, -result + half + rounding - 1) >> 8


def _interpolated(position: IntArray, bits: int) -> IntArray:
    table, index = sigmoid_table(), np.minimum(position >> bits, 254)
    below, above = table[index], table[index + 1]
    between: IntArray = (below << bits) + (position & ((1 << bits) - 1)) * (above - below)
    return between
