"""Move bytes to and from a device: over serial ports, TCP, a child program's terminal, or a simulated chip's UART."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shlex
import socket
import struct
import subprocess
import tempfile
import time
import tty
from pathlib import Path
from typing import Protocol

from codegen.child_python import environment_of_foreign_programs, python_command
from codegen.untrusted import printable_lines
from nanou_deploy.build.build import Build
from nanou_deploy.device import simulator
from nanou_deploy.device.errors import DeviceAbsent, LinkLost
from nanou_deploy.device.ports import opening_hint

BAUD = 115200
WRITE_TIMEOUT_S = 2.0  # for a device that does not read
_COMPLAINTS_BYTES = 4096  # of what a program said before it ended
SIMULATOR_SLOWNESS = 100.0  # emulated instructions per second, against those of a chip


class Link(Protocol):
    """A line that bytes are written to and read from. `slowness`: by how much longer to wait than on hardware."""

    slowness: float

    def write(self, data: bytes) -> None:
        """Send bytes. Raises LinkLost."""

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, b"" where nothing did within `timeout_s`. Raises LinkLost."""

    def close(self) -> None: ...


def open_link(address: str) -> Link:
    """Open the line at an address. Raises DeviceAbsent where there is none; ToolMissing without the simulator."""
    kind, _, rest = address.partition(":")
    if kind == "exec":
        return ProcessLink(rest)
    if kind == "sim":
        image, _, chip = rest.rpartition("@")
        return SimulatorLink(Path(image or chip), chip if image else "")
    if kind == "tcp":
        return SocketLink(rest.removeprefix("//"))
    return SerialLink(address)


def device_address(build: Build) -> str:
    """Return the address of an application that `build_device` made; whoever opens it runs it anew."""
    return f"sim:{build.image}" if build.image else f"exec:{shlex.quote(str(build.elf))}"


