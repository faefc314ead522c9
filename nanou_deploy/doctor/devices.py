"""Check what it takes to reach a board from this computer: ports, rights, udev rules, drivers, and the chip.

Each function looks at files and metadata alone, but for `ask_chip`, which resets the board.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from nanou_deploy.boards.boards import BOARDS, MIB, Board
from nanou_deploy.boards.versions import load_versions
from nanou_deploy.build.platformio import core_folder
from nanou_deploy.device.ports import DRIVERS, board_ports, is_linux, permission_fix
from nanou_deploy.doctor.findings import Check
from nanou_deploy.errors import DeployError
from nanou_deploy.flash.upload import read_chip

_GROUPS = ("dialout", "uucp")  # Debian's and Arch's names for who may use serial ports
_RULE_FOLDERS = ("/etc/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
_RULES_PAGE = "docs.platformio.org/en/latest/core/installation/udev-rules.html"


def check_ports() -> Check:
    """Check which boards are plugged in, and whether this user may talk to them."""
    ports = board_ports()
    if not ports:
        return Check("serial ports", True, "no board is plugged in", optional=True)
    barred = [port for port in ports if not port.is_accessible]
    if barred:
        names = ", ".join(port.device for port in barred)
        return Check("serial ports", False, f"no permission for {names}", permission_fix(barred[0].device), True)
    return Check("serial ports", True, ", ".join(f"{port.device} ({port.chip})" for port in ports), optional=True)


def check_rights(groups: Mapping[str, int] | None = None, mine: frozenset[int] | None = None) -> Check:
    """Check whether this user may use serial ports at all. `groups` (name -> id), `mine`: by default this system's."""
    name = "serial rights"
    if os.name != "posix" or os.geteuid() == 0:
        return Check(name, True, "this user may use any port", optional=True)
    known = _system_groups() if groups is None else groups
    joined = frozenset([*os.getgroups(), os.getegid()]) if mine is None else mine
    group = next((wanted for wanted in _GROUPS if wanted in known), None)
    if group is None:
        return Check(name, True, f"no group {' or '.join(_GROUPS)} here; rules of udev decide", optional=True)
    if known[group] in joined:
        return Check(name, True, f"this user is in group {group}", optional=True)
    fix = f"sudo usermod -aG {group} $USER, then log in again"
    return Check(name, False, f"this user is not in group {group}", fix, optional=True)


def check_udev_rules(folders: tuple[str, ...] = _RULE_FOLDERS) -> Check:
    """Check udev's rules: those that help, and brltty's, which takes CH34x bridges for Braille displays."""
    name = "udev rules"
    if not is_linux():
        return Check(name, True, "not on this system", optional=True)
    files = [path for folder in folders if Path(folder).is_dir() for path in Path(folder).glob("*.rules")]
    thieves = [path for path in files if "brltty" in path.name and _claims(path, "1a86", "7523")]
    if thieves:
        fix = "sudo apt-get remove brltty, unless you use a Braille display"
        return Check(name, False, f"{thieves[0]} takes CH340 boards away", fix, optional=True)
    if any(path.name.endswith("platformio-udev.rules") for path in files):
        return Check(name, True, "PlatformIO's are installed", optional=True)
    return Check(name, True, f"none are needed with the right group; PlatformIO's: {_RULES_PAGE}", optional=True)


def _claims(path: Path, vendor: str, product: str) -> bool:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        return False
    return any(vendor in line and product in line for line in text.splitlines() if not line.lstrip().startswith("#"))


def check_drivers(modules: Path | None = None) -> Check:
    """Check whether the kernel has the drivers of usual boards. `modules`: /lib/modules/RELEASE."""
    name, folder = "USB drivers", modules or Path("/lib/modules") / platform.release()
    if not is_linux():
        return Check(name, True, "not checked on this system; vendors have them: CP210x, CH34x", optional=True)
    listings = [folder / "modules.dep", folder / "modules.builtin"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in listings if path.is_file())
    if not text:
        return Check(name, True, f"not known: {folder} lists no modules (a container?)", optional=True)
    wanted = dict(DRIVERS.values())
    missing = [f"{driver} ({chip})" for chip, driver in wanted.items() if not re.search(rf"/{driver}\.ko", text)]
    if missing:
        fix = f"sudo apt-get install linux-modules-extra-{platform.release()}"
        return Check(name, False, f"this kernel lacks {', '.join(missing)}", fix, optional=True)
    return Check(name, True, ", ".join(wanted.values()), optional=True)


def check_scons() -> Check:
    """Check for SCons, which PlatformIO builds with: its own package, or PyPI's, which our local platform copies."""
    version = load_versions().platformio["scons"]
    if any((core_folder() / "packages").glob("tool-scons*/package.json")):
        return Check("PlatformIO's SCons", True, "tool-scons is installed")
    try:
        found = metadata.version("scons")
    except metadata.PackageNotFoundError:
        found = ""
    if found == version:
        return Check("PlatformIO's SCons", True, f"scons {found}; the first `pio run` makes tool-scons of it")
    detail = f"scons {found} instead of {version}" if found else "neither tool-scons nor scons is installed"
    return Check("PlatformIO's SCons", False, detail, f"python -m pip install scons=={version}", optional=True)


def check_psram() -> Check:
    """List the PSRAM that firmware expects of boards; it starts without, but has no room then for large arenas."""
    described = [
        f"{board.name} {board.psram_bytes // MIB} MiB {board.psram}" for board in BOARDS.values() if board.psram_bytes
    ]
    return Check("PSRAM expected", True, f"{', '.join(described)}; `doctor --port PORT` asks the chip", optional=True)


def ask_chip(port: str) -> list[Check]:
    """Ask the chip's boot loader what it is. Resets the board. Never raises a DeployError: that is a finding."""
    try:
        chip, features = read_chip(port)
    except DeployError as error:
        return [Check(f"chip at {port}", False, str(error).splitlines()[-1], error.hint)]
    boards = [board for board in BOARDS.values() if board.kind == "hardware" and board.chip == chip]
    names = ", ".join(board.name for board in boards) or "none"
    checks = [
        Check(f"chip at {port}", bool(boards), f"{chip}; boards: {names}", "" if boards else "no board here fits")
    ]
    return checks + [_psram_of(board, features) for board in boards if board.psram_bytes]


def _psram_of(board: Board, features: str) -> Check:
    """Read of PSRAM in the chip's package from its fuses; an ESP32's lies beside it, and only firmware finds it."""
    name, wanted = f"PSRAM for {board.name}", board.psram_bytes // MIB
    found = re.search(r"Embedded PSRAM (\d+)\s*MB", features)
    if found is None and board.chip == "esp32":
        return Check(name, True, f"{wanted} MiB expected beside the chip; the firmware's log says", optional=True)
    size = int(found[1]) if found else 0
    fix = "" if size >= wanted else "is it another module? build for a board without PSRAM, or with --max-ram"
    return Check(name, size >= wanted, f"{size} MiB inside the chip, {wanted} expected", fix, optional=True)


def _system_groups() -> dict[str, int]:
    import grp

    return {entry.gr_name: entry.gr_gid for entry in grp.getgrall()}
