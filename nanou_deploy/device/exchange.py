"""Exchange requests and answers over a link that may lose, repeat and damage bytes (docs/PROTOCOL.md, "Asking").

Time-outs follow the line as TCP's do: what an answer takes, measured on requests that were sent once (Karn's rule),
times a factor, between bounds.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nanou_deploy.device.errors import (
    DeviceRefused,
    DeviceReset,
    DeviceStopped,
    DeviceTimeout,
    StaleModel,
    VersionMismatch,
)
from nanou_deploy.device.frames import FLAG_ANSWER, FLAG_EVENT, VERSION, Frame, FrameReader, encode
from nanou_deploy.device.link import Link
from nanou_deploy.device.messages import OTHER_BOOT, STALE_MODEL, STATUSES

COMPUTING = 5  # times timeout_s: requests that run the model
_RETRY_FACTOR, _RETRY_LEAST_S = 4.0, 0.005
_TRIES_LEAST = 5  # within a time-out, however long answers took before
_LISTEN_S = 0.2  # at a time, so that whoever sets `stop` need not wait long


@dataclass
class Counters:
    """Counts of requests, repetitions, and frames that were damaged or answered something else, in one session."""

    requests: int = 0
    repeated: int = 0
    damaged: int = 0
    foreign: int = 0  # answers to something that is not being asked


def refusal(status: int, detail: str = "") -> DeviceRefused:
    """Make the error for an answer's status other than OK."""
    name, hint = STATUSES.get(status, (f"status {status}", "is its firmware newer than this tool?"))
    return DeviceRefused(f"the device refused: {name}{detail}", status=status, name=name, hint=hint)


class Exchange:
    """One device behind `link`. `boot` is 0 until an answer tells it; `on_event` gets LOG and STREAM frames.

    Once `stop` is set, whatever is being asked ends with DeviceStopped within a fraction of a second.
    """

    def __init__(
        self, link: Link, timeout_s: float, on_event: Callable[[Frame], None], stop: threading.Event | None = None
    ) -> None:
        self.link = link
        self.stop = stop or threading.Event()
        self.timeout_s = timeout_s * link.slowness
        self.boot = 0
        self.counters = Counters()
        self._on_event = on_event
        self._reader = FrameReader()
        self._frames: deque[Frame] = deque()
        self._sequence = random.SystemRandom().getrandbits(32)
        self._heard = time.monotonic()
        self._answer_s = {1: self.timeout_s / 32, COMPUTING: self.timeout_s / 4}

    def ask(
        self, kind: int, payload: bytes = b"", *, patience: int = 1, tries: int | None = None, deadline: float = 1e30
    ) -> bytes:
        """Send a request until it is answered, `tries` times at most, and return the answer's payload.

        Waits `patience` times timeout_s in all, but not past `deadline` (time.monotonic).
        Raises DeviceTimeout, DeviceReset, StaleModel, VersionMismatch, DeviceRefused, LinkLost.
        """
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        request = Frame(kind, self._sequence, payload, boot=self.boot)
        deadline = min(deadline, time.monotonic() + self.timeout_s * patience)
        longest_s = self.timeout_s * patience / _TRIES_LEAST
        wait_s = min(longest_s, max(_RETRY_LEAST_S * self.link.slowness, _RETRY_FACTOR * self._answer_s[patience]))
        self.counters.requests += 1
        sent = 0
        while (now := time.monotonic()) < deadline and (tries is None or sent < tries):
            self.link.write(encode(request))
            sent += 1
            answer = self._await(request, min(deadline, now + wait_s))
            if answer is not None:
                if sent == 1:
                    self._answer_s[patience] += (time.monotonic() - now - self._answer_s[patience]) / 8
                return self._accept(answer)
            self.counters.repeated += 1
            wait_s = min(1.5 * wait_s, longest_s)
        raise DeviceTimeout(
            f"the device did not answer request {kind}, sent {sent} times",
            hint="a noisy or slow line, or a device that hangs: reset it, or give more time with --timeout",
        )

    def pump(self, timeout_s: float) -> None:
        """Take what arrives within `timeout_s`; events go to `on_event`."""
        deadline = time.monotonic() + timeout_s
        self._receive(timeout_s)
        while self._frames:
            self._event(self._frames.popleft())
            if time.monotonic() > deadline:
                break

    def _await(self, request: Frame, until: float) -> Frame | None:
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.flags & FLAG_ANSWER and (frame.type, frame.sequence) == (request.type, request.sequence):
                    return frame
                self._event(frame)
            remaining_s = until - time.monotonic()
            if remaining_s <= 0:
                return None
            self._receive(remaining_s)

    def _receive(self, timeout_s: float) -> None:
        if self.stop.is_set():
            raise DeviceStopped("stopped")
        before = len(self._frames)
        self._frames.extend(self._reader.feed(self.link.read(min(max(0.0, timeout_s), _LISTEN_S))))
        if len(self._frames) > before:
            self._heard = time.monotonic()
        self.counters.damaged = self._reader.damaged

    @property
    def is_silent(self) -> bool:
        """Whether nothing whole has come for longer than any request may take."""
        return time.monotonic() - self._heard > COMPUTING * self.timeout_s

    def _event(self, frame: Frame) -> None:
        if not frame.flags & FLAG_EVENT or frame.version != VERSION:
            self.counters.foreign += 1
            return
        self._on_event(frame)
        self._check_boot(frame)

    def _accept(self, answer: Frame) -> bytes:
        if answer.version != VERSION:
            raise VersionMismatch(answer.version, VERSION)
        self._check_boot(answer)
        if answer.status == 0:
            return answer.payload
        if answer.status == STALE_MODEL:
            raise StaleModel(
                "the device runs another model than the one that is asked for",
                hint="flash the firmware again, or give the model that is on the device",
            )
        raise refusal(answer.status, f" (model status {answer.payload[0]})" if answer.payload else "")

    def _check_boot(self, frame: Frame) -> None:
        """Learn a first boot number; take another one for a reset, and learn it, so that asking can go on."""
        known, self.boot = self.boot, frame.boot
        if known not in (0, frame.boot) or (frame.status == OTHER_BOOT and frame.flags & FLAG_ANSWER):
            raise DeviceReset(
                "the device was reset in the middle of what it was asked",
                hint="its power or its program: `info` tells the reason of the last reset",
            )
