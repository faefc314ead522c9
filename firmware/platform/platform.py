"""PlatformIO development platform: nothing to download, compilers and emulators are those of the system.

PlatformIO itself builds with SCons and would fetch it from its registry as package tool-scons. That package is SCons as
it is on PyPI; where it is missing, it is made of the one that is installed, which `make setup` takes care of.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import semantic_version
from platformio.dependencies import get_core_dependencies
from platformio.package.manager.core import get_core_package_dir
from platformio.public import PlatformBase

SCONS = "tool-scons"
LAUNCHER = "import sys\n\nfrom SCons.Script.Main import main\n\nsys.exit(main())\n"


class NanouPlatform(PlatformBase):
    """PlatformIO finds it by its name."""

    def configure_default_packages(self, options: dict, targets: list[str]) -> None:
        """Install SCons before anything is built."""
        if get_core_package_dir(SCONS, auto_install=False) is None:
            self._install_scons()
        super().configure_default_packages(options, targets)

    def _install_scons(self) -> None:
        wanted = semantic_version.SimpleSpec(get_core_dependencies()[SCONS])
        found = {package_version(path): path for path in self._scons_folders()}
        version = next((version for version in found if semantic_version.Version(version) in wanted), None)
        if version is None:
            have = ", ".join(found) or "none"
            click.secho(
                f"SCons {wanted.expression} is not installed (found: {have}); PlatformIO fetches it from its registry. "
                "`make setup`, or `python -m pip install scons==4.11.1`, would make that unnecessary.",
                fg="yellow",
                err=True,
            )
            return
        folder = Path(self.pm.package_dir, SCONS)
        click.secho(f"{SCONS} {version}: {found[version]}")
        install(found[version], folder, version)

    def _scons_folders(self) -> Iterator[Path]:
        """SCons in PlatformIO's own Python, then in the project's .venv."""
        found = importlib.util.find_spec("SCons")
        if found and found.origin:
            yield Path(found.origin).parent
        project = Path(self.config.path).resolve().parent
        yield from sorted(project.glob(".venv/lib/python3*/site-packages/SCons"))


def package_version(scons: Path) -> str:
    """How PlatformIO numbers the package of a SCons: 4.11.1 is 4.41101.0."""
    text = (scons / "__init__.py").read_text(encoding="utf-8")
    stated = re.search(r"__version__\s*=\s*['\"](\d+)\.(\d+)\.(\d+)", text)
    major, minor, patch = map(int, stated.groups()) if stated else (0, 0, 0)
    return f"4.{major}{minor:02}{patch:02}.0"


def install(scons: Path, folder: Path, version: str) -> None:
    """Copy SCons to where PlatformIO keeps tools; complete or not at all."""
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(scons, draft / "SCons", ignore=shutil.ignore_patterns("__pycache__"))
    (draft / "scons.py").write_text(LAUNCHER, encoding="utf-8")
    about = {"name": SCONS, "version": version, "description": "SCons from PyPI", "license": "MIT", "system": "*"}
    (draft / "package.json").write_text(json.dumps(about), encoding="utf-8")
    spec = {"owner": "platformio", "id": None, "name": SCONS, "requirements": None, "uri": None}
    (draft / ".piopm").write_text(json.dumps({"type": "tool", "name": SCONS, "version": version, "spec": spec}))
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
