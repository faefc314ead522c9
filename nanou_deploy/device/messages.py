"""Decode and check devices' answers into frozen dataclasses; docs/PROTOCOL.md has the layouts.

A device may be anybody's. Whatever leaves this module is of the length, range and size that the protocol says, and no
text holds a character that a terminal or a page would act on; anything else is a MalformedAnswer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.untrusted import printable
from nanou_deploy.device.errors import MalformedAnswer

Int8Array = npt.NDArray[np.int8]

INFO, WRITE, READ, INFER, GOLDEN, BENCH, CAPTURE, STREAM, RESTART, RESET, MOTORS, REHEARSE, TUNE = range(1, 14)
LOG_EVENT, STREAM_EVENT = 64, 65
INPUT, OUTPUT, FRAME, MASK = range(4)  # buffers
OTHER_BOOT, RANGE, STALE_MODEL, INPUT_DIFFERS, UNSUPPORTED = 4, 5, 6, 7, 8

# Number of an answer's status -> its name and what to try.
STATUSES: Mapping[int, tuple[str, str]] = {
    1: ("MALFORMED", "is its firmware older or newer than this tool? flash it again"),
    2: ("UNKNOWN", "its firmware is older than this tool: flash it again"),
    3: ("VERSION", "its firmware says that it speaks another version of the protocol: flash it again"),
    4: ("OTHER_BOOT", "it was reset"),
    5: ("RANGE", "is its firmware older or newer than this tool? flash it again"),
    6: ("STALE_MODEL", "it runs another model: flash it again"),
    7: ("INPUT_DIFFERS", "something else writes to the device at the same time"),
    8: ("UNSUPPORTED", "this firmware has no camera, no room for frames, or no traced model"),
    9: ("MODEL_FAILED", "`nanou-deploy verify --port` tells whether the firmware is sound"),
    10: ("CAMERA_FAILED", "check the camera's cable and the board's pin map"),
    11: ("UNPROVEN", "its self-test has not passed: see its log"),
}


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of an input or output, and what it means: real = scale * (q - zero_point); scale 0 for none."""

    name: str
    dtype: str  # of DTYPES
    shape: tuple[int, ...]
    size_bytes: int
    scale: float
    zero_point: int

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(height, width, channels) of one int8 image; None for others."""
        is_image = self.dtype == "int8" and len(self.shape) == 4 and self.shape[0] == 1
        return (self.shape[1], self.shape[2], self.shape[3]) if is_image else None


@dataclass(frozen=True)
class DeviceInfo:
    """Model, build and memory of a device. `self_test`: "passed", "failed" or "not run". `layers`: 0 where not named.
    `judges_frames`: camera frames, its own or sent by the host, become masks there. `rehearses`: it has no motors, and
    drives by frames of the host. `tunes`: the numbers that it drives by can be changed. `frame_bytes`: room for frames
    of the host, 0 if there is none. Memory is 0 where not known. `damaged`: pieces that reached it as no frames."""

    protocol_version: int
    api_version: int
    board: str
    runtime: str
    model_name: str
    model_sha256: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    threshold_q: int
    arena_bytes: int
    working_bytes: int
    state_bytes: int
    macs: int
    build: str
    reset_reason: str
    self_test: str
    has_camera: bool
    counts_cycles: bool
    judges_frames: bool
    rehearses: bool
    tunes: bool
    layers: int
    frame_bytes: int
    stack_free_bytes: int
    heap_free_bytes: int
    heap_least_bytes: int
    uptime_us: int
    damaged: int

    @property
    def mask_size_px(self) -> tuple[int, int]:
        """Width and height of the masks of a device that judges frames; (0, 0) where it judges none."""
        image = self.outputs[0].image_shape if self.judges_frames else None
        return (image[1], image[0]) if image else (0, 0)


@dataclass(frozen=True, eq=False)
class Inference:
    """An inference's `outputs`, each of its own type and shape, checked by CRC-32. `cycles` is 0 where not counted."""

    outputs: tuple[npt.NDArray[Any], ...]
    time_us: int
    cycles: int

    @property
    def output(self) -> Int8Array:
        """One int8 image as (height, width, channels); else the bytes of all outputs, one behind the other."""
        first = self.outputs[0]
        if len(self.outputs) == 1 and first.dtype == np.int8 and first.ndim == 4 and len(first) == 1:
            return np.asarray(first[0], np.int8)
        return np.concatenate([np.frombuffer(output.tobytes(), np.int8) for output in self.outputs])


@dataclass(frozen=True)
class Decision:
    """A decision of navigation by one mask: `steer` -100 (left) to 100 (right), covers in thousandths."""

    go: bool
    steer: int
    left_permille: int
    centre_permille: int
    right_permille: int


@dataclass(frozen=True)
class Stages:
    """Times of the stages of one picture on the device. `capture_us` is the mean wait for its camera, 0 if not used."""

    capture_us: int
    preprocessing_us: int
    model_us: int
    mask_us: int


