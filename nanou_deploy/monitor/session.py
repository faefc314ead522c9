"""Watch several devices at once, each in a thread, until all have ended."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from nanou_deploy.device.client import Device
from nanou_deploy.device.errors import DeviceAbsent, LinkLost
from nanou_deploy.errors import DeployError
from nanou_deploy.monitor.events import Ended, Event
from nanou_deploy.monitor.feed import Feed, FeedOptions, Sink


def watch_devices(addresses: tuple[str, ...], sink: Sink, options: FeedOptions) -> None:
    """Run every feed until all have ended; an interrupt ends them all.

    Raises DeployError where a device does not answer at first, or the first error that ended a feed.
    """
    stop, errors = threading.Event(), list[DeployError]()

    def show(event: Event) -> None:
        if isinstance(event, Ended) and event.error is not None:
            errors.append(event.error)
        sink(event)

    with ExitStack() as opened:  # so that what is missing is said before anything is shown
        devices = [opened.enter_context(_open(address, options)) for address in addresses]
        opened.pop_all()
    feeds = [Feed(address, show, options, device) for address, device in zip(addresses, devices, strict=True)]
    threads = [threading.Thread(target=feed.run, args=(stop,), daemon=True) for feed in feeds]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10.0)
    if errors:
        raise errors[0]


def _open(address: str, options: FeedOptions) -> Device:
    deadline = time.monotonic() + options.boot_s
    while True:
        try:
            return Device.open(address, timeout_s=options.timeout_s, model_sha256=options.model_sha256)
        except (DeviceAbsent, LinkLost):  # USB of a chip goes away when it starts again
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
