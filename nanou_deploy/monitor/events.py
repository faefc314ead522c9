"""Define the events of a feed: facts of a device, pictures it judged, its motors and log, and faults of the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.graph.model import CameraSize
from nanou_deploy.device.messages import CameraFrame, Decision, DeviceInfo
from nanou_deploy.device.motors import Motors
from nanou_deploy.device.rgb565 import decode_rgb565
from nanou_deploy.device.tuning import Tuning
from nanou_deploy.errors import IntendedError

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Facts:
    """The device answers. `info` is what it says about itself."""

    address: str
    info: DeviceInfo


@dataclass(frozen=True)
class Sight:
    """One picture as the device judged it.

    `picture` is None where it was not asked for or lost. `mask` is bit-packed (np.packbits, rows in whole bytes).
    `fps` is what arrives here, `device_fps` what the device states, 0 if it does not. `stages_us` are its own times by
    stage, then "line": what the exchange took besides.
    """

    address: str
    number: int
    picture: CameraFrame | None
    mask: bytes
    width_px: int
    height_px: int
    decision: Decision
    fps: float
    device_fps: float
    stages_us: tuple[tuple[str, int], ...]
    cycles: int
    lost: int

    def pixels(self) -> Pixels | None:
        """uint8 (H, W, 3)."""
        if self.picture is None:
            return None
        size = CameraSize(self.picture.width_px, self.picture.height_px)
        return decode_rgb565(self.picture.pixels, size, big_endian=self.picture.big_endian)

    def drivable(self) -> Mask:
        """bool (height_px, width_px)."""
        rows = np.frombuffer(self.mask, np.uint8).reshape(self.height_px, -1)
        return np.unpackbits(rows, axis=1, count=self.width_px).astype(np.bool_)


@dataclass(frozen=True)
class Lines:
    """What the device logged, oldest first."""

    address: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class MotorsTold:
    """What the motors are told, and their PWM."""

    address: str
    motors: Motors


@dataclass(frozen=True)
class Tuned:
    """The numbers that the device drives by. `error`: why those that were asked for last are not among them."""

    address: str
    tuning: Tuning
    error: str = ""


@dataclass(frozen=True)
class Fault:
    """The line broke; the feed tries again."""

    address: str
    error: IntendedError


@dataclass(frozen=True)
class Ended:
    """Nothing more comes from this address: all was seen, or `error` says why no more can be."""

    address: str
    error: IntendedError | None = None


Event = Facts | Sight | Lines | MotorsTold | Tuned | Fault | Ended