@dataclass(frozen=True)
class Vision:
    """A camera frame's mask and decision. `mask` is bit-packed, rows in whole bytes, leftmost pixel in bit 7."""

    mask: bytes
    width_px: int
    height_px: int
    decision: Decision
    time_us: int
    cycles: int
    stages: Stages


@dataclass(frozen=True)
class Golden:
    """Result of the golden input on the device. `layer` names the first that differs, "" if none or not known."""

    passed: bool
    expected_crc32: int
    actual_crc32: int
    layer: str
    time_us: int


@dataclass(frozen=True)
class LayerBench:
    """Cycles of one layer on the device, the least of all traced inferences."""

    name: str
    operator_index: int
    cycles: int


@dataclass(frozen=True)
class DeviceBench:
    """Times of whole inferences: least, mean and largest. Cycles are 0 where not counted.

    `layers` is empty unless asked for; traced inferences are slower, so that their sum exceeds `best_cycles`.
    """

    inferences: int
    best_us: int
    mean_us: float
    worst_us: int
    best_cycles: int
    mean_cycles: float
    layers: tuple[LayerBench, ...] = ()


@dataclass(frozen=True)
class CameraFrame:
    """A picture of a camera in RGB565, two bytes for each pixel, rows without gaps."""

    pixels: bytes
    width_px: int
    height_px: int
    big_endian: bool


@dataclass(frozen=True)
class StreamFrame:
    """One picture as the device saw and judged it. `picture` is downsampled, None where not asked for or lost.
    `lost`: frames since the last one that did not arrive whole. `fps` is the device's own."""

    number: int
    picture: CameraFrame | None
    mask: bytes
    width_px: int
    height_px: int
    decision: Decision
    fps: float
    lost: int
    stages: Stages


# ---- Layouts ---------------------------------------------------------------------------------------------------

PIECE_LIMIT_BYTES = 250  # of a buffer, in WRITE and READ
HASH_PREFIX_BYTES = 8
INFO_NUMBERS = struct.Struct("<BBBB32sBBiIIIIIIIIQIH")
TENSOR_PAGE = 6
INFO_TENSOR = struct.Struct("<BBBBIfi")  # then dimensions, then the name
WRITE_HEAD = struct.Struct("<BBI")
WRITE_ANSWER = struct.Struct("<BBIH")
READ_REQUEST = struct.Struct("<BBIH")
INFER_REQUEST = struct.Struct("<BBHH8sI")
INFER_ANSWER = struct.Struct("<BIIII")
GOLDEN_ANSWER = struct.Struct("<BIIIHH")
BENCH_REQUEST = struct.Struct("<BH")
BENCH_ANSWER = struct.Struct("<BII")
BENCH_LAYER = struct.Struct("<BHHI")
CAPTURE_ANSWER = struct.Struct("<HHBII")
STREAM_REQUEST = struct.Struct("<BBHH")
LOG_HEAD = struct.Struct("<BI")
STREAM_HEAD = struct.Struct("<HHIbbHHHHHHBI4I")
_JUDGEMENT = struct.Struct("<bbHHH4I")
NO_LAYER = 0xFFFF
_SELF_TESTS = ("not run", "passed", "failed")

DTYPES = ("int8", "int32", "int64", "uint8", "float32", "int16", "bool")
_MAX_RANK = 8
MAX_TENSORS = 255  # inputs and outputs, which one byte numbers

# More than any microcontroller has: beyond them an answer is no device's.
TENSOR_LIMIT_BYTES = 64 << 20  # of all inputs and outputs
PICTURE_LIMIT_PX = 8 << 20
LAYERS_LIMIT = 1024
_TEXT_LIMIT = 256


def unpack(layout: struct.Struct, payload: bytes, what: str) -> tuple[Any, ...]:
    """Unpack the fields that `payload` begins with. Raises MalformedAnswer where it is too short."""
    if len(payload) < layout.size:
        raise MalformedAnswer(f"the device's {what} has {len(payload)} bytes, not {layout.size}")
    return layout.unpack_from(payload)


def expect(holds: bool, what: str) -> None:
    """Raise MalformedAnswer unless `holds`."""
    if not holds:
        raise MalformedAnswer(f"the device's answer makes no sense: {what}")


def text(payload: bytes) -> str:
    """Decode a text of the device, control characters escaped."""
    return printable(payload.decode(errors="replace"), _TEXT_LIMIT)


def check_picture(width_px: int, height_px: int, size_bytes: int | None = None) -> None:
    """Raise MalformedAnswer for a picture without pixels, too large, or of another `size_bytes` than RGB565 has."""
    pixels = width_px * height_px
    expect(0 < pixels <= PICTURE_LIMIT_PX, f"a picture of {width_px}x{height_px} pixels")
    expect(size_bytes in (None, 2 * pixels), f"{size_bytes} bytes for {width_px}x{height_px} RGB565 pixels")


