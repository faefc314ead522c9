"""Command lines in this process: starting Python, and TensorFlow where it is needed, would be most of such a test.

That the process does the same, and starts quickly, is tests/unit/test_cli.py's.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from nanou_deploy.cli import main


@dataclass(frozen=True)
class Finished:
    """What a script sees of a command."""

    returncode: int
    stdout: str
    stderr: str


def run(
    *arguments: object, cwd: Path, stream: Callable[[], io.StringIO] = io.StringIO, **environment: str
) -> Finished:
    """Run `nanou-deploy ARGUMENTS` in the folder `cwd`, stdout and stderr each a `stream`.

    What is no intended error is raised as it is.
    """
    line = ["nanou-deploy", *map(str, arguments)]
    with (
        chdir(cwd),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", line),
        redirect_stdout(stream()) as out,
        redirect_stderr(stream()) as err,
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Finished(code, out.getvalue(), err.getvalue())


def run_json(*arguments: object, cwd: Path, **environment: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the one JSON object on stdout."""
    done = run(*arguments, "--json", cwd=cwd, **environment)
    document = json.loads(done.stdout)
    assert document["schema"].startswith("nanou-deploy/"), done.stderr
    return done.returncode, document
