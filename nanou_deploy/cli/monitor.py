"""`monitor`: show what devices see and decide, in the terminal or as a local web page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.device_options import frames_option, port_option, timeout_option
from nanou_deploy.cli.options import MOST, Real, camera_option
from nanou_deploy.cli.output import progress
from nanou_deploy.errors import EXIT_OK

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize


@dataclass(frozen=True)
class View:
    """The values of `view_options`. `fps` limits what is sent, `limit` counts pictures of each device."""

    fps: float | None
    shrink: int
    plain: bool
    web: int | None
    bind: str
    limit: int | None


def view_options(command: Callable[..., int]) -> Callable[..., int]:
    """Define the options of `monitor` and `run` that say how to watch, handed over as one `view`."""

    @click.option("--fps", type=Real(0.01, 1000), help="With --frames: send at most so many a second.")
    @click.option(
        "--shrink",
        type=click.IntRange(0, 255),
        default=1,
        show_default=True,
        help="Send every n-th pixel of the device's own pictures both ways, 0 for none: for slow lines.",
    )
    @click.option("--plain", is_flag=True, help="One line for each picture: for logs and pipes.")
    @click.option("--web", type=click.IntRange(0, 65535), metavar="PORT", help="Serve a local page; 0: any port.")
    @click.option("--bind", default="127.0.0.1", show_default=True, help="With --web: the address to serve at.")
    @click.option(
        "--limit", type=click.IntRange(1, MOST), metavar="N", help="End after so many pictures of each device."
    )
    @wraps(command)
    def with_view(**given: Any) -> int:
        view = View(**{field.name: given.pop(field.name) for field in fields(View)})
        return command(view=view, **given)

    return with_view


@click.command(short_help="Live masks and decisions, here or in a browser.")
@port_option
@frames_option
@camera_option
@view_options
@timeout_option
def monitor(
    ports: tuple[str, ...],
    frames: Path | None,
    camera: CameraSize | None,
    view: View,
    timeout_s: float,
) -> int:
    """Show what devices see and decide: in the terminal, or with --web as a page on this computer.

    A device whose line breaks is opened again by itself. Ctrl-C ends.
    """
    from nanou_deploy.device.ports import choose_ports

    return watch(choose_ports(ports), view, frames=frames, camera=camera, timeout_s=timeout_s)


def watch(
    addresses: tuple[str, ...],
    view: View,
    *,
    frames: Path | None,
    camera: CameraSize | None,
    timeout_s: float,
    model_sha256: str | None = None,
    boot_s: float = 0.0,
) -> int:
    """Open every device, then show them until each has ended. Raises DeployError where one cannot be watched."""
    import sys

    from codegen.graph.model import CameraSize
    from nanou_deploy.monitor.feed import FeedOptions
    from nanou_deploy.monitor.frames import find_pictures
    from nanou_deploy.monitor.session import watch_devices
    from nanou_deploy.monitor.terminal import PlainView, ScreenView
    from nanou_deploy.monitor.web import Hub, MonitorServer

    pictures = find_pictures(frames, camera or CameraSize()) if frames else None
    least_s = 1 / view.fps if view.fps else 0.0
    options = FeedOptions(pictures, timeout_s, view.shrink, view.limit, least_s, model_sha256, boot_s)
    if view.web is not None:
        hub = Hub(addresses)
        with MonitorServer(hub, view.web, bind=view.bind) as server:
            progress(f"open {server.url} (Ctrl-C ends)")
            watch_devices(addresses, hub.show, options)
    elif view.plain or not sys.stdout.isatty():
        with PlainView(with_address=len(addresses) > 1) as lines:
            watch_devices(addresses, lines.show, options)
    else:
        with ScreenView(addresses) as screen:
            watch_devices(addresses, screen.show, options)
    return EXIT_OK
