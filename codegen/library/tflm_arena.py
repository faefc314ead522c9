"""Size the tflm runtime's arena, term by term: what TFLite Micro needs, and what Espressif's kernels add to it.

TFLM's own figure is measured (codegen.tflite.interpreters.measure_tflm_arena_bytes) with portable kernels. ESP-NN's
kernels request scratch buffers besides, whose sizes depend on the chip; TFLM plans them together with the activations.
So the memory plan is computed here twice, with and without them, by TFLM's own algorithm, and the growth is what is
added.

Sources, in our own words: esp-nn 1.2.3 src/convolution/esp_nn_conv_esp32s3.c,
esp_nn_depthwise_conv_s8_esp32s3.c, esp_nn_conv_opt.c, esp_nn_depthwise_conv_opt.c, src/softmax/esp_nn_softmax_opt.c
(the *_get_*_scratch_size functions); esp-tflite-micro 1.4.0 tensorflow/lite/micro/kernels/esp_nn/*.cc (their callers);
tflite-micro tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc and micro_allocation_info.cc.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, Operator
from codegen.kernels.window import Window, make_window

ESP_NN_VERSION = "1.2.3"  # the formulas below are this version's
ALIGNMENT_BYTES = 16  # MicroArenaBufferAlignment() in micro_arena_constants.h

# Chips for which esp_nn.h selects esp_nn_generic_opt.h; the ESP32-S3 has its own kernels.
GENERIC_TARGETS = ("esp32", "esp32c2", "esp32c3", "esp32c5", "esp32c6", "esp32h2", "esp32s2")
TARGETS = (*GENERIC_TARGETS, "esp32s3")


def round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class ArenaBudget:
    """Divides ID_ARENA_BYTES of the tflm runtime into the terms that it is the sum of, in bytes."""

    idf_target: str | None  # None: a chip or host whose kernels request what ESP-NN's generic ones do
    runtime_bytes: int  # interpreter and operator resolver objects, at the head of the arena
    input_frame_bytes: int  # the caller's inputs, apart from TFLM's input tensors, whose bytes TFLM reuses
    measured_bytes: int  # what TFLM reported for portable kernels on a 64-bit host; fewer on a 32-bit chip
    scratch_growth_bytes: int  # growth of TFLM's memory plan by the scratch buffers of the chip's kernels
    bookkeeping_bytes: int  # TFLM's handle and the kernel's index for each scratch buffer
    worst_scratch_bytes: int  # largest single request; a part of the growth, stated for information
    worst_scratch_operator: str  # its operator, "" where no kernel requests any

    @property
    def total_bytes(self) -> int:
        objects_bytes = self.runtime_bytes + self.input_frame_bytes
        return objects_bytes + self.measured_bytes + self.scratch_growth_bytes + self.bookkeeping_bytes


def arena_budget(graph: Graph, measured_bytes: int, idf_target: str | None = None) -> ArenaBudget:
    """Size the arena for `graph` on an ESP-IDF target ("esp32s3", ...; None for anything without special kernels).

    `measured_bytes` is measure_tflm_arena_bytes of the same model. Raises UnsupportedError for a target whose scratch
    formulas are not known here.
    """
    scratch = scratch_bytes(graph, idf_target)
    worst = max(scratch, key=lambda index: scratch[index], default=None)
    return ArenaBudget(
        idf_target=idf_target,
        runtime_bytes=runtime_bytes(len({operator.stem for operator in graph.operators})),
        input_frame_bytes=sum(round_up(graph.tensor(i).size_bytes, ALIGNMENT_BYTES) for i in graph.inputs),
        measured_bytes=round_up(measured_bytes, ALIGNMENT_BYTES),
        # A greedy plan may shrink when buffers are added; then the smaller figure is not relied on.
        scratch_growth_bytes=max(0, planned_bytes(graph, scratch) - planned_bytes(graph, {})),
        bookkeeping_bytes=len(scratch) * ALIGNMENT_BYTES,
        worst_scratch_bytes=0 if worst is None else scratch[worst],
        worst_scratch_operator="" if worst is None else graph.operators[worst].label,
    )


def runtime_bytes(registrations: int) -> int:
    """Give room to tflite::MicroInterpreter and a MicroMutableOpResolver<registrations>.

    Measured with tflite-micro 90b983c: at most 408 + 16 + 72 N bytes on a 64-bit host, 212 + 12 + 36 N on a 32-bit one.
    The generated code asserts at compile time that the objects fit, so that a growth upstream is noticed.
    """
    return round_up(512 + 72 * registrations, ALIGNMENT_BYTES)


def scratch_bytes(graph: Graph, idf_target: str | None) -> Mapping[int, int]:
    """Compute the bytes of scratch that the chip's kernels request, by operator index, where they request any."""
    if idf_target is not None and idf_target not in TARGETS:
        raise UnsupportedError(
            f"ESP-NN's scratch sizes on {idf_target} are not known here", hint=f"known: {', '.join(TARGETS)}"
        )
    requests = {operator.index: _scratch(graph, operator, idf_target) for operator in graph.operators}
    return {index: size for index, size in requests.items() if size > 0}


def _scratch(graph: Graph, operator: Operator, idf_target: str | None) -> int:
    if not operator.inputs or not operator.outputs:  # variables
        return 0
    source, result = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    if source.dtype != "int8" or result.dtype != "int8":
        return 0  # only int8 goes to ESP-NN
    if operator.stem == "softmax":
        return 4 * source.shape[1]
    if idf_target != "esp32s3" or operator.stem not in ("conv_2d", "depthwise_conv_2d"):
        return 0
    _, kernel_height, kernel_width, _ = graph.tensor(operator.inputs[1]).shape
    window = make_window(graph, operator, (kernel_height, kernel_width))
    formula = conv_scratch_bytes_esp32s3 if operator.stem == "conv_2d" else depthwise_scratch_bytes_esp32s3
    return formula(window, source.shape[3], result.shape[3])


