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
from codegen.program.program import Kernel, Program, Stage

# Where compilers change how they copy a constant number of bytes.
_COPY_KINDS = (("short", 12), ("middle", 64), ("long", 1 << 30))

Counts = Counter[str]


def stage_counts(program: Program, stage: Stage) -> Mapping[str, float]:
    """Of one inference, all rows. Raises UnsupportedError for a template that nothing is known about."""
    count = TEMPLATES.get(stage.kernel.template)
    if count is None:
        raise UnsupportedError(f"layer {stage.number}: nothing is known of what a {stage.kernel.template} kernel costs")
    rows, values = program.rows[stage.output].count, stage.kernel.values
    row = count(stage.kernel, values)
    row["row"] += 1
    row["pointer"] += len(stage.reads)
    return {name: times * rows for name, times in row.items() if times}


def _finish(values: Mapping[str, Any], outputs: int) -> Counts:
    """How each sum becomes a byte: beyond one multiply and a clamp, whatever there is more."""
    result, counts = str(values["result"]), Counts()
    if "requantize(" in result:
        counts["two roundings"] = outputs
        return counts
    inside = result[result.index("high_mul") :]
    parts = {
        "shift": ">>" in result,
        "offset": " + " in inside.split(" - 128")[0] or "}) - " in inside.replace(")) - 128", ""),
        "signed": "(int8_t)" in result,
        "range": "clamp_to_range" in result,
        "correction": bool(values["adjust"]),
    }
    counts.update({name: outputs for name, applies in parts.items() if applies})
    return counts


