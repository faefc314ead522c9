"""Watch one device in a thread: turn what it sees into events, and open its line again where it breaks."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nanou_deploy.device.client import Device
from nanou_deploy.device.errors import (
    CameraMismatch,
    DeviceError,
    DeviceRefused,
    DeviceStopped,
    MalformedAnswer,
    StaleModel,
)
from nanou_deploy.device.messages import CameraFrame, DeviceInfo, Stages, StreamFrame
from nanou_deploy.device.tuning import Tuning
from nanou_deploy.errors import INTENDED_ERRORS, DeployError, IntendedError
from nanou_deploy.monitor.desk import Controls, Numbers
from nanou_deploy.monitor.events import Ended, Event, Facts, Fault, Lines, MotorsTold, Sight, Tuned
from nanou_deploy.monitor.frames import PictureFolder

_AGAIN_S = 1.0
_ATTEMPTS = 3  # at a device that has shown nothing yet
_LASTING = (CameraMismatch, DeviceRefused, MalformedAnswer, StaleModel)  # the same if the line is opened again
_MOTORS_S = 0.2  # between looks at the motors
_WINDOW = 20  # pictures over which the rate is measured

Sink = Callable[[Event], None]
NO_CAMERA_HINT = "this device has no camera: give it pictures with --frames FOLDER"


@dataclass(frozen=True)
class FeedOptions:
    """Options of a feed. `frames`: pictures to send to a device without camera. `limit`: end after so many.

    `least_s`: least time between two. `boot_s`: how long a device that was just flashed may take until it answers.
    `controls`: where numbers come from that it is to drive by. `motors`: ask what its motors do.
    """

    frames: PictureFolder | None = None
    timeout_s: float = 2.0
    shrink: int = 1
    limit: int | None = None
    least_s: float = 0.0
    model_sha256: str | None = None
    boot_s: float = 0.0
    controls: Controls | None = None
    motors: bool = True


class Feed:
    """A feed: `run` in a thread until `stop` is set; every event goes to `sink`, which must not block for long."""

    def __init__(self, address: str, sink: Sink, options: FeedOptions, device: Device | None = None) -> None:
        """`device`: the line, where it is open already; the feed closes it."""
        self._address, self._sink, self._options, self._device = address, sink, options, device
        self._arrivals: deque[float] = deque(maxlen=_WINDOW)
        self._seen, self._motors_due = 0, 0.0
        self._frames: Iterator[CameraFrame] | None = options.frames.play() if options.frames else None

    def run(self, stop: threading.Event) -> IntendedError | None:
        """Watch until the end, and return why there was one if it was no wish of ours.

        Raises defects alone: faults are events, and the last event is Ended.
        """
        error: IntendedError | None = None
        attempts = 0
        while not stop.is_set() and error is None:
            try:
                self._watch(stop)
                break
            except DeviceStopped:
                break
            except DeviceError as fault:
                attempts += 1
                if isinstance(fault, _LASTING) or (attempts == _ATTEMPTS and not self._seen):
                    error = fault
                else:
                    self._sink(Fault(self._address, fault))
                    self._arrivals.clear()
                    stop.wait(_AGAIN_S)
            except INTENDED_ERRORS as broken:  # a picture that cannot be read, a simulator that is not installed
                error = broken
        self._sink(Ended(self._address, error))
        return error

    def _watch(self, stop: threading.Event) -> None:
        options = self._options
        device, self._device = self._device, None
        if device is None:
            device = Device.open(
                self._address, timeout_s=options.timeout_s, model_sha256=options.model_sha256, stop=stop
            )
        with device:
            info = device.info()
            self._sink(Facts(self._address, info))
            if info.tunes:
                self._sink(Tuned(self._address, device.tuning()))
            if self._frames is None and not info.has_camera:
                raise _no_camera()
            for sight in self._sent(device, stop) if self._frames else self._streamed(device):
                self._sink(sight)
                lines = device.logs()
                if lines:
                    self._sink(Lines(self._address, tuple(lines)))
                self._attend(device, info)
                self._seen += 1
                if stop.is_set() or self._seen == options.limit:
                    return

    def _attend(self, device: Device, info: DeviceInfo) -> None:
        """Have the device drive by what was asked for, and look what its motors do where that is shown."""
        controls = self._options.controls
        if info.tunes and controls is not None and (wanted := controls.take(self._address)):
            self._sink(Tuned(self._address, *_tuned(device, wanted)))
        if self._options.motors and (info.rehearses or info.has_camera) and time.monotonic() >= self._motors_due:
            self._motors_due = time.monotonic() + _MOTORS_S
            try:
                self._sink(MotorsTold(self._address, device.motors()))
            except DeviceRefused:  # firmware that is older than this request
                self._motors_due = math.inf

    def _sent(self, device: Device, stop: threading.Event) -> Iterator[Sight]:
        """Send pictures and ask what the device makes of them."""
        assert self._frames is not None
        drives = device.info().rehearses  # then decisions are those of a drive, and the log says what motors would do
        for frame in self._frames:
            start = time.monotonic()
            size = {"width_px": frame.width_px, "height_px": frame.height_px}
            vision = device.infer_camera(frame.pixels, **size, big_endian=frame.big_endian, drive=drives)
            spent_us = round((time.monotonic() - start) * 1e6)
            stages = (*_stages(vision.stages), ("line", max(0, spent_us - vision.time_us)))
            yield Sight(
                self._address, self._seen, frame, vision.mask, vision.width_px, vision.height_px, vision.decision,
                self._rate(), 0.0, stages, vision.cycles, 0,
            )  # fmt: skip
            stop.wait(max(0.0, self._options.least_s - (time.monotonic() - start)))

    def _streamed(self, device: Device) -> Iterator[Sight]:
        """Stream what the device's own camera sees."""
        for frame in device.stream(shrink=self._options.shrink):
            yield self._of_stream(frame)

    def _of_stream(self, frame: StreamFrame) -> Sight:
        return Sight(
            self._address, frame.number, frame.picture, frame.mask, frame.width_px, frame.height_px, frame.decision,
            self._rate(), frame.fps, _stages(frame.stages), 0, frame.lost,
        )  # fmt: skip

    def _rate(self) -> float:
        """Pictures per second over the last ones, 0 before the second."""
        self._arrivals.append(time.monotonic())
        spent_s = self._arrivals[-1] - self._arrivals[0]
        return (len(self._arrivals) - 1) / spent_s if spent_s else 0.0


def _tuned(device: Device, wanted: Numbers) -> tuple[Tuning, str]:
    """Change numbers that the device drives by; return those that it has then, and why not others where it refuses."""
    tuning = device.tuning()
    try:
        asked = tuning.changed(wanted)
    except DeployError as wrong:
        return tuning, str(wrong)
    try:
        return device.tune(asked), ""
    except DeviceRefused as refused:  # alone: a line that breaks is a DeployError too
        return tuning, str(refused)


def _stages(stages: Stages) -> tuple[tuple[str, int], ...]:
    """(name, us) of the stages that took part."""
    named = {"camera": stages.capture_us, "preprocessing": stages.preprocessing_us, "model": stages.model_us,
             "mask": stages.mask_us}  # fmt: skip
    return tuple((name, time_us) for name, time_us in named.items() if time_us or name != "camera")


def _no_camera() -> DeployError:
    return DeployError("the device has no camera, so that it sees nothing by itself", hint=NO_CAMERA_HINT)
