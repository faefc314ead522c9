"""A PostgreSQL server for one test or drill, in a temporary folder on a free port of this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl: on PATH, or where Debian keeps them; None where there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start it, give the URL of its database, and end it. The programs have to be there."""
    programs = postgres_programs()
    assert programs is not None
    with TemporaryDirectory(prefix="nanou-pg-") as name:
        folder, port = Path(name), _free_port()
        user = _other_user() if os.geteuid() == 0 else None  # PostgreSQL does not run as root
        if user is not None:
            shutil.chown(folder, user)

        def run(*command: object) -> None:
            subprocess.run(
                [programs / str(command[0]), *map(str, command[1:])], user=user, cwd=folder, check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

        data, log = folder / "data", folder / "log"
        run("initdb", "-D", data, "-A", "trust", "-U", "nanou", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "nanou", "study")
            yield f"postgresql+psycopg://nanou@127.0.0.1:{port}/study"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _other_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
