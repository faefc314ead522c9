"""The versions that were tested together: firmware/versions.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from nanou_deploy.resources import firmware_folder


@dataclass(frozen=True)
class Versions:
    """As the file has them: PlatformIO and its platforms, ESP-IDF in each platform, components, Python packages."""

    platformio: Mapping[str, str]
    esp_idf: Mapping[str, str]
    components: Mapping[str, str]
    python: Mapping[str, str]


@cache
def load_versions() -> Versions:
    """Raises DeployError if the installation is damaged."""
    tables = tomllib.loads((firmware_folder() / "versions.toml").read_text(encoding="utf-8"))
    return Versions(tables["platformio"], tables["esp-idf"], tables["components"], tables["python"])
