"""Run Espressif's flasher as a process: its Python interface changes between versions, its command line does not."""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from codegen.child_python import python_command
from nanou_deploy.errors import DeployError, ToolMissing

ESPTOOL_HINT = "install it: `python -m pip install 'esptool>=5.1,<6'`"


def run_esptool(arguments: Sequence[str | Path], *, timeout_s: float = 120.0) -> str:
    """Run esptool and return what it prints. Raises ToolMissing without it, DeployError with its words where it fails.

    It runs in an empty folder, because it takes its configuration from files of the current one.
    """
    if importlib.util.find_spec("esptool") is None:
        raise ToolMissing("esptool is not installed", hint=ESPTOOL_HINT)
    words = [str(word.absolute()) if isinstance(word, Path) else word for word in arguments]
    command = python_command("-m", "esptool", *words)
    try:
        with tempfile.TemporaryDirectory(prefix="nanou-") as folder:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
            )
    except subprocess.TimeoutExpired as error:
        raise DeployError(
            f"esptool did not finish within {timeout_s:g} s", hint="is the board connected, and in download mode?"
        ) from error
    if done.returncode != 0:
        lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        raise DeployError("esptool failed:\n" + "\n".join(lines[-8:]), hint="see the lines above")
    return done.stdout
