"""Decode and check the answer to MOTORS: what a device tells its motors, and why they are stopped."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nanou_deploy.device.messages import expect, unpack

_STATE = struct.Struct("<bbBBIIIB")
_CHANNEL = struct.Struct("<BII")
_CHANNELS_LIMIT = 16
# stop_reason_t of firmware/app/vehicle.h
REASONS = (
    "",
    "decided",
    "boot",
    "host",
    "self-test",
    "no camera",
    "camera failed",
    "wrong frame",
    "model failed",
    "stale",
    "timed out",
    "disarmed",
    "not set up",
    "tuned",
)


@dataclass(frozen=True)
class PwmChannel:
    """One output as it is now: how long the pulse is, and how long the period, in nanoseconds."""

    number: int
    period_ns: int
    pulse_ns: int

    @property
    def duty(self) -> float:
        """Share of the period, 0 to 1."""
        return self.pulse_ns / self.period_ns


@dataclass(frozen=True)
class Motors:
    """What the motors are told. `stop_reason`: "" while they run, else one of REASONS. `age_ms`: of the last GO.

    `timeouts`, `serial_bytes`: since power-on. `channels`: those that the code in user/ has set up.
    """

    go: bool
    steer: int
    stop_reason: str
    is_armed: bool
    age_ms: int
    timeouts: int
    serial_bytes: int
    channels: tuple[PwmChannel, ...]


def decode_motors(payload: bytes) -> Motors:
    """Decode the answer to MOTORS. Raises MalformedAnswer."""
    go, steer, reason, armed, age_ms, timeouts, serial_bytes, count = unpack(_STATE, payload, "MOTORS")
    expect(go in (0, 1) and abs(steer) <= 100 and (go or steer == 0), f"motors with go {go} and steer {steer}")
    expect((reason == 0) == (go == 1) and armed in (0, 1), f"motors with go {go} and reason {reason}")
    rest = payload[_STATE.size :]
    expect(count <= _CHANNELS_LIMIT and len(rest) == count * _CHANNEL.size, f"{count} PWM channels")
    channels = tuple(PwmChannel(*numbers) for numbers in _CHANNEL.iter_unpack(rest))
    for channel in channels:
        expect(0 <= channel.pulse_ns <= channel.period_ns > 0, f"a pulse of {channel.pulse_ns} ns")
    named = REASONS[reason] if reason < len(REASONS) else f"reason {reason}"
    return Motors(bool(go), steer, named, bool(armed), age_ms, timeouts, serial_bytes, channels)