class SerialLink:
    """A serial port or USB, by pyserial. The lines that reset many boards stay as they are."""

    slowness = 1.0

    def __init__(self, port: str) -> None:
        import serial

        self._error = serial.SerialException
        self._serial = serial.Serial(baudrate=BAUD, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        self._serial.port = port
        self._serial.dtr = self._serial.rts = False
        try:
            self._serial.open()
            self._serial.reset_input_buffer()
        except (self._error, OSError) as error:
            number = getattr(error, "errno", None)
            why = os.strerror(number) if number else error
            raise DeviceAbsent(f"{port} cannot be opened: {why}", hint=opening_hint(port, number)) from error

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except (self._error, OSError) as error:
            raise _lost(self._serial.port, error) from error

    def read(self, timeout_s: float) -> bytes:
        try:
            self._serial.timeout = timeout_s
            data: bytes = self._serial.read(1)
            self._serial.timeout = 0
            return data + self._serial.read(4096) if data else b""
        except (self._error, OSError, TypeError) as error:  # TypeError: pyserial, closed by another thread
            raise _lost(self._serial.port, error) from error

    def close(self) -> None:
        self._serial.close()


class SocketLink:
    """HOST:PORT by TCP."""

    slowness = 1.0

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._socket = socket.create_connection((host, int(port)), timeout=WRITE_TIMEOUT_S)
        except (OSError, ValueError, OverflowError) as error:
            raise DeviceAbsent(
                f"tcp://{address} cannot be opened: {error}", hint="is the device program running?"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._address = address

    def write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise _lost(self._address, error) from error

    def read(self, timeout_s: float) -> bytes:
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return b""
        try:
            data = self._socket.recv(4096)
        except OSError as error:
            raise _lost(self._address, error) from error
        if not data:
            raise _lost(self._address, "the other side closed the connection")
        return data

    def close(self) -> None:
        self._socket.close()


class ProcessLink:
    """A device program (firmware/device) as a child, on a terminal of its own."""

    slowness = 1.0

    def __init__(self, command: str) -> None:
        self._file, other_end = pty.openpty()
        tty.setraw(other_end)
        os.set_blocking(self._file, False)
        self._terminal = os.ttyname(other_end)
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
        try:
            self.process = self._start(command, other_end)
        except DeviceAbsent:
            os.close(self._file)
            self._complaints.close()
            raise
        finally:
            os.close(other_end)

    def _start(self, command: str, terminal: int) -> subprocess.Popen[bytes]:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise DeviceAbsent(
                f"exec:{command} is no command line: {error}", hint="quote it as a shell wants it"
            ) from error
        if not words:
            raise DeviceAbsent("exec: names no program", hint="exec:PROGRAM, the application built for this computer")
        words += [] if "--stdio" in words else ["--stdio"]
        self._name = words[0]
        try:
            return subprocess.Popen(
                words, stdin=terminal, stdout=terminal, stderr=self._complaints, env=environment_of_foreign_programs()
            )
        except OSError as error:
            raise DeviceAbsent(
                f"{words[0]} cannot be run: {error}", hint="is it the application, built for this computer?"
            ) from error

    def replace_program(self, command: str) -> None:
        """Kill the child, as if its power were cut, and start another one on the same line."""
        terminal = os.open(self._terminal, os.O_RDWR | os.O_NOCTTY)
        try:
            self.process.kill()
            self.process.wait()
            self.process = self._start(command, terminal)
        finally:
            os.close(terminal)

    def write(self, data: bytes) -> None:
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        try:
            while data:
                if not select.select([], [self._file], [], max(0.0, deadline - time.monotonic()))[1]:
                    raise TimeoutError("it does not read what it is sent")
                data = data[os.write(self._file, data) :]
        except (OSError, ValueError) as error:
            raise self._ended(error) from error

    def read(self, timeout_s: float) -> bytes:
        try:
            if not select.select([self._file], [], [], timeout_s)[0]:
                return b""
            return os.read(self._file, 4096)
        except (OSError, ValueError) as error:  # Linux: an error once the child is gone
            raise self._ended(error) from error

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)  # the child reads the end of its line, and ends
            self._file = -1
        try:
            self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._complaints.close()

    def _ended(self, error: Exception) -> LinkLost:
        code = self.process.poll()
        if code is None:
            return _lost(self._name, error)
        self._complaints.seek(max(0, self._complaints.seek(0, os.SEEK_END) - _COMPLAINTS_BYTES))
        words = printable_lines(self._complaints.read().decode(errors="replace").strip())
        return _lost(self._name, f"the program ended with code {code}" + (f"\n{words}" if words else ""))


class SimulatorLink:
    """A program on a simulated chip: an ELF file, or the flash image that would be flashed (.bin), which states its
    chip. The chip's time passes only while somebody reads."""

    slowness = SIMULATOR_SLOWNESS

    def __init__(self, image: Path, chip: str = "") -> None:
        from nanou_deploy.build.flash_image import flash_image_elf, read_flash_image
        from nanou_deploy.build.toolchain import find_labwired

        find_labwired()
        if not image.is_file():
            raise DeviceAbsent(f"there is no image {image}", hint="sim:IMAGE@CHIP, for example sim:device.elf@esp32c3")
        self._folder = tempfile.TemporaryDirectory(prefix="nanou-")
        program = Path(self._folder.name, "image.elf")
        if image.suffix == ".bin":
            flash = read_flash_image(image.read_bytes())
            program.write_bytes(flash_image_elf(flash))
            if chip not in ("", flash.chip):
                raise DeviceAbsent(f"{image} is for the {flash.chip}, not the {chip}", hint="leave out what follows @")
            chip = flash.chip
        else:
            program.write_bytes(image.read_bytes())
        command = python_command(simulator.__file__, str(program), chip)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._name = f"{image.name} on {chip}"
        self._pending = b""

    def write(self, data: bytes) -> None:
        self._pending += data

    def read(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            data = self._step()
            if data or time.monotonic() >= deadline:
                return data

    def _step(self) -> bytes:
        """Hand over what was written, let some time pass in there, and fetch what was sent."""
        pending, self._pending = self._pending, b""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(struct.pack("<I", len(pending)) + pending)
            self._process.stdin.flush()
            size_bytes = struct.unpack("<I", self._process.stdout.read(4))[0]
        except (OSError, ValueError, struct.error) as error:
            raise _lost(self._name, "the simulator ended") from error
        data = self._process.stdout.read(size_bytes & ~simulator.FAULT)
        if size_bytes & simulator.FAULT:
            raise _lost(self._name, f"the program crashed: {printable_lines(data.decode(errors='replace'))}")
        return data

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()
        for stream in (self._process.stdin, self._process.stdout):
            if stream and not stream.closed:
                with contextlib.suppress(OSError):  # what was not flushed has no reader
                    stream.close()


def _lost(name: str | None, why: object) -> LinkLost:
    return LinkLost(f"the line to {name} is gone: {why}", hint="is it plugged in, powered and not open elsewhere?")
