"""Offer to fetch a board's missing PlatformIO platform: asked in a terminal, done with --yes, else refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.output import note, progress, warn

if TYPE_CHECKING:
    from nanou_deploy.build.platformio import PlatformMissing

yes_option = click.option("--yes", is_flag=True, help="Fetch PlatformIO's platform, about 2 GB, without asking.")


def offer_platform(board: str, *, yes: bool, may_ask: bool = True) -> Callable[[PlatformMissing, Path], None]:
    """Return what is to be done where the platform is missing; it raises PlatformMissing where nothing is fetched."""

    def install(missing: PlatformMissing, project: Path) -> None:
        from nanou_deploy.build.platform_install import install_platform
        from nanou_deploy.build.platformio import SIZE_IN_WORDS, core_folder

        if not yes:
            if not (may_ask and sys.stdin.isatty() and sys.stderr.isatty()):
                raise missing
            note(str(missing))
            if not click.confirm(f"Fetch it now, {SIZE_IN_WORDS} into {core_folder()}?", err=True):
                raise missing
        install_platform(project, board, progress)

    return install


def warn_of_space(folder: Path) -> None:
    """Warn where a hardware board's firmware could not be linked in a folder, because of its path."""
    if " " in str(folder.absolute()):
        warn(f"{folder.absolute()} has a space, which ESP-IDF under PlatformIO refuses: it cannot be linked there")
