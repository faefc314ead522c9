"""`capture`: save what devices' cameras see as pictures of a data set."""

from __future__ import annotations

import re
from pathlib import Path

import click

from nanou_deploy.cli.device_options import port_option, timeout_option
from nanou_deploy.cli.options import MOST, Output, Real, json_option
from nanou_deploy.cli.output import emit_json, progress, say
from nanou_deploy.errors import EXIT_OK


@click.command(short_help="Camera pictures to a data-set folder.")
@port_option
@click.option("--output", type=Output(), required=True, help="Data-set folder.")
@click.option(
    "--count", type=click.IntRange(1, MOST), default=100, show_default=True, help="Pictures from each device."
)
@click.option(
    "--interval",
    "interval_s",
    type=Real(0, 1e6),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Least time between two.",
)
@click.option("--masks", "with_masks", is_flag=True, help="Also what the device decided, as masks to correct.")
@click.option("--session", metavar="NAME", help="What file names begin with. Default: drive_ and the time.")
@timeout_option
@json_option
def capture(
    ports: tuple[str, ...],
    output: Path,
    count: int,
    interval_s: float,
    with_masks: bool,
    session: str | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Save what devices' cameras see as OUTPUT/img/SESSION_000001.png and so on. Nothing is overwritten.

    One session is one sequence: `prepare --group-by '^drive_\\w+?(?=_\\d{6}$)'` keeps its pictures in one split.
    """
    from nanou_deploy.device.ports import choose_ports
    from nanou_deploy.device.recording import record, session_name

    if session is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", session):
        raise click.BadParameter(f"{session!r} is no part of a file name", param_hint="--session")
    addresses = choose_ports(ports)
    base = session or session_name()
    names = {a: base if len(addresses) == 1 else f"{base}_{i + 1}" for i, a in enumerate(addresses)}
    saved = record(
        names, output, count, interval_s=interval_s, with_masks=with_masks, timeout_s=timeout_s, progress=progress
    )
    if as_json:
        emit_json("capture/1", {"output": output, "sessions": list(names.values()), "files": saved})
    else:
        say(f"{output}: {len(saved)} pictures in img/" + (", their masks in mask/" if with_masks else ""))
    return EXIT_OK
