"""Have a device predict: what its own camera sees, or pictures that are sent to it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.graph.model import CameraSize
from nanou_deploy.device.client import Device
from nanou_deploy.device.messages import Decision
from nanou_deploy.device.rgb565 import camera_frame, decode_rgb565
from nanou_deploy.predict.prediction import Prediction, empty_prediction
from nanou_deploy.predict.sources import Names, Shot


def seen_by_device(device: Device, names: Names) -> Generator[Prediction, None, None]:
    """Yield what a device's camera sees and what it decides, for ever. Raises DeviceError, as `Device.stream` does."""
    base = names.take("device")
    with closing(device.stream()) as frames:
        for number, frame in enumerate((one for one in frames if one.picture is not None), 1):
            assert frame.picture is not None
            size = CameraSize(frame.picture.width_px, frame.picture.height_px)
            pixels = decode_rgb565(frame.picture.pixels, size, big_endian=frame.picture.big_endian)
            shot = Shot(names.take(f"{base}_{number:06d}"), f"device picture {frame.number}", Image.fromarray(pixels))
            yield _prediction(shot, frame.mask, frame.width_px, frame.height_px, frame.decision)


def judged_by_device(device: Device, shots: Iterable[Shot], camera: CameraSize) -> Generator[Prediction, None, None]:
    """Send each picture as a frame of `camera`, and yield what the device makes of it. Raises DeviceError."""
    for shot in shots:
        data = camera_frame(shot.image, camera, big_endian=True)
        vision = device.infer_camera(data, width_px=camera.width_px, height_px=camera.height_px, big_endian=True)
        yield _prediction(shot, vision.mask, vision.width_px, vision.height_px, vision.decision)


def _prediction(shot: Shot, packed: bytes, width_px: int, height_px: int, decision: Decision) -> Prediction:
    rows = np.frombuffer(packed, np.uint8).reshape(height_px, -1)
    drivable: npt.NDArray[np.bool_] = np.unpackbits(rows, axis=1, count=width_px).astype(np.bool_)
    return replace(empty_prediction(shot), mask=drivable.astype(np.uint8), drivable=drivable, decision=decision)
