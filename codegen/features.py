"""What a stage does, as counts: how often each part of its kernel runs in one inference.

A kernel's C is the same loops for every layer, so that its instructions are nearly a sum of how often each loop turns,
each times what a compiler makes of one turn (codegen.estimate). A count's name says which part, and what size of block
it has, since a compiler makes other code for each size. One function for each template of templates/aot/ops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from codegen.errors import UnsupportedError
from codegen.program.program import Program, Stage

# Where compilers change how they copy a constant number of bytes.
_COPY_KINDS = (("short", 12), ("middle", 64), ("long", 1 << 30))

Counts = Counter[str]


def stage_counts(program: Program, stage: Stage) -> Mapping[str, float]:
    """Of one inference, all rows. Raises UnsupportedError for a template that nothing is known about."""
    count = TEMPLATES.get(cost_name(stage))
    if count is None:
        raise UnsupportedError(f"layer {stage.number}: nothing is known of what a {cost_name(stage)} kernel costs")
    rows = program.rows[stage.output].count
    row = count(stage.kernel)
    row["row"] += 1
    row["pointer"] += len(stage.reads)
    return {name: times * rows for name, times in row.items() if times}


def cost_name(stage: Stage) -> str:
    """Under which name a stage's kernel was measured."""
    if stage.kernel.template in ("portable/lookup", "portable/copy"):
        return stage.stem
    isa, name = stage.kernel.template.split("/")
    return f"{name}_smlad" if isa == "armv7e_m" else name


def _finish(k: Any, outputs: int) -> Counts:
    """How each sum becomes a byte: beyond one multiply and a clamp, whatever there is more."""
    epilogue, counts = k.epilogue, Counts()
    if epilogue.kind == "two_roundings":
        counts["two roundings"] = outputs
        return counts
    parts = {
        "shift": epilogue.shift > 0,
        "offset": epilogue.offset != 0,
        "signed": epilogue.output.bias == 0,
        "range": epilogue.clamp == "range",
        "correction": epilogue.sign_correction,
    }
    counts.update({name: outputs for name, applies in parts.items() if applies})
    return counts


def _pointwise(k: Any) -> Counts:
    counts = Counts()
    for channels in k.channel_blocks:
        size, blocks = channels.size, channels.count
        counts[f"channels {size}"] += blocks
        for pixels, steps in ((b.size, b.count) for b in k.pixel_blocks):
            block = f"{pixels}x{size}"
            counts[f"pixels {block}"] += blocks * steps
            for inputs, turns in ((b.size, b.count) for b in k.input_blocks):
                counts[f"inputs {block}x{inputs}"] += blocks * steps * turns
                counts[f"no loop {block}x{inputs}"] += blocks * steps * (turns == 1)
            counts.update(_finish(k, blocks * steps * pixels * size))
        counts["steps back"] += blocks * (k.step_back_pixels > 0)
    return counts


def _pointwise_smlad(k: Any) -> Counts:
    counts, pixels, steps, rest = Counts(), k.pixels, k.pixel_blocks, k.in_channels % 4
    flip = " int8" * k.flips_sign
    for channels in k.channel_blocks:
        size, blocks = channels.size, channels.count
        block, times = f"{pixels}x{size}{flip}", blocks * steps
        counts[f"channels {size}"] += blocks
        counts[f"pixels {block}"] += times
        for fours, turns in ((b.size, b.count) for b in k.four_blocks):
            counts[f"fours {block}x{fours}"] += times * turns
            counts[f"no loop {block}x{fours}"] += times * (turns == 1)
        counts[f"rest {block}x{rest}"] += times * bool(rest)
        counts["steps back"] += blocks * (k.step_back_pixels > 0)
        counts.update(_finish(k, times * pixels * size))
    return counts


def _depthwise_3x3(k: Any) -> Counts:
    channels, counts = k.channels, Counts()
    outputs = 1
    for columns, turns in ((b.size, b.count) for b in k.column_blocks):
        counts[f"columns {columns}"] += channels * turns
        counts[f"loop {columns}"] += channels * (turns > 1)
        outputs += columns * turns
    counts["channels"] += channels
    counts["borders"] += channels * (k.zero != 0)
    return counts + _finish(k, channels * outputs)


def _depthwise_3x3_smlad(k: Any) -> Counts:
    channels, counts, flip = k.channels, Counts(), " int8" * k.flips_sign
    outputs = 1 + k.has_last_column
    for pairs, turns in ((b.size, b.count) for b in k.pair_blocks):
        counts[f"pairs {pairs}{flip}"] += channels * turns
        counts[f"loop {pairs}"] += channels * (turns > 1)
        outputs += 2 * pairs * turns
    counts[f"channels{flip}"] += channels
    counts[f"last column{flip}"] += channels * k.has_last_column
    counts["borders"] += channels * (k.byte_zero != 0)
    return counts + _finish(k, channels * outputs)


def _upsampled(k: Any) -> Counts:
    channels, counts = k.channels, Counts()
    outputs = 2
    for columns, turns in ((b.size, b.count) for b in k.column_blocks):
        counts[f"columns {columns}"] += channels * turns
        counts[f"loop {columns}"] += channels * (turns > 1)
        outputs += 2 * columns * turns
    counts["channels"] += channels
    return counts + _finish(k, channels * outputs)


def _upsampled_smlad(k: Any) -> Counts:
    channels, turns = k.channels, k.width - 1
    counts = Counts({"channels": channels, "columns": channels * turns, "loop": channels * (turns > 1)})
    return counts + _finish(k, channels * 2 * k.width)


