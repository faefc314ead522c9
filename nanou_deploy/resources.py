"""Where the C sources that ship with nanou-deploy are: firmware/ in a checkout, _firmware/ in the wheel."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from nanou_deploy.errors import DeployError

_PACKAGE = Path(__file__).parent


@lru_cache(maxsize=1)
def firmware_folder() -> Path:
    """The folder with include/, src/, host/ and boards/. Raises DeployError if the installation is damaged."""
    for folder in (_PACKAGE / "_firmware", _PACKAGE.parent / "firmware"):
        if (folder / "include" / "nanou.h").is_file():
            return folder
    raise DeployError("the firmware sources are missing", hint="reinstall nanou-deploy")
