"""Save devices' pictures as files of a data set. What is there is never overwritten, and no half picture is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.atomic_files import replacing
from codegen.graph.model import CameraSize
from nanou_deploy.device.client import Device
from nanou_deploy.device.errors import DeviceTimeout
from nanou_deploy.device.exchange import COMPUTING
from nanou_deploy.device.messages import CameraFrame
from nanou_deploy.device.rgb565 import decode_rgb565
from nanou_deploy.device.side_by_side import run_side_by_side
from nanou_deploy.errors import DeployError

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Recording:
    """The place of one device's pictures: FOLDER/img/SESSION_000001.png, and masks of the same names if wanted."""

    folder: Path
    session: str

    def save(self, number: int, frame: CameraFrame, mask: Mask | None = None) -> Path:
        """Write one picture, and `mask` (bool (H, W)), scaled to the picture's size, as 0 and 255.

        Raises DeployError where it is there already or cannot be written.
        """
        size = CameraSize(frame.width_px, frame.height_px)
        picture = Image.fromarray(decode_rgb565(frame.pixels, size, big_endian=frame.big_endian))
        name = f"{self.session}_{number:06d}.png"
        if mask is not None:
            labels = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
            _write_new(self.folder / "mask" / name, labels)
        path = self.folder / "img" / name
        _write_new(path, picture)
        return path


def session_name(now: datetime | None = None) -> str:
    """Name a recording by its time: `drive_20260131T120000Z`."""
    return (now or datetime.now(UTC)).strftime("drive_%Y%m%dT%H%M%SZ")


def record(
    sessions: Mapping[str, str],
    folder: Path,
    count: int,
    *,
    interval_s: float,
    with_masks: bool,
    timeout_s: float,
    progress: Callable[[str], None],
) -> list[Path]:
    """Save `count` pictures from each device, all devices at once, as session names of `sessions` by address.

    Returns the files, sorted. Raises the first DeployError of any device; what was saved before stays.
    """
    stop = threading.Event()

    def one(address: str, session: str) -> list[Path]:
        saved: list[Path] = []
        with Device.open(address, timeout_s=timeout_s, stop=stop) as device:
            for frame, mask in captured(device, with_mask=with_masks, interval_s=interval_s, stop=stop):
                saved.append(Recording(folder, session).save(len(saved) + 1, frame, mask))
                progress(f"{saved[-1]}")
                if len(saved) == count:
                    break
        return saved

    results = run_side_by_side([partial(one, *session) for session in sessions.items()], stop)
    return sorted(path for paths in results for path in paths)


def captured(
    device: Device, *, with_mask: bool, interval_s: float, stop: threading.Event
) -> Iterator[tuple[CameraFrame, Mask | None]]:
    """Yield pictures of the device's camera, at least `interval_s` apart; with its mask, bool (H, W), if asked.

    Raises DeviceError, DeviceRefused among them where there is no camera.
    """
    while not with_mask:
        yield device.capture(), None
        stop.wait(interval_s)
    due, heard = 0.0, time.monotonic()
    for frame in device.stream():
        if frame.picture is None:
            if time.monotonic() - heard > COMPUTING * device.timeout_s:
                raise DeviceTimeout("masks arrive, but no picture does", hint="use a faster line")
            continue
        heard = time.monotonic()
        if heard >= due:
            rows = np.frombuffer(frame.mask, np.uint8).reshape(frame.height_px, -1)
            yield frame.picture, np.unpackbits(rows, axis=1, count=frame.width_px).astype(np.bool_)
            due = time.monotonic() + interval_s


def _write_new(path: Path, image: Image.Image) -> None:
    try:
        with replacing(path, may_exist=False) as partial:
            image.save(partial, "PNG", optimize=True)
    except FileExistsError as error:
        raise DeployError(f"{path} exists already", hint="choose another --output or --session") from error
    except OSError as error:
        raise DeployError(f"cannot write {path}: {error.strerror}", hint="check the folder and its rights") from error
