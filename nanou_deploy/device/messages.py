"""What devices answer, as frozen dataclasses. docs/PROTOCOL.md has the layouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int8Array = npt.NDArray[np.int8]


@dataclass(frozen=True)
class TensorInfo:
    """One frame: real = scale * (q - zero_point)."""

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
    """What runs there. `self_test`: "passed", "failed" or "not run". `layers`: how many the library names, 0 unknown.
    `frame_bytes`: room for camera frames sent by the host, 0 if there is none. Memory is 0 where not known."""

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
    layers: int
    frame_bytes: int
    stack_free_bytes: int
    heap_free_bytes: int
    heap_least_bytes: int
    uptime_us: int


@dataclass(frozen=True)
class Inference:
    """int8 `output` of shape (height, width, channels), checked by its CRC-32. `cycles` is 0 where not counted."""

    output: Int8Array
    time_us: int
    cycles: int


@dataclass(frozen=True)
class Decision:
    """What navigation made of one mask: `steer` -100 (left) to 100 (right), covers in thousandths."""

    go: bool
    steer: int
    left_permille: int
    centre_permille: int
    right_permille: int


@dataclass(frozen=True)
class Vision:
    """From a camera frame: `mask` is bit-packed, each row in whole bytes, leftmost pixel in bit 7 (np.packbits)."""

    mask: bytes
    width_px: int
    height_px: int
    decision: Decision
    time_us: int
    cycles: int


@dataclass(frozen=True)
class Golden:
    """The golden input run on the device. `layer` names the first that differs, "" if none or not known."""

    passed: bool
    expected_crc32: int
    actual_crc32: int
    layer: str
    time_us: int


@dataclass(frozen=True)
class LayerBench:
    """One layer of the library on the device. `cycles` is the least of all traced inferences."""

    name: str
    operator_index: int
    cycles: int


@dataclass(frozen=True)
class DeviceBench:
    """Whole inferences: least, mean and largest. `layers` is empty unless asked for; traced inferences are slower, so
    that their sum exceeds `best_cycles`. Cycles are 0 where not counted."""

    inferences: int
    best_us: int
    mean_us: float
    worst_us: int
    best_cycles: int
    mean_cycles: float
    layers: tuple[LayerBench, ...] = ()


@dataclass(frozen=True)
class CameraFrame:
    """RGB565, two bytes for each pixel, rows without gaps."""

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
