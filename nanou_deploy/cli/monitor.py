"""`monitor`: show what devices see and decide, in the terminal or as a local web page."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nanou_deploy.cli.device_options import frames_option, port_option, timeout_option
from nanou_deploy.cli.options import MOST, Output, Real, camera_option, model_option
from nanou_deploy.cli.output import progress
from nanou_deploy.errors import EXIT_OK

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize, QuantizedModel
    from nanou_deploy.monitor.desk import Desk
    from nanou_deploy.monitor.feed import Sink
    from nanou_deploy.monitor.frames import PictureFolder


@dataclass(frozen=True)
class View:
    """The values of `view_options`. `fps` limits what is sent, `limit` counts pictures of each device."""

    fps: float | None
    shrink: int
    plain: bool
    web: int | None
    bind: str
    limit: int | None
    record: Path | None

    @property
    def shows_motors(self) -> bool:
        """Whether what the motors do is shown, or kept to be shown: a terminal has no place for it."""
        return self.web is not None or self.record is not None


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
    @click.option("--record", type=Output(is_file=True), metavar="FILE", help="Record all that is shown; see --replay.")
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
@model_option
@view_options
@click.option("--replay", type=click.Path(path_type=Path), metavar="FILE", help="Show a record, and no device.")
@timeout_option
def monitor(
    ports: tuple[str, ...],
    frames: Path | None,
    camera: CameraSize | None,
    model: Path | None,
    view: View,
    replay: Path | None,
    timeout_s: float,
) -> int:
    """Show what devices see and decide: in the terminal, or with --web as a page on this computer.

    On the page, numbers of the policy and the threshold can be changed while a device drives, until it starts again,
    and be written into nanou.toml. --model says what the threshold is of. A device whose line breaks is opened again by
    itself. Ctrl-C ends.
    """
    from nanou_deploy.build.library import open_model
    from nanou_deploy.device.ports import choose_ports

    if replay is not None:
        if ports or frames or view.record:
            raise click.UsageError("a record is shown by itself: without --port, --frames and --record")
        return show_record(replay, view)
    is_given = click.get_current_context().get_parameter_source("model") == ParameterSource.COMMANDLINE
    known = open_model(model) if model is not None and (is_given or _is_there(model)) else None
    pictures = find_frames(frames, camera)
    return watch(choose_ports(ports), view, pictures, timeout_s=timeout_s, model=known)


def find_frames(folder: Path | None, camera: CameraSize | None) -> PictureFolder | None:
    """Find the pictures that stand in for a camera, if a folder is given. Raises DeployError where it has none."""
    from codegen.graph.model import CameraSize
    from nanou_deploy.monitor.frames import find_pictures

    return find_pictures(folder, camera or CameraSize()) if folder else None


def watch(
    addresses: tuple[str, ...],
    view: View,
    pictures: PictureFolder | None,
    *,
    timeout_s: float,
    model: QuantizedModel | None = None,
    model_sha256: str | None = None,
    boot_s: float = 0.0,
) -> int:
    """Open every device, then show them until each has ended. Raises DeployError where one cannot be watched.

    `model` says what thresholds are of; `model_sha256` is the one that has to run there.
    """
    from nanou_deploy.cli.monitor_desk import make_desk
    from nanou_deploy.monitor.desk import Controls
    from nanou_deploy.monitor.feed import FeedOptions
    from nanou_deploy.monitor.feed_file import Recorder
    from nanou_deploy.monitor.session import watch_devices

    controls = Controls(addresses)
    options = FeedOptions(
        pictures, timeout_s, view.shrink, view.limit, _least_s(view), model_sha256, boot_s, controls,
        motors=view.shows_motors,
    )  # fmt: skip
    with ExitStack() as opened:
        sink = _sink(opened, addresses, view, make_desk(controls, model))
        if view.record is not None:
            sink = opened.enter_context(Recorder(view.record, sink)).show
        watch_devices(addresses, sink, options)
    return EXIT_OK


def _is_there(model: Path) -> bool:
    """Tell whether a project's model is made already: a device can be looked at before."""
    from nanou_train.runs.int8_model import int8_path

    return (int8_path(model) if model.is_dir() else model).is_file()


def show_record(path: Path, view: View) -> int:
    """Show a record as it was, or as fast as --fps says. Raises DeployError where it is none."""
    from nanou_deploy.monitor.feed_file import addresses_of, play

    addresses = addresses_of(path)
    with ExitStack() as opened:
        play(path, _sink(opened, addresses, view, None), least_s=_least_s(view))
        if view.web is not None:
            progress("the record ends here; the page stays (Ctrl-C ends)")
            threading.Event().wait()
    return EXIT_OK


def _least_s(view: View) -> float:
    return 1 / view.fps if view.fps else 0.0


def _sink(opened: ExitStack, addresses: tuple[str, ...], view: View, desk: Desk | None) -> Sink:
    """Open the view that was asked for, until `opened` is closed."""
    from nanou_deploy.monitor.terminal import PlainView, ScreenView
    from nanou_deploy.monitor.web import Hub, MonitorServer

    if view.web is not None:
        hub = Hub(addresses)
        server = opened.enter_context(MonitorServer(hub, view.web, bind=view.bind, desk=desk))
        progress(f"open {server.url} (Ctrl-C ends)")
        return hub.show
    if view.plain or not sys.stdout.isatty():
        return opened.enter_context(PlainView(with_address=len(addresses) > 1)).show
    return opened.enter_context(ScreenView(addresses)).show
