"""A device in this process that answers as it should, but for one thing.

`open_link` in place of the client's own opens `hostile:BEHAVIOUR`. What is hostile is below; what should come of it is
in test_hostile.py.
"""

from __future__ import annotations

import math
import random
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from nanou_deploy.device import messages as m
from nanou_deploy.device.errors import LinkLost
from nanou_deploy.device.frames import FLAG_ANSWER, FLAG_EVENT, VERSION, Frame, FrameReader, encode
from tests.unit.test_sidecar import flatbuffer

MODEL = QuantizedModel("small", flatbuffer(), segmentation(Preprocessing(6, 8)))
HEIGHT, WIDTH, MASK_BYTES = 6, 8, 6
ESCAPES = b"\x1b]0;PWNED\x07\x1b[2J\x1b[?1049l\r\nfake line\x9b31m\xe2\x80\xae[/a][bold]<script>"
TEXTS = (b"board", b"aot", b"model", b"gcc 12", b"power-on")
INFO = {
    "self_test": 1, "features": 47, "api": 2, "sha": bytes.fromhex(MODEL.sha256), "inputs": 1,
    "outputs": 1, "state": 0, "frame": 1 << 17, "layers": 2,
}  # fmt: skip
# Of page TENSOR: number, type, sizes and quantization of the input; "out": of the output.
TENSOR = {"type": 0, "in": (1, HEIGHT, WIDTH, 3), "out": (1, HEIGHT, WIDTH, 1), "scale": 0.5, "zero": 0}
PICTURE = (4, 2)
MOTORS = struct.pack("<bbBBIIIB", 0, 0, 1, 1, 0, 0, 0, 1) + struct.pack("<BII", 0, 50_000, 0)
TUNING = struct.pack("<hHHHHHHHB", 0, 700, 550, 200, 100, 3, 500, 600, 1)


