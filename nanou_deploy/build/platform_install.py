"""Have PlatformIO fetch the platform that links a project for its chip, with its compiler and ESP-IDF."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from codegen.untrusted import printable
from nanou_deploy.build.platformio import (
    SIZE_IN_WORDS,
    PlatformMissing,
    core_folder,
    platform_installed,
    platform_missing,
    platform_version,
    run_pio,
    tail,
)

ROOM_BYTES = 5 << 30  # archives lie beside what is unpacked of them
_TIMEOUT_S = 4 * 3600.0
_MANAGER = re.compile(r"^\w+ Manager: (?:Installing|Unpacking) (\S+)")
_PERCENT = re.compile(r"(\d{1,3})%")

Progress = Callable[[str], None]


def install_platform(project: Path, environment: str, progress: Progress) -> None:
    """Fetch what `project` needs to be linked, and say what is being fetched and how far that is.

    Raises PlatformMissing with PlatformIO's last words where it cannot be had, or there is no room for it.
    """
    missing = platform_missing(project, environment)
    place = _existing(core_folder())
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < ROOM_BYTES:
        raise PlatformMissing(
            f"{missing}, and {place} has room for {free_bytes / 1e9:.1f} GB only",
            hint=f"make room for {ROOM_BYTES / 1e9:.0f} GB, or set PLATFORMIO_CORE_DIR to another disk",
        )
    progress(f"PlatformIO fetches {SIZE_IN_WORDS} into {core_folder()}, once for all projects")
    code, output = run_pio(["pkg", "install", "-e", environment], project, _TIMEOUT_S, _Reporter(progress))
    if code != 0 or not platform_installed(version=platform_version(environment)):
        said = "\n".join(map(printable, tail(output).split("\n")))
        raise PlatformMissing(f"{missing}; PlatformIO could not fetch it:\n{said}", hint="is there a network?")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


class _Reporter:
    """Turns what PlatformIO prints, in pieces, into lines of progress: each package, and each tenth of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._line, self._said = progress, "", ""
        self._package = ""

    def __call__(self, text: str) -> None:
        for part in re.split(r"(?<=[\r\n])", text):
            self._line += part
            self._report()
            if self._line.endswith(("\r", "\n")):
                self._line = ""

    def _report(self) -> None:
        if found := _MANAGER.match(self._line):
            if self._line.endswith("\n"):
                self._package = found[1]
        elif percents := _PERCENT.findall(self._line):
            self._say(f"{self._package}: {percents[-1]} %")

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._progress(printable(text, 200))
