"""`doctor`: check what is installed here and which boards can be reached."""

from __future__ import annotations

import click

from nanou_deploy.cli.options import json_option
from nanou_deploy.cli.output import as_dict, emit_json, say
from nanou_deploy.errors import EXIT_OK, EXIT_TOOL_MISSING


@click.command(short_help="What is installed, and how to get the rest.")
@click.option("--port", "ports", multiple=True, help="Also ask the chip at this port. Resets the board.")
@json_option
def doctor(ports: tuple[str, ...], as_json: bool) -> int:
    """Check what is installed, which boards can be reached, and say how to get what is not there."""
    from nanou_deploy.doctor.devices import ask_chip
    from nanou_deploy.doctor.doctor import run_checks

    checks = run_checks() + [check for port in ports for check in ask_chip(port)]
    ok = all(check.ok or check.optional for check in checks)
    if as_json:
        emit_json("doctor/1", {"ok": ok, "checks": [as_dict(check) for check in checks]})
    else:
        for check in checks:
            word, color = (
                ("ok", "green") if check.ok else ("optional", "yellow") if check.optional else ("MISSING", "red")
            )
            say(f"{check.name:<22} {check.detail}", label=f"{word:<9} ", fg=color)
            if not check.ok:
                say(f"{'':<9} {'':<22} try: {check.fix}")
    return EXIT_OK if ok else EXIT_TOOL_MISSING