@dataclass
class HostileDevice:
    """A link with the device behind it. `change` are answers by request, or parts of them."""

    change: dict[Any, Any] = field(default_factory=dict)
    slowness: float = 1.0

    def __post_init__(self) -> None:
        self._reader, self._out = FrameReader(), bytearray()
        self._boot, self._events = 7, 0
        self._stream: int | None = None
        self._written: dict[int, bytes] = {}

    # ---- The link ----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if "write" in self.change:
            self.change["write"]()
        for request in self._reader.feed(data):
            self._take(request)

    def read(self, timeout_s: float) -> bytes:
        if "read" in self.change:
            time.sleep(0.001)  # no line is faster
            self._out += self.change["read"](self)
        if self._stream is not None and not self._out:
            self._send_picture()
        if not self._out:
            time.sleep(timeout_s)
        data, self._out = bytes(self._out[:4096]), self._out[4096:]
        return data

    def close(self) -> None:
        self._out.clear()

    # ---- Answers -----------------------------------------------------------------------------------------------

    def _take(self, request: Frame) -> None:
        answer = self.change.get(request.type, lambda _device, _request: None)(self, request)
        if answer is None:
            answer = self._answer(request)
        if isinstance(answer, bytes):
            self.send(request, answer)

    def send(self, request: Frame, payload: bytes, status: int = 0, **other: int) -> None:
        self._boot += self.change.get("boot", 0)
        given = {"type": request.type, "sequence": request.sequence, "flags": FLAG_ANSWER, "status": status, **other}
        self._out += encode(Frame(payload=payload, boot=self._boot, **given))

    def event(self, kind: int, payload: bytes) -> None:
        self._events += 1
        self._out += encode(Frame(kind, self._events, payload, flags=FLAG_EVENT, boot=self._boot))

    def _answer(self, request: Frame) -> bytes:
        payload = request.payload
        match request.type:
            case m.INFO:
                return self._tensor(payload[1]) if payload[0] == m.TENSOR_PAGE else self._info(payload[0])
            case m.WRITE:
                return m.WRITE_ANSWER.pack(*m.WRITE_HEAD.unpack_from(payload), len(payload) - m.WRITE_HEAD.size)
            case m.READ:
                *place, count = m.READ_REQUEST.unpack(payload)
                return m.WRITE_HEAD.pack(*place) + bytes(count)
            case m.INFER:
                return self._inference(payload[0])
            case m.GOLDEN:
                return m.GOLDEN_ANSWER.pack(1, 2, 2, 3, m.NO_LAYER, 0) + self.change.get("name", b"")
            case m.BENCH:
                return self._bench(*m.BENCH_REQUEST.unpack(payload))
            case m.CAPTURE:
                return m.CAPTURE_ANSWER.pack(*PICTURE, 0, 16, zlib.crc32(bytes(16)))
            case m.STREAM:
                self._stream = 0 if payload[0] else None
                return payload
            case m.MOTORS:
                return MOTORS
            case m.TUNE:
                return TUNING
        return b""

    def _info(self, page: int) -> bytes:
        if page:
            return bytes([page]) + self.change.get("text", TEXTS[page - 1])
        v = INFO | self.change.get("info", {})
        return m.INFO_NUMBERS.pack(
            0, v["self_test"], v["features"], v["api"], v["sha"], v["inputs"], v["outputs"], 0,
            100, 100, v["state"], 60, v["frame"], 0, 0, 0, 123, 0, v["layers"],
        )  # fmt: skip

    def _tensor(self, number: int) -> bytes:
        v = TENSOR | self.change.get("tensor", {})
        shape = v["in" if number < (INFO | self.change.get("info", {}))["inputs"] else "out"]
        size_bytes = v.get("size", math.prod(shape)) % 2**32
        about = (v.get("number", number), v["type"], v.get("rank", len(shape)), size_bytes, v["scale"], v["zero"])
        head = m.INFO_TENSOR.pack(m.TENSOR_PAGE, *about)
        return head + struct.pack(f"<{len(shape)}I", *shape) + self.change.get("text", b"tensor")

    def _inference(self, source: int) -> bytes:
        size = HEIGHT * WIDTH if source == 0 else MASK_BYTES
        head = m.INFER_ANSWER.pack(source, zlib.crc32(bytes(size)), size, 900, 0)
        return head + (b"" if source == 0 else struct.pack("<bbHHH4I", 1, 5, 1, 2, 3, 0, 1, 2, 3))

    def _bench(self, what: int, layer: int) -> bytes:
        if what == 2:
            return m.BENCH_LAYER.pack(2, layer, layer, 9) + self.change.get("name", b"layer")
        return m.BENCH_ANSWER.pack(what, 900, 0) + bytes(2)

    def _send_picture(self) -> None:
        assert self._stream is not None
        self._stream += 1
        number = self._stream
        head = {"mask": (WIDTH, HEIGHT), "decision": (1, 5, 1, 2, 3), "picture": PICTURE} | self.change.get("head", {})
        across, down = head["picture"]
        mask = bytes(min(1 << 16, m.mask_row_bytes(head["mask"][0]) * head["mask"][1]))
        pixels = bytes(min(1 << 16, 2 * across * down))
        numbers = (*head["mask"], zlib.crc32(mask), *head["decision"], 100, across, down, 0, zlib.crc32(pixels))
        self.event(m.STREAM_EVENT, struct.pack("<BI", 0, number) + m.STREAM_HEAD.pack(*numbers, 0, 1, 2, 3))
        for kind, data in ((1, mask), (2, pixels)):
            for offset in range(0, len(data), 240):
                self.event(m.STREAM_EVENT, struct.pack("<BII", kind, number, offset) + data[offset : offset + 240])
        if "log" in self.change:
            self.event(m.LOG_EVENT, struct.pack("<BI", 2, 1) + self.change["log"])


# ---- Behaviours ------------------------------------------------------------------------------------------------

Change = Callable[[], dict[Any, Any]]


def _lost() -> None:
    raise LinkLost("the line is gone")


def _noise(seed: int = 1) -> Callable[[HostileDevice], bytes]:
    rng = random.Random(seed)
    return lambda _device: rng.randbytes(4096)


