"""Read firmware/versions.toml: the versions of tools and components that were tested together."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from nanou_deploy.resources import firmware_folder


@dataclass(frozen=True)
class Versions:
    """Versions of PlatformIO and its platforms, of ESP-IDF in each platform, of components and Python packages."""

    platformio: Mapping[str, str]
    esp_idf: Mapping[str, str]
    components: Mapping[str, str]
    python: Mapping[str, str]


@cache
def load_versions() -> Versions:
    """Read the versions. Raises DeployError if the installation is damaged."""
    tables = tomllib.loads((firmware_folder() / "versions.toml").read_text(encoding="utf-8"))
    return Versions(tables["platformio"], tables["esp-idf"], tables["components"], tables["python"])