def conv_scratch_bytes_esp32s3(window: Window, in_channels: int, out_channels: int) -> int:
    """Compute esp_nn_get_conv_scratch_size_esp32s3 of esp-nn 1.2.3."""
    margin = 64
    in_pixels = window.in_height * window.in_width
    taps = window.kernel_height * window.kernel_width
    padded = bool(window.pad_top or window.pad_left)
    if taps == 1 and not padded and (window.stride_height, window.stride_width) == (1, 1):
        wide = round_up(in_channels, 8)  # channels are padded to vectors of 8
        widened_input = in_pixels * wide if in_channels % 8 else 0
        transposed = 2 * 8 * wide if in_pixels >= 8 else 0
        return widened_input + wide * out_channels + transposed + margin
    row, patch = window.kernel_width * in_channels, taps * in_channels
    if row < 16 <= patch:  # one patch at a time, gathered, against a copy of the filter
        aligned_patch = round_up(patch, 16)
        return 4 * out_channels + 16 + out_channels * aligned_patch + 16 + aligned_patch + margin
    padded_input = 0
    if padded:
        padded_input = (window.in_width + 2 * window.pad_left) * (window.in_height + 2 * window.pad_top) * in_channels
    right, bottom = _overhang(window)
    overhung_input = (window.in_width + right) * (window.in_height + bottom) * in_channels if right or bottom else 0
    filters = (taps * round_up(in_channels, 16) + round_up(row, 16) * window.kernel_height) * out_channels
    return padded_input + overhung_input + filters + 4 * out_channels + margin


def depthwise_scratch_bytes_esp32s3(window: Window, in_channels: int, out_channels: int) -> int:
    """Compute esp_nn_get_depthwise_conv_scratch_size_esp32s3 of esp-nn 1.2.3."""
    multiplier = out_channels // in_channels
    taps, in_pixels = window.kernel_height * window.kernel_width, window.in_height * window.in_width
    filter_bytes = taps * out_channels
    widened = 2 * (filter_bytes + in_pixels * in_channels) + 32  # filter and input as int16
    if multiplier == 1 and in_channels % 8 == 0:
        if (window.kernel_height, window.kernel_width) == (3, 3):
            return _depthwise_3x3_scratch(window, in_channels, widened)
        if widened - 32 <= 48 * 1024:
            return widened
        rows = 2 * window.in_width * window.kernel_height * in_channels
        return 2 * filter_bytes + rows + 32
    if multiplier == 1 and in_channels > 3:
        wide = round_up(in_channels, 8)
        end = round_up(2 * taps * wide, 16)
        end = round_up(end + 2 * in_pixels * wide, 16)
        end = round_up(end + window.out_height * window.out_width * wide, 16)
        return end + 3 * 4 * wide + 16  # bias, shift and multiplier, padded too
    return widened if multiplier % 4 == 0 else 32


def _depthwise_3x3_scratch(window: Window, channels: int, widened: int) -> int:
    right, bottom = _overhang(window)
    pads = 2 * window.pad_left, 2 * window.pad_top
    if channels % 16 == 0:
        wider, higher = pads if any(pads) else (right, bottom)
        if not (wider or higher):
            return 9 * channels + 16
        image = (window.in_width + wider) * (window.in_height + higher) * channels
        strip = (window.in_width + wider) * 3 * channels
        return 9 * channels + (image if image <= 40 * 1024 else strip) + 16
    if channels >= 12:
        wide = round_up(channels, 16)
        image = (window.in_width + pads[0] + right) * (window.in_height + pads[1] + bottom) * wide
        return 9 * wide + image + window.out_height * window.out_width * wide + 64
    return widened


def _overhang(window: Window) -> tuple[int, int]:
    """Count columns and rows beyond the image that ESP-NN provides for, from its first pixel on."""
    right = window.out_width * window.stride_width + window.kernel_width - 1 - window.in_width
    bottom = window.out_height * window.stride_height + window.kernel_height - 1 - window.in_height
    return max(0, right), max(0, bottom)


def planned_bytes(graph: Graph, scratch: Mapping[int, int]) -> int:
    """Compute the size of TFLM's memory plan for the activations and `scratch` (operator index -> bytes).

    GreedyMemoryPlanner: largest buffer first, the later one first among equals, each in the lowest gap between
    buffers that live at the same time. The input lives from step 0, the outputs of operator i from step i + 1.
    """
    first: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    last: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    for step, operator in enumerate(graph.operators, start=1):
        for tensor in operator.outputs:
            first.setdefault(tensor, step)
        last |= dict.fromkeys((*operator.inputs, *operator.outputs), step)
    last |= dict.fromkeys(graph.outputs, len(graph.operators))
    buffers = [(tensor.size_bytes, first[tensor.index], last[tensor.index]) for tensor in graph.tensors
               if tensor.data is None and tensor.index in first]  # fmt: skip
    buffers += [(size, index + 1, index + 1) for index, size in sorted(scratch.items())]
    order = sorted(range(len(buffers)), key=lambda i: (-round_up(buffers[i][0], ALIGNMENT_BYTES), -i))
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last; by offset
    for size, begin, finish in (buffers[i] for i in order):
        aligned, offset = round_up(size, ALIGNMENT_BYTES), 0
        for other_offset, other_end, other_first, other_last in placed:
            if other_first <= finish and begin <= other_last:
                if other_offset - offset >= aligned:
                    break
                offset = max(offset, other_end)
        bisect.insort(placed, (offset, offset + aligned, begin, finish), key=lambda entry: entry[0])
    return max((end for _, end, _, _ in placed), default=0)
