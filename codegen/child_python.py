"""Command lines of child Pythons, none of which imports from the current folder, where a stranger's files may lie."""

from __future__ import annotations

import os
import sys

_SAFE_PATH = "PYTHONSAFEPATH"


def python_command(*arguments: str) -> list[str]:
    """Return this Python's command line, without the current or the script's folder in its path; PYTHONPATH counts."""
    return [sys.executable, "-P", *arguments]


def keep_current_folder_out() -> None:
    """Protect Pythons that others start for this process likewise, such as the workers of multiprocessing."""
    os.environ[_SAFE_PATH] = "1"


def environment_of_foreign_programs() -> dict[str, str]:
    """Return the environment for a program whose own Python scripts import what lies beside them, as ESP-IDF's do."""
    return {name: value for name, value in os.environ.items() if name != _SAFE_PATH}
