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

INFO, WRITE, READ, INFER, GOLDEN, BENCH, CAPTURE, STREAM, RESTART = range(1, 10)
LOG_EVENT, STREAM_EVENT = 64, 65
INPUT, OUTPUT, FRAME, MASK = range(4)  # buffers
OTHER_BOOT, RANGE, STALE_MODEL, INPUT_DIFFERS, UNSUPPORTED = 4, 5, 6, 7, 8

# Number of an answer's status -> its name and what to try.
STATUSES: Mapping[int, tuple[str, str]] = {
    1: ("MALFORMED", "is its firmware older or newer than this tool? flash it again"),
    2: ("UNKNOWN", "its firmware is older than this tool: flash it again"),
    3: ("VERSION", "its firmware speaks another version of the protocol: flash it again"),
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
    """Shape and quantization of the model's input or output: real = scale * (q - zero_point)."""

    height_px: int
    width_px: int
    channels: int
    scale: float
    zero_point: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height_px, self.width_px, self.channels

    @property
    def size_bytes(self) -> int:
        return self.height_px * self.width_px * self.channels


@dataclass(frozen=True)
class DeviceInfo:
    """Model, build and memory of a device. `self_test`: "passed", "failed" or "not run". `layers`: 0 where not named.
    `judges_frames`: camera frames, its own or sent by the host, become masks there. `frame_bytes`: room for those sent
    by the host, 0 if there is none. Memory is 0 where not known. `damaged`: pieces that reached it as no frames."""

    protocol_version: int
    api_version: int
    board: str
    runtime: str
    model_name: str
    model_sha256: str
    input: TensorInfo
    output: TensorInfo
    threshold_q: int
    arena_bytes: int
    working_bytes: int
    macs: int
    build: str
    reset_reason: str
    self_test: str
    has_camera: bool
    counts_cycles: bool
    judges_frames: bool
    layers: int
    frame_bytes: int
    stack_free_bytes: int
    heap_free_bytes: int
    heap_least_bytes: int
    uptime_us: int
    damaged: int


@dataclass(frozen=True)
class Inference:
    """An inference's int8 `output` (height, width, channels), checked by CRC-32. `cycles` is 0 where not counted."""

    output: Int8Array
    time_us: int
    cycles: int


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

PIECE_LIMIT_BYTES = 251  # of a buffer, in WRITE and READ
HASH_PREFIX_BYTES = 8
INFO_NUMBERS = struct.Struct("<BBBB32s3H3HfifiiIIIIIIIQIH")
WRITE_HEAD = struct.Struct("<BI")
WRITE_ANSWER = struct.Struct("<BIH")
READ_REQUEST = struct.Struct("<BIH")
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

# More than any microcontroller has: beyond them an answer is no device's.
TENSOR_LIMIT_BYTES = 64 << 20
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


def _tensor(name: str, shape: Sequence[int], scale: float, zero_point: int) -> TensorInfo:
    height_px, width_px, channels = shape
    found = TensorInfo(height_px, width_px, channels, scale, zero_point)
    expect(0 < found.size_bytes <= TENSOR_LIMIT_BYTES, f"INFO's {name} of shape {found.shape}")
    expect(math.isfinite(scale) and scale > 0, f"INFO's {name} with scale {scale}")
    expect(-128 <= zero_point <= 127, f"INFO's {name} with zero point {zero_point}")
    return found


def decode_info(numbers: bytes, texts: Sequence[bytes], protocol_version: int) -> DeviceInfo:
    """Decode page 0 of INFO and pages 1 to 5, each with its number in front. Raises MalformedAnswer."""
    v = unpack(INFO_NUMBERS, numbers, "INFO")
    for page, payload in enumerate((numbers, *texts)):
        expect(payload[:1] == bytes([page]), f"INFO's page {page} is another one")
    expect(v[25] <= LAYERS_LIMIT, f"INFO's {v[25]} layers")
    board, runtime, model_name, build, reset_reason = (text(payload[1:]) for payload in texts)
    return DeviceInfo(
        protocol_version=protocol_version,
        self_test=_SELF_TESTS[v[1]] if v[1] < len(_SELF_TESTS) else f"state {v[1]}",
        has_camera=bool(v[2] & 1),
        counts_cycles=bool(v[2] & 2),
        judges_frames=bool(v[2] & 4),
        api_version=v[3],
        model_sha256=v[4].hex(),
        input=_tensor("input", v[5:8], v[11], v[12]),
        output=_tensor("output", v[8:11], v[13], v[14]),
        threshold_q=v[15],
        arena_bytes=v[16],
        working_bytes=v[17],
        macs=v[18],
        frame_bytes=v[19],
        stack_free_bytes=v[20],
        heap_free_bytes=v[21],
        heap_least_bytes=v[22],
        uptime_us=v[23],
        damaged=v[24],
        layers=v[25],
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