def _pointwise(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    counts = Counts()
    for size, _, blocks in k["channel_blocks"]:
        counts[f"channels {size}"] += blocks
        for pixels, steps in k["pixel_blocks"]:
            block = f"{pixels}x{size}"
            counts[f"pixels {block}"] += blocks * steps
            for inputs, turns in k["input_steps"]:
                counts[f"inputs {block}x{inputs}"] += blocks * steps * turns
                counts[f"no loop {block}x{inputs}"] += blocks * steps * (turns == 1)
            counts.update(_finish(k, blocks * steps * pixels * size))
        counts["steps back"] += blocks * len(k["steps_back"])
    return counts


def _pointwise_smlad(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    counts, pixels, steps, rest = Counts(), k["pixels"], k["pixel_blocks"], k["in_channels"] % 4
    flip = " int8" * bool(k["flip_word"])
    for size, _, blocks in k["channel_blocks"]:
        block, times = f"{pixels}x{size}{flip}", blocks * steps
        counts[f"channels {size}"] += blocks
        counts[f"pixels {block}"] += times
        for fours, turns in k["fours"]:
            counts[f"fours {block}x{fours}"] += times * turns
            counts[f"no loop {block}x{fours}"] += times * (turns == 1)
        counts[f"rest {block}x{rest}"] += times * bool(rest)
        counts["steps back"] += blocks * len(k["steps_back"])
        counts.update(_finish(k, times * pixels * size))
    return counts


def _depthwise_3x3(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    channels, counts = k["channels"], Counts()
    outputs = 1
    for columns, turns in k["column_blocks"]:
        counts[f"columns {columns}"] += channels * turns
        counts[f"loop {columns}"] += channels * (turns > 1)
        outputs += columns * turns
    counts["channels"] += channels
    counts["borders"] += channels * len(k["borders"])
    return counts + _finish(k, channels * outputs)


def _depthwise_3x3_smlad(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    channels, counts, flip = k["channels"], Counts(), " int8" * bool(k["flip_pair"])
    outputs = 1 + len(k["last_column"])
    for pairs, turns in k["column_blocks"]:
        counts[f"pairs {pairs}{flip}"] += channels * turns
        counts[f"loop {pairs}"] += channels * (turns > 1)
        outputs += 2 * pairs * turns
    counts[f"channels{flip}"] += channels
    counts[f"last column{flip}"] += channels * len(k["last_column"])
    counts["borders"] += channels * len(k["borders"])
    return counts + _finish(k, channels * outputs)


def _upsampled(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    channels, counts = k["channels"], Counts()
    outputs = 2
    for columns, turns in k["column_blocks"]:
        counts[f"columns {columns}"] += channels * turns
        counts[f"loop {columns}"] += channels * (turns > 1)
        outputs += 2 * columns * turns
    counts["channels"] += channels
    return counts + _finish(k, channels * outputs)


def _upsampled_smlad(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    channels, turns = k["channels"], k["width"] - 1
    counts = Counts({"channels": channels, "columns": channels * turns, "loop": channels * (turns > 1)})
    return counts + _finish(k, channels * 2 * k["width"])


def _conv_2d(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    """By window row (`ky`), span of adjacent values, value; what overhangs has loops of its own."""
    counts, window_rows = Counts(), k["kernel_height"]
    interior, taps = k["interior_end"] - k["interior_first"], window_rows * k["kernel_width"]
    counts["absent rows"] += sum(k["absent_rows"])
    for size, _, blocks, pixel_blocks in k["channel_blocks"]:
        counts["channels"] += blocks
        for pixels in pixel_blocks:
            block, steps = f"{pixels}x{size}", blocks * -(-interior // pixels)
            counts[f"pixels {block}"] += steps
            counts[f"window rows {block}"] += steps * window_rows
            counts[f"values {block}"] += steps * window_rows * k["spans"] * k["span_values"]
            counts.update(_finish(k, steps * pixels * size))
        for border in k["borders"]:
            steps = blocks * border
            counts["border"] += steps
            counts["border sums"] += steps * size
            counts["border taps"] += steps * taps
            counts[f"border values {size}"] += steps * taps * k["in_channels"]
            counts.update(_finish(k, steps * size))
    return counts


def _depthwise(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    """Window rows are a loop; what one does is written out: loads of weights and values, and products."""
    channels, counts, window_rows = k["out_channels"], Counts(), k["kernel_height"]
    name = f"{window_rows}x{k['kernel_width']}"
    counts[f"channels {name}"] += channels
    counts["absent rows"] += sum(k["absent_rows"])
    interior = k["interior_end"] - k["interior_first"]
    outputs = 0
    for pixels, parts in k["interior_blocks"]:
        steps = -(-interior // pixels)
        counts[f"pixels {name}x{pixels}"] += channels * steps * bool(parts)
        outputs += steps * pixels
    for _, pixels, parts in k["border_blocks"]:
        counts["border blocks"] += channels
        outputs += pixels
        for taps, _, columns, padding in parts:
            products = sum(len(products) for _, products in columns)
            counts["border rows"] += channels * window_rows
            counts["border loads"] += channels * window_rows * (len(taps) + len(columns))
            counts["border products"] += channels * window_rows * products
            counts["border padding"] += channels * window_rows * sum(text.count("+") + 1 for _, text, _ in padding)
    return counts + _finish(k, channels * outputs)


def _max_pool_inside(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    rows, taps = k["kernel_height"], len(k["other_taps"]) + 1
    values = k["out_width"] * k["channels"]
    name = f"{rows}x{taps // rows}"
    counts = Counts({f"values {name}": values, f"pixels {rows}": k["out_width"], "limits": values * len(k["limits"])})
    if k["channels"] <= 3:
        counts[f"channels {k['channels']}"] += k["out_width"]
    return counts


def _max_pool(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    values = k["out_width"] * k["channels"]
    taps = values * k["kernel_height"] * k["kernel_width"]
    return Counts(
        {"pixels": k["out_width"], "values": values, "window rows": values * k["kernel_height"], "taps": taps}
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


def _concatenation(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    sizes, blocks, counts = k["block_bytes"], k["blocks"], Counts()
    first = 0
    for size in sizes:
        aligned = sum((block * sum(sizes) + first) % 4 == 0 == block * size % 4 for block in range(blocks))
        counts.update(_copies(size, blocks, aligned))  # rows mostly begin at words
        first += size
    counts["blocks"] += blocks
    return counts


def _resize(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    width, channels = k["out_width"], k["channels"]
    aligned = width if channels % 4 == 0 else 0
    return Counts({"columns": width}) + _copies(channels, width, aligned)


def _reshape(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    return _copies(k["size"], 1, 1)


def _pad(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    counts = Counts({"set bytes": k["out_bytes"], "columns": k["in_width"]})
    return counts + _copies(k["in_channels"], k["in_width"], 0)


def _lookup(kernel: Kernel, k: Mapping[str, Any]) -> Counts:
    return Counts({"values": k["size"]})


TEMPLATES: Mapping[str, Callable[[Kernel, Mapping[str, Any]], Counts]] = {
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
