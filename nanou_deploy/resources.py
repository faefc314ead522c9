"""Find what ships with nanou-deploy besides Python: beside the package in a checkout, inside it in the wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nanou_deploy.errors import DeployError

_PACKAGE = Path(__file__).resolve().parent


def _find(installed: str, checkout: str, witness: str) -> Path:
    for folder in (_PACKAGE / installed, _PACKAGE.parent / checkout):
        if (folder / witness).exists():
            return folder
    raise DeployError(f"this installation of nanou-deploy lacks {checkout}/{witness}", hint="reinstall nanou-deploy")


@cache
def firmware_folder() -> Path:
    """Find the C sources: include/, src/, host/, boards/. Raises DeployError if the installation is damaged."""
    return _find("_firmware", "firmware", "include/nanou.h")


@cache
def models_folder() -> Path:
    """Find the trained models that come with nanou-deploy. Raises DeployError where there are none."""
    return _find("_models", "models", ".")


@cache
def docs_folder() -> Path:
    """Find the figures of others that benchmarks quote. Raises DeployError if the installation is damaged."""
    return _find("_docs", "docs", "published_figures.toml")


@cache
def licence_text() -> str:
    """Read the licence of generated code. Raises DeployError if the installation is damaged."""
    return (_find("_licence", ".", "LICENSE") / "LICENSE").read_text(encoding="utf-8")
