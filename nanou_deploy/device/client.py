"""Call a device's requests as methods: `with Device.open("/dev/ttyUSB0") as device: device.info()`."""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from nanou_deploy.device import messages as m
from nanou_deploy.device.errors import (
    CameraMismatch,
    DeviceAbsent,
    DeviceError,
    DeviceRefused,
    DeviceReset,
    DeviceTimeout,
    LinkLost,
    StaleModel,
    VersionMismatch,
)
from nanou_deploy.device.exchange import COMPUTING, Counters, Exchange, refusal
from nanou_deploy.device.frames import VERSION, Frame
from nanou_deploy.device.link import Link, open_link
from nanou_deploy.device.measuring import measure
from nanou_deploy.device.messages import (
    CameraFrame,
    DeviceBench,
    DeviceInfo,
    Golden,
    Inference,
    StreamFrame,
    Vision,
)
from nanou_deploy.device.motors import Motors, decode_motors
from nanou_deploy.device.streaming import StreamAssembler
from nanou_deploy.device.transfer import Buffer, Transfer, buffers_of, split, total_bytes
from nanou_deploy.device.tuning import Tuning, decode_tuning

__all__ = [
    "Device",
    "DeviceAbsent",
    "DeviceError",
    "DeviceRefused",
    "DeviceReset",
    "DeviceTimeout",
    "LinkLost",
    "StaleModel",
    "VersionMismatch",
]

_ROUNDS = 3  # of INFER, where what was written or read is not what should be there
_LEASE_S = 10
_SILENCE = 2  # times timeout_s: without a first picture for so long, the camera is asked why
_LOG_LINES = 1000
_FROM_HOST, _CAPTURED = 1, 2  # sources of INFER's picture


