"""Watch several devices at once, each in a thread, until all have ended."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from functools import partial

from nanou_deploy.device.client import Device
from nanou_deploy.device.errors import DeviceAbsent, LinkLost
from nanou_deploy.device.side_by_side import run_side_by_side
from nanou_deploy.monitor.feed import Feed, FeedOptions, Sink


def watch_devices(addresses: tuple[str, ...], sink: Sink, options: FeedOptions) -> None:
    """Run every feed until all have ended; an interrupt ends them all.

    Raises an intended error where a device does not answer at first, or the first one that ended a feed.
    """
    stop = threading.Event()
    with ExitStack() as opened:  # so that what is missing is said before anything is shown
        devices = [opened.enter_context(_open(address, options, stop)) for address in addresses]
        opened.pop_all()
    feeds = [Feed(address, sink, options, device) for address, device in zip(addresses, devices, strict=True)]
    for error in run_side_by_side([partial(feed.run, stop) for feed in feeds], stop):
        if error is not None:
            raise error


def _open(address: str, options: FeedOptions, stop: threading.Event) -> Device:
    deadline = time.monotonic() + options.boot_s
    while True:
        try:
            return Device.open(address, timeout_s=options.timeout_s, model_sha256=options.model_sha256, stop=stop)
        except (DeviceAbsent, LinkLost):  # USB of a chip goes away when it starts again
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
