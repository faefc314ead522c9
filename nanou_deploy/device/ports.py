"""Find the serial ports that boards are at, choose the one that is meant, and explain why one cannot be opened."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanou_deploy.device.errors import DeviceAbsent

# USB vendors of bridges and chips that boards have, and the kernel module behind each on Linux.
DRIVERS = {
    0x303A: ("Espressif USB", "cdc_acm"),
    0x10C4: ("Silicon Labs CP210x", "cp210x"),
    0x1A86: ("WCH CH34x", "ch341"),
    0x0403: ("FTDI", "ftdi_sio"),
    0x067B: ("Prolific", "pl2303"),
}


@dataclass(frozen=True)
class SerialPort:
    """A serial port. `chip` is the maker of its USB side, `driver` the Linux module for it, or ""."""

    device: str
    description: str
    chip: str
    driver: str

    @property
    def is_accessible(self) -> bool:
        """Whether this user may read and write it."""
        return os.access(self.device, os.R_OK | os.W_OK)


def board_ports() -> tuple[SerialPort, ...]:
    """List the ports with a USB device behind them, by name; those without are the computer's own, never a board."""
    from serial.tools.list_ports import comports

    found = []
    for port in comports():
        if port.vid is not None:
            chip, driver = DRIVERS.get(port.vid, (f"USB vendor {port.vid:04x}", ""))
            found.append(SerialPort(port.device, port.description or "", chip, driver))
    return tuple(sorted(found, key=lambda port: port.device))


def choose_ports(stated: Sequence[str]) -> tuple[str, ...]:
    """Choose the addresses that were stated, else the one board that is plugged in.

    Raises DeviceAbsent where none is plugged in, or several.
    """
    if stated:
        return tuple(stated)
    ports = board_ports()
    if not ports:
        raise DeviceAbsent(
            "no board is plugged in",
            hint="connect one, or state --port: tcp://HOST:PORT, exec:PROGRAM, or sim:IMAGE@CHIP; "
            "`nanou-deploy run --board host` needs no board",
        )
    if len(ports) > 1:
        names = ", ".join(f"{port.device} ({port.chip})" for port in ports)
        raise DeviceAbsent(f"{len(ports)} boards are plugged in: {names}", hint=f"--port {ports[0].device}, or several")
    return (ports[0].device,)


def opening_hint(port: str, number: int | None) -> str:
    """Say what to try where opening a serial port failed with this errno, None where there was none."""
    if number == errno.EACCES:
        return permission_fix(port)
    if number in (errno.EBUSY, errno.EAGAIN):
        return "another program has it open: close its monitor or terminal"
    if number == errno.ENOENT:
        names = ", ".join(found.device for found in board_ports())
        return f"plugged in: {names}" if names else "no board is plugged in; `nanou-deploy doctor` says more"
    return "`nanou-deploy doctor` lists ports and what is wrong with them"


def permission_fix(port: str) -> str:
    """Say how this user gets the right to use a port."""
    try:
        group = Path(port).group()
    except (OSError, KeyError, NotImplementedError):
        group = "dialout"
    if group in ("root", "wheel"):  # no udev rule gave it to anybody
        return f"sudo chmod a+rw {port} for now; the udev rules of `pio system` packages make it last"
    return f"sudo usermod -aG {group} $USER, then log in again"


def is_linux() -> bool:
    return sys.platform.startswith("linux")