class Device:
    """A device behind one link. Every method returns what was asked for, whole and checked, or raises a DeviceError.

    How long a method may take, in units of `timeout_s` times the link's slowness (1 but for simulators): 1 for each
    request, 5 for one that runs the model, and 1 for each KiB that is transferred. Never longer.
    """

    def __init__(
        self,
        link: Link,
        *,
        timeout_s: float = 2.0,
        model_sha256: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Begin a session on a link that is open, as `open` does. The link is closed if this fails."""
        self._logs: deque[str] = deque(maxlen=_LOG_LINES)
        self._stream: StreamAssembler | None = None
        self._exchange = Exchange(link, timeout_s, self._on_event, stop)
        self._transfer = Transfer(self._exchange)
        try:
            self._info = self._introduce()
            if model_sha256 not in (None, self._info.model_sha256):
                raise StaleModel(
                    f"the device runs model {self._info.model_sha256[:12]}, not {str(model_sha256)[:12]}",
                    hint="flash the firmware again, or give the model that is on the device",
                )
        except BaseException:
            link.close()
            raise

    @classmethod
    def open(
        cls,
        address: str,
        *,
        timeout_s: float = 2.0,
        model_sha256: str | None = None,
        stop: threading.Event | None = None,
    ) -> Device:
        """`address`: "/dev/ttyUSB0", "COM3", "tcp://127.0.0.1:5000", "exec:PROGRAM" (a child on a pty),
        "sim:IMAGE@CHIP".

        Once `stop` is set, in whatever thread, every method ends with DeviceStopped.
        Raises DeviceAbsent where nothing answers in time, StaleModel where `model_sha256` is not the device's.
        """
        return cls(open_link(address), timeout_s=timeout_s, model_sha256=model_sha256, stop=stop)

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._exchange.link.close()

    @property
    def timeout_s(self) -> float:
        """How long to wait for an answer: what was given to `open`, times the link's slowness."""
        return self._exchange.timeout_s

    @timeout_s.setter
    def timeout_s(self, value: float) -> None:
        self._exchange.timeout_s = value

    @property
    def counters(self) -> Counters:
        """Count this session's requests, repetitions and frames that were damaged or answered something else."""
        return self._exchange.counters

    # ---- Questions ---------------------------------------------------------------------------------------------

    def info(self) -> DeviceInfo:
        """Ask the device what runs there."""
        numbers = self._exchange.ask(m.INFO, b"\0")
        texts = [self._exchange.ask(m.INFO, bytes([page])) for page in range(1, m.TENSOR_PAGE)]
        deadline = time.monotonic() + COMPUTING * self.timeout_s
        tensors = [self._tensor(number, deadline) for number in range(m.count_tensors(numbers))]
        self._info = m.decode_info(numbers, texts, tensors, VERSION)
        return self._info

    def _tensor(self, number: int, deadline: float) -> m.TensorInfo:
        return m.decode_tensor(self._exchange.ask(m.INFO, bytes([m.TENSOR_PAGE, number]), deadline=deadline), number)

    def _introduce(self) -> DeviceInfo:
        try:
            return self.info()
        except DeviceTimeout as error:
            raise DeviceAbsent(
                "nothing answers there that speaks this protocol",
                hint="is the firmware flashed? is the board in its boot loader? does another program use the port?",
            ) from error

    def infer(self, frame: npt.NDArray[Any]) -> Inference:
        """Run the model on `frame`: the values of its input, or the bytes of all inputs, one behind the other.

        DeviceError for another size. What the model keeps from one inference to the next goes on with each, until
        `reset`; after any other error it may have gone on or not.
        """
        data = np.ascontiguousarray(frame).tobytes()
        into, out = (buffers_of(*pair) for pair in ((m.INPUT, self._info.inputs), (m.OUTPUT, self._info.outputs)))
        if len(data) != total_bytes(into):
            shapes = ", ".join(f"{tensor.dtype} {tensor.shape}" for tensor in self._info.inputs)
            raise DeviceError(f"the model takes {total_bytes(into)} bytes, not {len(data)}", hint=f"it takes {shapes}")
        output, time_us, cycles, _ = self._infer(into, data, self._infer_request(0, data), out)
        parts = split(output, out)
        outputs = [
            np.frombuffer(part, tensor.dtype).reshape(tensor.shape)
            for part, tensor in zip(parts, self._info.outputs, strict=True)
        ]
        return Inference(tuple(outputs), time_us, cycles)

    def reset(self) -> None:
        """Set what the model keeps from one inference to the next to its initial value."""
        answer = self._exchange.ask(m.RESET, patience=COMPUTING)
        m.expect(not answer, f"RESET answers {len(answer)} bytes")

    def infer_camera(
        self, rgb565: bytes, *, width_px: int, height_px: int, big_endian: bool, drive: bool = False
    ) -> Vision:
        """Send a camera frame and get its mask and decision. DeviceRefused where the device has no room for it.

        The decision is by this picture alone; with `drive` (where `info().rehearses`) it is by all so far and by
        the code in user/, as if the camera had taken it, and the motors are told.
        """
        if len(rgb565) != 2 * width_px * height_px:
            raise DeviceError(f"{width_px}x{height_px} RGB565 pixels are not {len(rgb565)} bytes")
        if len(rgb565) > self._info.frame_bytes:
            raise refusal(m.UNSUPPORTED, f" (room for frames: {self._info.frame_bytes} bytes)")
        request = self._infer_request(_FROM_HOST, rgb565, width_px, height_px, big_endian)
        return self._vision(rgb565, request, m.REHEARSE if drive else m.INFER)

    def motors(self) -> Motors:
        """Ask what the motors are told, and why they are stopped. Driving goes on."""
        return decode_motors(self._exchange.ask(m.MOTORS))

    def tuning(self) -> Tuning:
        """Ask for the numbers that the device drives by, where `info().tunes`. Driving goes on."""
        return decode_tuning(self._exchange.ask(m.TUNE))

    def tune(self, tuning: Tuning) -> Tuning:
        """Have the device drive by other numbers until it starts again; return its own. It stops, and begins anew.

        Raises DeviceRefused for numbers that contradict those built in, such as how long a decision holds.
        """
        return decode_tuning(self._exchange.ask(m.TUNE, tuning.encode()))

    def golden(self) -> Golden:
        answer = self._exchange.ask(m.GOLDEN, patience=COMPUTING)
        passed, expected, actual, time_us, layer, _ = m.unpack(m.GOLDEN_ANSWER, answer, "GOLDEN")
        name = m.text(answer[m.GOLDEN_ANSWER.size :])
        return Golden(bool(passed), expected, actual, "" if layer == m.NO_LAYER else name, time_us)

    def bench(self, inferences: int, *, per_layer: bool = False) -> DeviceBench:
        """Measure inferences, each a request of its own. `per_layer`: as many traced ones besides."""
        return measure(self._exchange, inferences, self._info.layers if per_layer else 0)

    def capture(self) -> CameraFrame:
        """Take one picture with the device's camera. DeviceRefused where it has none."""
        width_px, height_px, big_endian, size_bytes, crc32 = self._captured()
        pixels = self._transfer.read([(m.FRAME, 0, size_bytes)], self._deadline(size_bytes))
        if zlib.crc32(pixels) != crc32:
            raise DeviceTimeout("the picture did not arrive whole", hint="does something else talk to the device?")
        return CameraFrame(pixels, width_px, height_px, bool(big_endian))

    def _captured(self) -> tuple[int, int, int, int, int]:
        """Width, height, byte order, size in bytes and CRC-32 of a picture that is in FRAME from now on."""
        answer = self._exchange.ask(m.CAPTURE, patience=COMPUTING)
        width_px, height_px, big_endian, size_bytes, crc32 = m.unpack(m.CAPTURE_ANSWER, answer, "CAPTURE")
        m.check_picture(width_px, height_px, size_bytes)
        return width_px, height_px, big_endian, size_bytes, crc32

    def stream(
        self, *, seconds: float | None = None, picture: bool = True, shrink: int = 1
    ) -> Generator[StreamFrame, None, None]:
        """Yield pictures, masks and decisions as the device runs, until `seconds` have passed or the caller stops.

        Of the picture every `shrink`-th pixel is sent both ways, 1 to 255: slow lines want few.
        Raises DeviceRefused where there is no camera, CameraMismatch where its pictures have another size than the
        model expects, MalformedAnswer, DeviceTimeout where nothing comes any more.
        """
        end = time.monotonic() + (1e30 if seconds is None else seconds)
        start = m.STREAM_REQUEST.pack(1, shrink if picture else 0, 0, _LEASE_S)
        renew, patience = 0.0, _SILENCE
        try:
            while (now := time.monotonic()) < end:
                if now >= renew:
                    self._exchange.ask(m.STREAM, start, patience=COMPUTING)
                    if not renew:  # what came before belongs to an earlier stream
                        assembler = self._stream = StreamAssembler(self._mask_size_px())
                        heard = time.monotonic()
                    renew = time.monotonic() + _LEASE_S / 3
                self._exchange.pump(min(0.1, end - now))
                while assembler.complete:
                    heard, patience = time.monotonic(), COMPUTING
                    yield assembler.complete.popleft()
                if assembler.fault is not None:
                    raise assembler.fault
                if time.monotonic() - heard > patience * self._exchange.timeout_s:
                    if patience == COMPUTING:
                        raise DeviceTimeout("no picture arrives whole", hint="use --shrink, or a faster line")
                    self._check_camera()
                    renew, patience = 0.0, COMPUTING
        finally:
            self._stop_stream()

    def _check_camera(self) -> None:
        """Raise CameraMismatch where the model refuses the camera's pictures for their size."""
        width_px, height_px, big_endian, _, crc32 = self._captured()
        request = m.INFER_REQUEST.pack(_CAPTURED, big_endian, width_px, height_px, self._model_prefix(), crc32)
        try:
            self._exchange.ask(m.INFER, request, patience=COMPUTING)
        except DeviceRefused as error:
            if error.status != m.RANGE:
                raise
            raise CameraMismatch(
                f"the device's camera gives pictures of {width_px}x{height_px}, its model was generated for another "
                "size",
                hint=f"build the firmware again with --camera {width_px}x{height_px}",
            ) from error

    def logs(self) -> list[str]:
        """Return the lines that the device logged since the last call, oldest first."""
        self._exchange.pump(0.0)
        lines = list(self._logs)
        self._logs.clear()
        return lines

    def restart(self) -> None:
        """Reset the device and wait until it answers again, as another boot. LinkLost where the port goes away."""
        before = self._exchange.boot
        try:
            self._exchange.ask(m.RESTART)
            deadline = time.monotonic() + COMPUTING * self._exchange.timeout_s
            while self._exchange.boot == before:
                try:
                    self._exchange.ask(m.INFO, b"\0")
                except DeviceTimeout:
                    if time.monotonic() > deadline:
                        raise
        except DeviceReset:
            pass
        self.info()

    # ---- Transfers ---------------------------------------------------------------------------------------------

    def _deadline(self, size_bytes: int, requests: int = 1) -> float:
        return time.monotonic() + self._exchange.timeout_s * (requests + -(-size_bytes // 1024))

    def _infer_request(
        self, source: int, data: bytes, width_px: int = 0, height_px: int = 0, big_endian: bool = False
    ) -> bytes:
        return m.INFER_REQUEST.pack(source, big_endian, width_px, height_px, self._model_prefix(), zlib.crc32(data))

    def _model_prefix(self) -> bytes:
        return bytes.fromhex(self._info.model_sha256)[: m.HASH_PREFIX_BYTES]

    def _infer(
        self, into: Sequence[Buffer], data: bytes, request: bytes, out: Sequence[Buffer], kind: int = m.INFER
    ) -> tuple[bytes, int, int, bytes]:
        """Run the model: its result, of the size of `out`, time in us, cycles, and what the answer has behind them."""
        result_bytes = total_bytes(out)
        deadline = self._deadline(len(data) + result_bytes, COMPUTING)
        for _ in range(_ROUNDS):
            self._transfer.write(into, data, deadline)
            try:
                answer = self._exchange.ask(kind, request, patience=COMPUTING, deadline=deadline)
            except DeviceRefused as error:
                if error.status != m.INPUT_DIFFERS:
                    raise
                refused = error
                continue
            source, crc32, size_bytes, time_us, cycles = m.unpack(m.INFER_ANSWER, answer, "INFER")
            m.expect(
                (source, size_bytes) == (request[0], result_bytes),
                f"INFER's result has {size_bytes} bytes, the model's has {result_bytes}",
            )
            output = self._transfer.read(out, deadline)
            if zlib.crc32(output) == crc32:
                return output, time_us, cycles, answer[m.INFER_ANSWER.size :]
            refused = DeviceRefused(
                "the result that was read is not the one that was computed",
                status=m.INPUT_DIFFERS,
                name="OUTPUT_DIFFERS",
                hint="does something else talk to the device?",
            )
            if self._info.state_bytes:  # a second inference would go on from where this one ended
                break
        raise refused

    def _vision(self, data: bytes, request: bytes, kind: int = m.INFER) -> Vision:
        width_px, height_px = self._mask_size_px()
        out = [(m.MASK, 0, m.mask_row_bytes(width_px) * height_px)]
        mask, time_us, cycles, rest = self._infer([(m.FRAME, 0, len(data))], data, request, out, kind)
        decision, stages = m.decode_judgement(rest)
        return Vision(mask, width_px, height_px, decision, time_us, cycles, stages)

    def _mask_size_px(self) -> tuple[int, int]:
        if not self._info.judges_frames:
            raise refusal(m.UNSUPPORTED, " (its model makes no masks)")
        return self._info.mask_size_px

    # ---- Events ------------------------------------------------------------------------------------------------

    def _on_event(self, frame: Frame) -> None:
        if frame.type == m.LOG_EVENT and len(frame.payload) >= m.LOG_HEAD.size:
            self._logs.append(m.text(frame.payload[m.LOG_HEAD.size :]))
        elif frame.type == m.STREAM_EVENT and self._stream is not None:
            self._stream.feed(frame.payload)

    def _stop_stream(self) -> None:
        self._stream = None
        with suppress(DeviceError):  # the lease ends it; and an earlier fault is what the caller should see
            self._exchange.ask(m.STREAM, m.STREAM_REQUEST.pack(0, 0, 0, 0))
