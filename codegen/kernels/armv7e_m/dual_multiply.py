"""Row kernels that multiply two pairs of 16-bit numbers at once, for processors that can (Arm's SMLAD).

They are the kernels of `codegen.kernels.portable.one_multiply` with weights two to a word. The search for each
channel's factor is confined to weights that fit int16; where it finds none, the layer ends in two roundings, whose
weights are the file's. Inputs are multiplied as bytes: int8 values have their sign bit flipped on the way, which the
start values account for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from codegen.graph.graph import IntArray
from codegen.kernels.convolution import Convolution
from codegen.kernels.portable import one_multiply
from codegen.kernels.portable.one_multiply import INT16_MAX, Finish
from codegen.program.program import Constant, Kernel, Storage, Table

# Between jumps, chosen like the numbers of codegen.program.target.
_FOURS_PER_STEP = 2

Lowered = tuple[Kernel, tuple[Table, ...]]


def pack_pairs(low: IntArray, high: IntArray) -> npt.NDArray[np.uint32]:
    """Two int16 numbers in each word. Raises OverflowError where one does not fit."""
    halves = np.stack(np.broadcast_arrays(low, high))
    if np.abs(halves).max(initial=0) > INT16_MAX:
        raise OverflowError(f"{int(np.abs(halves).max())} is no int16 weight")
    words: npt.NDArray[np.uint32] = ((halves[0] & 0xFFFF) | (halves[1] & 0xFFFF) << 16).astype(np.uint32)
    return words


def _as_bytes(convolution: Convolution) -> Convolution:
    return replace(convolution, input=Storage(128))


def _finish_of(convolution: Convolution, largest_weights: Sequence[int] = ()) -> Finish:
    return one_multiply.finish_of(convolution, largest_weights, max_weights=(INT16_MAX,))


def _flips(convolution: Convolution) -> tuple[tuple[str, Constant], ...]:
    """C that makes bytes of int8 values: bytes, pairs, words."""
    masks = ("0x80u", "0x00800080u", "0x80808080u")
    flips = ("",) * 3 if convolution.input.bias else tuple(f" ^ {mask}" for mask in masks)
    return tuple(zip(("flip_byte", "flip_pair", "flip_word"), flips, strict=True))


def pointwise(convolution: Convolution) -> Lowered | None:
    """1x1, stride 1, of at least two inputs.

    Two output channels of at most four inputs keep their weights in registers and go pixel by pixel; otherwise weights
    are loaded once for a block of pixels.
    """
    window, target, in_channels = convolution.window, convolution.target, convolution.in_channels
    if not target.dual_multiply or not one_multiply.is_pointwise(convolution) or in_channels < 2:
        return None
    finish, flips = _finish_of(_as_bytes(convolution)), _flips(convolution)
    weights = _pointwise_words(convolution.taps * np.array(finish.factor))
    in_registers = len(weights) <= 2
    pixels = min(1 if in_registers else target.pixels_per_block, window.out_width)
    overlap = -window.out_width % pixels
    blocks = one_multiply.blocks_of(convolution.out_channels, 2 if in_registers else target.channels_per_block)
    spans = [range(first + i * size, first + (i + 1) * size) for size, first, count in blocks for i in range(count)]
    numbers = [number for span in spans for row in zip(*map(finish.numbers, span), strict=True) for number in row]
    rest = in_channels % 4
    step = (pixels - 1) * in_channels + rest
    byte, pair, _ = (flip for _, flip in flips)
    two = f"(pixel[{{0}}] | (uint32_t)pixel[{{1}}] << 16){pair}"
    constants: tuple[tuple[str, Constant], ...] = (
        ("in_channels", in_channels),
        ("out_channels", convolution.out_channels),
        ("channel_blocks", tuple(blocks)),
        ("pixels", pixels),
        ("pixel_blocks", -(-window.out_width // pixels)),
        ("steps_back", ((overlap * in_channels, overlap * convolution.out_channels),) * (overlap > 0)),
        ("fours", tuple((size, n) for size, _, n in one_multiply.blocks_of(in_channels // 4, _FOURS_PER_STEP))),
        ("rest", ((), (f"pixel[{{0}}]{byte}",), (two,), (two, f"pixel[{{2}}]{byte}"))[rest]),
        ("pixel_step", (step,) * (step > 0)),
        ("words", len(weights)),
        *flips,
        *finish.constants,
    )
    words = np.concatenate([weights[:, span.start : span.stop].reshape(-1) for span in spans])
    tables = (
        Table("channels", np.array(numbers, np.int32), blocks[0][0], channels=finish.channels),
        Table("weights", words, 8),
    )
    return one_multiply.kernel_of(convolution, "conv_2d_pointwise_smlad", constants, tables)


def _pointwise_words(weights: IntArray) -> npt.NDArray[np.uint32]:
    """(inputs, outputs) -> (words, outputs): of each four inputs 0 and 2, 1 and 3; then what is left in order."""
    whole = len(weights) // 4 * 4
    fours = weights[:whole].reshape(-1, 4, weights.shape[1])
    rest = np.pad(weights[whole:], ((0, len(weights) % 2), (0, 0)))
    words = pack_pairs(fours[:, :2], fours[:, 2:]).reshape(-1, weights.shape[1])
    return np.concatenate([words, pack_pairs(rest[0::2], rest[1::2])])


def depthwise_3x3(convolution: Convolution) -> Lowered | None:
    """Two rows of the window in one word, two columns of the third; None unless `is_depthwise_3x3`."""
    window = convolution.window
    if not convolution.target.dual_multiply or not one_multiply.is_depthwise_3x3(convolution) or window.in_width < 2:
        return None
    finish, zero = _finish_of(_as_bytes(convolution)), one_multiply.stored_zero(_as_bytes(convolution))
    rows = (convolution.taps * np.array(finish.factor)).reshape(3, 3, -1)
    words = np.concatenate([pack_pairs(rows[0], rows[1]), pack_pairs(rows[2, :2], rows[2, 1:])])
    pairs, last = divmod(window.in_width - 1, 2)
    blocks = one_multiply.blocks_of(pairs, convolution.target.columns_per_step // 2)
    constants: tuple[tuple[str, Constant], ...] = (
        ("channels", convolution.in_channels),
        ("padding", one_multiply.stored_zero(convolution)),
        ("borders", (zero,) if zero else ()),
        ("column_blocks", tuple((size, count) for size, _, count in blocks)),
        ("last_column", (1,) * last),
        *_flips(convolution),
        *finish.constants,
    )
    tables = (finish.table(), Table("weights", words.T.reshape(-1), 5))
    return one_multiply.kernel_of(convolution, "depthwise_conv_2d_3x3_smlad", constants, tables)


def depthwise_3x3_upsampled(convolution: Convolution, factor: int) -> Lowered | None:
    """The upper and the lower source row of `one_multiply.depthwise_3x3_upsampled` in one word."""
    if not convolution.target.dual_multiply:
        return None
    sums = one_multiply.upsampled_sums(convolution, factor)
    finish = _finish_of(convolution, np.abs(sums).max((0, 2)).tolist())
    weights = sums * np.array(finish.factor)[:, None]
    words = pack_pairs(weights[:, :, :4], weights[:, :, 4:])
    tables = (finish.table(), Table("weights", words.reshape(-1), 4, phases=factor))
    constants: tuple[tuple[str, Constant], ...] = (
        ("width", convolution.window.in_width // 2),
        ("channels", convolution.in_channels),
        ("padding", 0),
        *finish.constants,
    )
    return one_multiply.kernel_of(convolution, "depthwise_conv_2d_3x3_upsampled_smlad", constants, tables)