def _conv_2d(k: Any) -> Counts:
    """By window row (`ky`), span of adjacent values, value; what overhangs has loops of its own."""
    counts, window_rows = Counts(), k.window.kernel_height
    interior, taps = len(k.interior), window_rows * k.window.kernel_width
    counts["absent rows"] += window_rows * k.has_absent_rows
    for channels, pixels in zip(k.channel_blocks, k.interior_pixels, strict=True):
        size, blocks = channels.size, channels.count
        counts["channels"] += blocks
        if pixels:
            block, steps = f"{pixels}x{size}", blocks * -(-interior // pixels)
            counts[f"pixels {block}"] += steps
            counts[f"window rows {block}"] += steps * window_rows
            counts[f"values {block}"] += steps * window_rows * k.spans * k.span_values
            counts.update(_finish(k, steps * pixels * size))
        if k.borders:
            steps = blocks * k.borders
            counts["border"] += steps
            counts["border sums"] += steps * size
            counts["border taps"] += steps * taps
            counts[f"border values {size}"] += steps * taps * k.in_channels
            counts.update(_finish(k, steps * size))
    return counts


def _depthwise(k: Any) -> Counts:
    """Window rows are a loop; what one does is written out: loads of weights and values, and products."""
    channels, counts, window_rows = k.out_channels, Counts(), k.window.kernel_height
    name = f"{window_rows}x{k.window.kernel_width}"
    counts[f"channels {name}"] += channels
    counts["absent rows"] += window_rows * k.has_absent_rows
    outputs = 0
    if k.interior:
        steps = -(-len(k.window.interior) // k.interior.pixels)
        counts[f"pixels {name}x{k.interior.pixels}"] += channels * steps * bool(k.interior.taps)
        outputs += steps * k.interior.pixels
    for block in k.borders:
        counts["border blocks"] += channels
        outputs += block.pixels
        times = channels * window_rows * bool(block.taps)
        counts["border rows"] += times
        counts["border loads"] += times * (len(block.taps) + len(block.columns))
        counts["border products"] += times * sum(len(column.products) for column in block.columns)
        counts["border padding"] += times * sum(len(pixel.taps) for pixel in block.overhanging)
    return counts + _finish(k, channels * outputs)


def _max_pool_inside(k: Any) -> Counts:
    rows, taps = k.kernel_height, k.kernel_height * k.kernel_width
    values = k.out_width * k.channels
    name = f"{rows}x{taps // rows}"
    counts = Counts(
        {f"values {name}": values, f"pixels {rows}": k.out_width, "limits": values * (k.limits is not None)}
    )
    if k.channels <= 3:
        counts[f"channels {k.channels}"] += k.out_width
    return counts


def _max_pool(k: Any) -> Counts:
    values = k.window.out_width * k.channels
    taps = values * k.window.kernel_height * k.window.kernel_width
    return Counts(
        {"pixels": k.window.out_width, "values": values, "window rows": values * k.window.kernel_height, "taps": taps}
    )


def _copies(size_bytes: int, times: int, aligned: int) -> Counts:
    """`times` copies of a constant size; `aligned` of them between word addresses.

    Compilers write short ones out and call memcpy for long ones, which goes by words where both ends are aligned.
    """
    kind = next(name for name, limit in _COPY_KINDS if size_bytes <= limit)
    words, rest = divmod(size_bytes, 4)
    return Counts(
        {
            f"{kind} copies": times,
            f"{kind} words": aligned * words,
            f"{kind} bytes": aligned * rest,
            f"{kind} unaligned words": (times - aligned) * words,
            f"{kind} unaligned bytes": (times - aligned) * rest,
        }
    )


def _concatenation(k: Any) -> Counts:
    sizes, blocks, counts = k.block_bytes, k.blocks, Counts()
    first = 0
    for size in sizes:
        aligned = sum((block * sum(sizes) + first) % 4 == 0 == block * size % 4 for block in range(blocks))
        counts.update(_copies(size, blocks, aligned))  # rows mostly begin at words
        first += size
    counts["blocks"] += blocks
    return counts


def _resize(k: Any) -> Counts:
    width, channels = k.out_width, k.channels
    aligned = width if channels % 4 == 0 else 0
    return Counts({"columns": width}) + _copies(channels, width, aligned)


def _reshape(k: Any) -> Counts:
    return _copies(k.size, 1, 1)


def _pad(k: Any) -> Counts:
    counts = Counts({"set bytes": k.out_width * k.out_channels, "columns": k.in_width})
    return counts + _copies(k.in_channels, k.in_width, 0)


def _lookup(k: Any) -> Counts:
    return Counts({"values": k.size})


TEMPLATES: Mapping[str, Callable[[Any], Counts]] = {
    "conv_2d_pointwise": _pointwise,
    "conv_2d_pointwise_smlad": _pointwise_smlad,
    "depthwise_conv_2d_3x3": _depthwise_3x3,
    "depthwise_conv_2d_3x3_smlad": _depthwise_3x3_smlad,
    "depthwise_conv_2d_3x3_upsampled": _upsampled,
    "depthwise_conv_2d_3x3_upsampled_smlad": _upsampled_smlad,
    "conv_2d": _conv_2d,
    "depthwise_conv_2d": _depthwise,
    "max_pool_2d_inside": _max_pool_inside,
    "max_pool_2d": _max_pool,
    "concatenation": _concatenation,
    "resize_nearest_neighbor": _resize,
    "reshape": _reshape,
    "pad": _pad,
    "logistic": _lookup,
    "quantize": _lookup,
}
