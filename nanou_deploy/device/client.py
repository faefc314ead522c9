"""Ask a device: `with Device.open("/dev/ttyUSB0") as device: device.info()`."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from nanou_deploy.device.errors import (
    DeviceAbsent,
    DeviceError,
    DeviceRefused,
    DeviceReset,
    DeviceTimeout,
    LinkLost,
    StaleModel,
)
from nanou_deploy.device.messages import (
    CameraFrame,
    DeviceBench,
    DeviceInfo,
    Golden,
    Inference,
    Int8Array,
    StreamFrame,
    Vision,
)

__all__ = [
    "Device",
    "DeviceAbsent",
    "DeviceError",
    "DeviceRefused",
    "DeviceReset",
    "DeviceTimeout",
    "LinkLost",
    "StaleModel",
]


class Device:
    """A device behind one link. Every method returns what was asked for, whole and checked, or raises a DeviceError.

    No request takes longer than `timeout_s` (five times that where the device computes), times the link's own
    slowness, which is 1 but for simulators. `model_sha256`, where given, must be the device's: else StaleModel.
    """

    @classmethod
    def open(cls, address: str, *, timeout_s: float = 2.0, model_sha256: str | None = None) -> Device:
        """`address`: "/dev/ttyUSB0", "COM3", "tcp://127.0.0.1:5000", "exec:PROGRAM" (a child on a pty),
        "sim:IMAGE@CHIP". Raises DeviceAbsent where nothing answers in time."""
        raise NotImplementedError

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None: ...

    def info(self) -> DeviceInfo:
        """What runs there, asked now."""
        raise NotImplementedError

    def infer(self, frame: Int8Array) -> Inference:
        """`frame`: int8 model input, (height, width, channels) or flat."""
        raise NotImplementedError

    def infer_camera(self, rgb565: bytes, *, width_px: int, height_px: int, big_endian: bool) -> Vision:
        """Mask and decision for a camera frame that this computer sends. DeviceRefused where there is no room."""
        raise NotImplementedError

    def golden(self) -> Golden: ...

    def bench(self, inferences: int, *, per_layer: bool = False) -> DeviceBench:
        raise NotImplementedError

    def capture(self) -> CameraFrame:
        """One picture of the device's camera. DeviceRefused where it has none."""
        raise NotImplementedError

    def stream(self, *, seconds: float | None = None, picture: bool = True) -> Iterator[StreamFrame]:
        """Pictures, masks and decisions as the device runs, until `seconds` have passed or the caller stops."""
        raise NotImplementedError

    def logs(self) -> list[str]:
        """Lines that the device logged since the last call, oldest first."""
        raise NotImplementedError

    def restart(self) -> None:
        """Reset the device and wait until it answers again."""
        raise NotImplementedError