def _flood(kind: int, payload: bytes, version: int = VERSION) -> Callable[[HostileDevice], bytes]:
    frame = encode(Frame(kind, 1, payload, flags=FLAG_EVENT, boot=7, version=version))
    return lambda _device: frame * (4096 // len(frame))


def _answers(payload: bytes, *kinds: int) -> dict[Any, Any]:
    return {kind: lambda _device, _request: payload for kind in kinds}


def _sends(**frame: int) -> Callable[[HostileDevice, Frame], object]:
    def send(device: HostileDevice, request: Frame) -> object:
        device.send(request, b"", **frame)
        return 0  # no answer besides

    return send


def _nothing(_device: HostileDevice, _request: Frame) -> object:
    return 0


def _twice(device: HostileDevice, request: Frame) -> None:
    device.send(request, device._answer(request))


def _another(kind: int) -> dict[Any, Any]:
    def send(device: HostileDevice, request: Frame) -> object:
        device.send(request, device._answer(request), sequence=request.sequence + 1)
        return 0

    return {kind: send}


_ALL = range(1, 14)
_HEAD = "<BI"
_BIG_HEAD = struct.pack("<BI", 0, 9) + m.STREAM_HEAD.pack(8000, 1000, 0, 1, 5, 1, 2, 3, 100, 800, 600, 0, 0, 1, 2, 3, 4)

BEHAVIOURS: dict[str, dict[Any, Any]] = {
    # The line
    "sound": {},
    "silent": dict.fromkeys(_ALL, _nothing),
    "closed at once": {"write": _lost},
    "noise": {"read": _noise(), **dict.fromkeys(_ALL, _nothing)},
    "noise beside answers": {"read": lambda device: b"" if device._out else _noise()(device)},
    "zeros": {"read": lambda _device: bytes(4096), **dict.fromkeys(_ALL, _nothing)},
    "no zeros": {"read": lambda _device: b"\x01\xff" * 2048, **dict.fromkeys(_ALL, _nothing)},
    "another sequence": _another(m.INFO),
    "another type": {m.INFO: _sends(type=200)},
    "a newer version": {m.INFO: _sends(version=9, status=3)},
    "an older version": {m.INFO: _sends(version=1, status=3)},
    "our version, it says not": {m.INFO: _sends(status=3)},
    "events of another version": {"read": _flood(m.LOG_EVENT, struct.pack("<BI", 2, 1) + b"A" * 200, version=1)},
    "every answer twice": dict.fromkeys(_ALL, _twice),
    "another boot each time": {"boot": 1},
    "an unknown status": {m.INFO: _sends(status=200)},
    "flood of logs": {"read": _flood(m.LOG_EVENT, struct.pack(_HEAD, 2, 1) + b"A" * 200)},
    "flood of heads": {"read": _flood(m.STREAM_EVENT, _BIG_HEAD)},
    "empty events": {"read": _flood(m.LOG_EVENT, b"")},
    # INFO
    "INFO of no bytes": _answers(b"", m.INFO),
    "INFO of one byte": _answers(b"\0", m.INFO),
    "INFO of another page": _answers(bytes([9]) * 200, m.INFO),
    "no inputs": {"info": {"inputs": 0}},
    "no outputs": {"info": {"outputs": 0}},
    "510 tensors": {"info": {"inputs": 255, "outputs": 255}},
    "two inputs": {"info": {"inputs": 2}},
    "no pixels": {"tensor": {"in": (1, 0, 0, 0)}},
    "no output": {"tensor": {"out": (1, 0, 8, 1)}},
    "huge tensors": {"tensor": {"in": (2**32 - 1,) * 8}},
    "tensors whose product wraps": {"tensor": {"in": (1, 2**31, 2, 2**31)}},
    "254 tensors of 64 MiB": {"info": {"inputs": 253}, "tensor": {"in": (64 << 20,)}},
    "tensors of another size": {"tensor": {"size": 12}},
    "rank 9": {"tensor": {"in": (1,) * 9}},
    "rank 8 of 4 dimensions": {"tensor": {"rank": 8}},
    "rank 255": {"tensor": {"rank": 255}},
    "rank 0": {"tensor": {"in": (), "out": ()}},
    "an unknown type": {"tensor": {"type": 77}},
    "float32 for int8": {"tensor": {"type": 4, "size": 1}},
    "another tensor": {"tensor": {"number": 9}},
    "masks of no image": {"tensor": {"out": (48,)}},
    "scale NaN": {"tensor": {"scale": float("nan")}},
    "scale 0": {"tensor": {"scale": 0.0}},
    "scale below 0": {"tensor": {"scale": -1.0}},
    "zero point of 32 bits": {"tensor": {"zero": 2**31 - 1}},
    "4 GiB of state": {"info": {"state": 2**32 - 1}},
    "65535 layers": {"info": {"layers": 65535}},
    "an unknown self-test": {"info": {"self_test": 77}},
    "no camera": {"info": {"features": 46}},
    "no room for frames": {"info": {"frame": 0}},
    "another model": {"info": {"sha": bytes(32)}},
    "other tensors than the model's": {"tensor": {"in": (1, 6, 9, 3)}},
    "another shape than the model's": {"tensor": {"in": (1, 8, 6, 3)}},
    "escapes as texts": {"text": ESCAPES, "name": ESCAPES, "log": ESCAPES},
    "texts that are no UTF-8": {"text": b"\xff\xfe\x80", "name": b"\xc3\x28", "log": b"\xff"},
    # Streams
    "a mask of no size": {"head": {"mask": (0, 0)}},
    "a mask of another size": {"head": {"mask": (16, 3)}},
    "a wide mask": {"head": {"mask": (65535, 1)}},
    "a tall mask": {"head": {"mask": (1, 65535)}},
    "a picture without width": {"head": {"picture": (0, 5)}},
    "a picture of 4 gigapixels": {"head": {"picture": (65535, 65535)}},
    "covers beyond 1": {"head": {"decision": (1, 5, 65535, 65535, 65535)}},
    "steering beyond 100": {"head": {"decision": (1, -128, 1, 2, 3)}},
    "never a picture": {"head": {"picture": (0, 0)}},
    "a stream of nothing": {m.STREAM: lambda _device, request: request.payload},
    "a camera of another size": {
        m.STREAM: lambda _device, request: request.payload,
        m.INFER: lambda device, request: device.send(request, b"", 5) or 0 if request.payload[0] == 2 else None,
    },
    # MOTORS and TUNE
    "MOTORS is not known": {m.MOTORS: _sends(status=2)},
    "MOTORS of no bytes": _answers(b"", m.MOTORS),
    "200 PWM channels": _answers(MOTORS[:16] + b"\xc8" + bytes(9), m.MOTORS),
    "a pulse longer than its period": _answers(MOTORS[:-4] + b"\xff" * 4, m.MOTORS),
    "motors that go and are stopped": _answers(b"\1" + MOTORS[1:], m.MOTORS),
    "TUNE of no bytes": _answers(b"", m.TUNE),
    "a policy that contradicts itself": _answers(TUNING[:2] + bytes(2) + TUNING[4:], m.TUNE),
    "a threshold of 16 bits": _answers(b"\xff\x7f" + TUNING[2:], m.TUNE),
    # CAPTURE and READ
    "CAPTURE of one byte": _answers(b"\1", m.CAPTURE),
    "CAPTURE of 4 GiB": _answers(m.CAPTURE_ANSWER.pack(65535, 32769, 0, 2**32 - 1, 0), m.CAPTURE),
    "CAPTURE of nothing": _answers(m.CAPTURE_ANSWER.pack(0, 0, 0, 0, 0), m.CAPTURE),
    "CAPTURE of another size": _answers(m.CAPTURE_ANSWER.pack(100, 100, 0, 16, zlib.crc32(bytes(16))), m.CAPTURE),
    "CAPTURE with another CRC": _answers(m.CAPTURE_ANSWER.pack(*PICTURE, 0, 16, 1), m.CAPTURE),
    "READ of one byte": _answers(b"\1", m.READ),
    "READ of 256 bytes": _answers(bytes(256), m.READ),
    "READ of another place": {
        m.READ: lambda _device, request: m.WRITE_HEAD.pack(3, 0, 5) + bytes(m.READ_REQUEST.unpack(request.payload)[3])
    },
    "READ of other bytes": {
        m.READ: lambda _device, request: request.payload[:6] + b"\1" * m.READ_REQUEST.unpack(request.payload)[3]
    },
    "WRITE elsewhere": _answers(m.WRITE_ANSWER.pack(3, 0, 5, 1), m.WRITE),
    # INFER, GOLDEN and BENCH
    "INFER of no bytes": _answers(b"", m.INFER),
    "INFER of 4 GiB": _answers(m.INFER_ANSWER.pack(0, 0, 2**32 - 1, 1, 1) + bytes(24), m.INFER),
    "INFER of 2 bytes": _answers(m.INFER_ANSWER.pack(0, zlib.crc32(bytes(2)), 2, 1, 1) + bytes(24), m.INFER),
    "INFER without a decision": {
        m.INFER: lambda _device, request: m.INFER_ANSWER.pack(
            request.payload[0], zlib.crc32(bytes(MASK_BYTES)), MASK_BYTES, 1, 1
        )
    },
    "a decision beyond bounds": {
        m.INFER: lambda device, request: device._answer(request)[:17] + b"\x07\x7f" + b"\xff" * 22
    },
    "RESET of some bytes": _answers(b"\1", m.RESET),
    "GOLDEN of no bytes": _answers(b"", m.GOLDEN),
    "GOLDEN fails": _answers(m.GOLDEN_ANSWER.pack(0, 1, 2, 3, 1, 1) + ESCAPES, m.GOLDEN),
    "BENCH of no bytes": _answers(b"", m.BENCH),
    "BENCH of no time": {
        m.BENCH: lambda _device, request: request.payload[:1] + bytes(10) if request.payload[0] != 2 else None
    },
    "BENCH of something else": _answers(m.BENCH_ANSWER.pack(9, 1, 1), m.BENCH),
    "BENCH of another layer": {
        m.BENCH: lambda _device, request: m.BENCH_LAYER.pack(2, 9, 9, 9) if request.payload[0] == 2 else None
    },
    "refuses all": {kind: _sends(status=8) for kind in range(2, 11)},
    "silent after INFO": dict.fromkeys(range(2, 11), _nothing),
}  # fmt: skip


def open_hostile(address: str) -> HostileDevice:
    """Open `hostile:BEHAVIOUR`."""
    return HostileDevice(BEHAVIOURS[address.partition(":")[2]])
