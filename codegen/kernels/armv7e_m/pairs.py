"""Pack weights two to a word, for kernels that multiply two pairs of 16-bit numbers at once (Arm's SMLAD).

Inputs are multiplied as bytes: int8 values have their sign bit flipped on the way, which the start values account for.
The search for each channel's factor is confined to weights that fit int16; where it finds none, the layer ends in two
roundings, whose weights are the file's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from codegen.graph.graph import IntArray
from codegen.kernels.convolution import Convolution
from codegen.kernels.epilogue import Requantizer, choose_requantizer
from codegen.kernels.weighted_layer import INT16_MAX
from codegen.program.kernel import Storage
from codegen.program.target import Target


def pack_pairs(low: IntArray, high: IntArray) -> npt.NDArray[np.uint32]:
    """Pack two int16 numbers into each word. Raises OverflowError where one does not fit."""
    halves = np.stack(np.broadcast_arrays(low, high))
    if np.abs(halves).max(initial=0) > INT16_MAX:
        raise OverflowError(f"{int(np.abs(halves).max())} is no int16 weight")
    words: npt.NDArray[np.uint32] = ((halves[0] & 0xFFFF) | (halves[1] & 0xFFFF) << 16).astype(np.uint32)
    return words


def pack_fours(weights: IntArray) -> npt.NDArray[np.uint32]:
    """Pack (inputs, outputs) into (words, outputs): of each four inputs 0 and 2, 1 and 3; then the rest in order."""
    whole = len(weights) // 4 * 4
    fours = weights[:whole].reshape(-1, 4, weights.shape[1])
    rest = np.pad(weights[whole:], ((0, len(weights) % 2), (0, 0)))
    words = pack_pairs(fours[:, :2], fours[:, 2:]).reshape(-1, weights.shape[1])
    return np.concatenate([words, pack_pairs(rest[0::2], rest[1::2])])


def of_bytes(convolution: Convolution) -> Convolution:
    """Return the same of an input stored as uint8, which is what the kernels multiply."""
    return replace(convolution, input=Storage(128))


def choose_int16_requantizer(
    convolution: Convolution, target: Target, largest_weights: Sequence[int] = ()
) -> Requantizer:
    return choose_requantizer(convolution, target, largest_weights=largest_weights, max_weights=(INT16_MAX,))
