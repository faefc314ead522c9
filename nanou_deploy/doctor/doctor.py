"""Check what is installed here, and say how to install the rest. Fast: looks at metadata, imports nothing big."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from codegen.untrusted import read_bounded
from nanou_deploy.boards.boards import BOARDS
from nanou_deploy.boards.versions import load_versions
from nanou_deploy.build import toolchain
from nanou_deploy.build.platformio import platform_installed
from nanou_deploy.doctor import devices as doctor_devices
from nanou_deploy.doctor.findings import Check
from nanou_deploy.errors import ToolMissing

MIN_PYTHON, BELOW_PYTHON = (3, 11), (3, 14)
_START_FILES = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}
_START_FILE_BYTES = 1 << 20
CORE_PACKAGES = ("numpy", "jinja2", "click", "rich", "pydantic", "pillow", "tflite")


def run_checks() -> list[Check]:
    """Run all checks, in the order in which a person would set things up."""
    checks: list[Callable[[], Check]] = [
        _python,
        _packages,
        lambda: _package("tflite-micro", "tflite-micro", "the reference that code is compared with"),
        lambda: _package("tensorflow", "'nanou-deploy[train]'", "training and BUILTIN_REF", optional=True),
        lambda: _package("keras", "'nanou-deploy[train]'", "training", optional=True),
        lambda: _tool("host compiler", toolchain.find_host_compiler),
        lambda: _tool("sanitizers", toolchain.find_sanitizing_compiler),
        lambda: _tool("RV32 compiler", toolchain.find_rv32_compiler),
        lambda: _tool("QEMU", toolchain.find_qemu_riscv32),
        lambda: _tool("Cortex-M compiler", toolchain.find_arm_compiler, optional=True),
        lambda: _tool("QEMU for Cortex-M", toolchain.find_qemu_arm, optional=True),
        lambda: _tool("Xtensa compiler", lambda: toolchain.find_xtensa_tools().clang, optional=True),
        lambda: _tool("QEMU for Xtensa", toolchain.find_qemu_xtensa, optional=True),
        lambda: _tool("labwired", toolchain.find_labwired),
        lambda: _package("platformio", "platformio", "building for real boards"),
        doctor_devices.check_scons,
        *(partial(_platform, name) for name in load_versions().esp_idf),
        doctor_devices.check_ports,
        doctor_devices.check_rights,
        doctor_devices.check_udev_rules,
        doctor_devices.check_drivers,
        doctor_devices.check_psram,
        _completion,
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:  # most of the time goes into waiting for `--version`
        return list(pool.map(lambda check: check(), checks))


def _completion() -> Check:
    """Whether a start-up file of the user's shell mentions our completion; nothing else tells."""
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in _START_FILES:
        return Check(
            "shell completion", False, "for bash, zsh and fish", "README.md has the line for each", optional=True
        )
    file = Path.home() / _START_FILES[shell]
    try:
        is_on = b"_NANOU_DEPLOY_COMPLETE" in read_bounded(file, _START_FILE_BYTES)
    except (OSError, ValueError):
        is_on = False
    if is_on:
        return Check("shell completion", True, f"in {file}", optional=True)
    line = {
        "fish": "_NANOU_DEPLOY_COMPLETE=fish_source nanou-deploy | source",
    }.get(shell, f'eval "$(_NANOU_DEPLOY_COMPLETE={shell}_source nanou-deploy)"')
    return Check("shell completion", False, f"not in {file}", f"add to it: {line}", optional=True)


def _python() -> Check:
    version = sys.version_info[:2]
    fits = MIN_PYTHON <= version < BELOW_PYTHON
    wanted = f"{_dotted(MIN_PYTHON)} or later, below {_dotted(BELOW_PYTHON)}"
    return Check("Python", fits, platform.python_version(), "" if fits else f"make a virtual environment with {wanted}")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Check:
    versions = {name: _version(name) for name in CORE_PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    detail = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    return Check(
        "Python packages", not missing, detail, f"python -m pip install {' '.join(missing)}" if missing else ""
    )


def _package(name: str, requirement: str, purpose: str, *, optional: bool = False) -> Check:
    version = _version(name)
    fix = "" if version else f"python -m pip install {requirement}"
    return Check(name, version is not None, version or f"not installed; for {purpose}", fix, optional)


def _tool(name: str, find: Callable[[], toolchain.Tool], *, optional: bool = False) -> Check:
    try:
        return Check(name, True, find().version, optional=optional)
    except ToolMissing as error:
        return Check(name, False, str(error), error.hint.partition(": ")[2], optional)


def _platform(name: str) -> Check:
    version = load_versions().platformio[name]
    title = f"{name} {version}"
    if platform_installed(version=version):
        return Check(title, True, "installed", optional=True)
    board = next(board.name for board in BOARDS.values() if board.kind == "hardware" and board.platform == name)
    fix = f"`pio run` in a project made by `nanou-deploy build --board {board}` fetches it (about 2 GB)"
    return Check(title, False, "not installed; for linking firmware for real boards", fix, optional=True)
