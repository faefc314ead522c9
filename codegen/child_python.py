"""Command lines of child Pythons, none of which imports from the current folder, where a stranger's files may lie."""

from __future__ import annotations

import os
import sys

_SAFE_PATH = "PYTHONSAFEPATH"


def python_command(*arguments: str) -> list[str]:
    """This Python, with neither the current folder nor the script's in its path; PYTHONPATH still counts."""
    return [sys.executable, "-P", *arguments]


def keep_current_folder_out() -> None:
    """The same for Pythons that others start for this process, such as the workers of multiprocessing."""
    os.environ[_SAFE_PATH] = "1"


def environment_of_foreign_programs() -> dict[str, str]:
    """The environment for a program whose own Python scripts import what lies beside them, as ESP-IDF's do."""
    return {name: value for name, value in os.environ.items() if name != _SAFE_PATH}