def count_tensors(numbers: bytes) -> int:
    """Read the number of inputs and outputs from page 0 of INFO. Raises MalformedAnswer."""
    inputs, outputs = unpack(INFO_NUMBERS, numbers, "INFO")[5:7]
    expect(inputs > 0 and outputs > 0, f"INFO's {inputs} inputs and {outputs} outputs")
    expect(inputs + outputs <= MAX_TENSORS, f"INFO's {inputs} inputs and {outputs} outputs")
    return int(inputs + outputs)


def decode_tensor(payload: bytes, number: int) -> TensorInfo:
    """Decode the page of INFO that describes tensor `number`. Raises MalformedAnswer."""
    page, found, dtype, rank, size_bytes, scale, zero_point = unpack(INFO_TENSOR, payload, "INFO")
    expect((page, found) == (TENSOR_PAGE, number), f"INFO's page of tensor {number} is another one")
    expect(dtype < len(DTYPES) and rank <= _MAX_RANK, f"INFO's tensor {number} of type {dtype} and rank {rank}")
    dims = unpack(struct.Struct(f"<{rank}I"), payload[INFO_TENSOR.size :], "INFO")
    wanted_bytes = math.prod(dims) * np.dtype(DTYPES[dtype]).itemsize
    expect(0 < wanted_bytes <= TENSOR_LIMIT_BYTES, f"INFO's tensor {number} of shape {dims}")
    expect(size_bytes == wanted_bytes, f"INFO's tensor {number} of shape {dims} and {size_bytes} bytes")
    is_quantized = DTYPES[dtype] == "int8"
    expect(math.isfinite(scale) and scale >= 0 and (scale > 0 or not is_quantized), f"INFO's scale {scale}")
    if DTYPES[dtype] in ("int8", "uint8"):
        bounds = np.iinfo(DTYPES[dtype])
        expect(bounds.min <= zero_point <= bounds.max, f"INFO's zero point {zero_point}")
    name = text(payload[INFO_TENSOR.size + 4 * rank :])
    return TensorInfo(name, DTYPES[dtype], tuple(dims), size_bytes, scale, zero_point)


def decode_info(
    numbers: bytes, texts: Sequence[bytes], tensors: Sequence[TensorInfo], protocol_version: int
) -> DeviceInfo:
    """Decode page 0 of INFO and pages 1 to 5, each with its number in front. Raises MalformedAnswer."""
    _, tested, features, api_version, sha256, inputs, _, threshold_q, *sizes = unpack(INFO_NUMBERS, numbers, "INFO")
    arena, working, state, macs, frame, stack_free, heap_free, heap_least, uptime_us, damaged, layers = sizes
    for page, payload in enumerate((numbers, *texts)):
        expect(payload[:1] == bytes([page]), f"INFO's page {page} is another one")
    expect(layers <= LAYERS_LIMIT, f"INFO's {layers} layers")
    total_bytes = sum(tensor.size_bytes for tensor in tensors)
    expect(total_bytes <= TENSOR_LIMIT_BYTES, f"INFO's inputs and outputs of {total_bytes} bytes")
    judges_frames = bool(features & 4)
    masks = tensors[inputs].image_shape
    expect(masks is not None or not judges_frames, f"INFO's output of shape {tensors[inputs].shape} for masks")
    board, runtime, model_name, build, reset_reason = (text(payload[1:]) for payload in texts)
    return DeviceInfo(
        protocol_version=protocol_version,
        self_test=_SELF_TESTS[tested] if tested < len(_SELF_TESTS) else f"state {tested}",
        has_camera=bool(features & 1),
        counts_cycles=bool(features & 2),
        judges_frames=judges_frames,
        rehearses=bool(features & 16),
        tunes=bool(features & 32),
        api_version=api_version,
        model_sha256=sha256.hex(),
        inputs=tuple(tensors[:inputs]),
        outputs=tuple(tensors[inputs:]),
        threshold_q=threshold_q,
        arena_bytes=arena,
        working_bytes=working,
        state_bytes=state,
        macs=macs,
        frame_bytes=frame,
        stack_free_bytes=stack_free,
        heap_free_bytes=heap_free,
        heap_least_bytes=heap_least,
        uptime_us=uptime_us,
        damaged=damaged,
        layers=layers,
        board=board,
        runtime=runtime,
        model_name=model_name,
        build=build,
        reset_reason=reset_reason,
    )


def decode_decision(go: int, steer: int, left: int, centre: int, right: int) -> Decision:
    """Check a decision's fields. Raises MalformedAnswer."""
    expect(go in (0, 1) and abs(steer) <= 100, f"a decision with go {go} and steer {steer}")
    expect(max(left, centre, right) <= 1000, f"covers of {left}, {centre} and {right} thousandths")
    return Decision(bool(go), steer, left, centre, right)


def decode_judgement(payload: bytes) -> tuple[Decision, Stages]:
    """Decode the decision and the stages in INFER's answer for a picture. Raises MalformedAnswer."""
    *decision, capture_us, preprocessing_us, model_us, mask_us = unpack(_JUDGEMENT, payload, "INFER")
    return decode_decision(*decision), Stages(capture_us, preprocessing_us, model_us, mask_us)


def mask_row_bytes(width_px: int) -> int:
    return (width_px + 7) // 8
