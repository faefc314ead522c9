"""List the boards that firmware can be built for. Sizes in bytes; RAM is what the chip has, not what is free."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from nanou_deploy.errors import DeployError, UsageMistake

Kind = Literal["host", "qemu", "sim", "hardware", "library"]
Psram = Literal["none", "quad", "octal", "hex"]
Platform = Literal["espressif32", "pioarduino"]
Line = Literal["uart", "usb"]

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Board:
    """A board, an emulated processor or this computer, as a place where the generated code runs.

    `isa` is what the compiler is told; the ESP32-S3's simulator knows no more than the ESP32 has. `pio_board` and
    `idf_target` are PlatformIO's and ESP-IDF's names, None off hardware, where `platform` builds. `psram` is how many
    lines it has: 4, 8 or 16. `line` is what its plug leads to: a UART by a bridge, or the chip's own USB. `emulated_as`
    names the board on which code for this one is verified here. Of kind "library" are chips for which the C is made,
    verified and measured, and for which there is no firmware project.
    """

    name: str
    kind: Kind
    description: str
    cpu: str
    isa: str
    cpu_mhz: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    psram_bytes: int = 0
    psram: Psram = "none"
    flash_mode: str = "dio"
    flash_mhz: int = 80
    line: Line = "uart"
    pio_board: str | None = None
    idf_target: str | None = None
    platform: Platform = "espressif32"
    emulated_as: str | None = None

    @property
    def chip(self) -> str:
        """The chip's name in esptool and the simulator; meaningless where there is none."""
        return self.idf_target or self.name.removesuffix("-sim")

    @property
    def cores(self) -> int:
        """How many cores can share an inference."""
        return 2 if self.kind == "host" or self.chip in ("esp32", "esp32s3", "esp32p4", "rp2040") else 1

    @property
    def runs_here(self) -> bool:
        """Whether the harness can run on this machine; chips need `emulated_as` instead."""
        return self.kind not in ("hardware", "library")


_TABLE = (
    Board("host", "host", "this computer", cpu="host", isa="native"),
    Board("rv32-qemu", "qemu", "RV32IMC in QEMU, the ESP32-C3's instruction set", cpu="rv32", isa="rv32imc"),
    Board(
        "esp32c3-sim",
        "sim",
        "simulated ESP32-C3 with the chip's memory map (labwired)",
        cpu="ESP32-C3",
        isa="rv32imc",
        cpu_mhz=160,
        flash_bytes=4 * MIB,
        ram_bytes=400 * KIB,
    ),
    Board(
        "esp32c6-sim",
        "sim",
        "simulated ESP32-C6 with the chip's memory map (labwired)",
        cpu="ESP32-C6",
        isa="rv32imc",
        cpu_mhz=160,
        flash_bytes=8 * MIB,
        ram_bytes=512 * KIB,
    ),
    Board(
        "cortex-m0-qemu",
        "qemu",
        "Cortex-M0+ code (Armv6-M) on an Arm MPS2 board in QEMU",
        cpu="Cortex-M0+",
        isa="armv6-m",
    ),
    Board("cortex-m4-qemu", "qemu", "Arm MPS2 board with a Cortex-M4 in QEMU", cpu="Cortex-M4", isa="armv7e-m"),
    Board("cortex-m7-qemu", "qemu", "Arm MPS2 board with a Cortex-M7 in QEMU", cpu="Cortex-M7", isa="armv7e-m"),
    Board("xtensa-qemu", "qemu", "Xtensa in QEMU with the ESP32's instructions", cpu="Xtensa", isa="xtensa-lx6"),
    Board(
        "esp32s3-qemu",
        "qemu",
        "Xtensa in QEMU with the ESP32-S3's vector instructions",
        cpu="ESP32-S3",
        isa="xtensa-esp32s3",
    ),
    Board(
        "esp32s3-sim",
        "sim",
        "simulated ESP32-S3 with the chip's memory map (labwired)",
        cpu="ESP32-S3",
        isa="xtensa-lx6",
        cpu_mhz=240,
        flash_bytes=8 * MIB,
        ram_bytes=512 * KIB,
    ),
    Board(
        "esp32-sim",
        "sim",
        "simulated ESP32 with the chip's memory map (labwired)",
        cpu="ESP32",
        isa="xtensa-lx6",
        cpu_mhz=240,
        flash_bytes=4 * MIB,
        ram_bytes=520 * KIB,
    ),
    Board(
        "esp32s3",
        "hardware",
        "ESP32-S3-DevKitC-1 (N8R2 or better)",
        cpu="ESP32-S3",
        isa="xtensa-esp32s3",
        cpu_mhz=240,
        flash_bytes=8 * MIB,
        ram_bytes=512 * KIB,
        psram_bytes=2 * MIB,
        psram="quad",
        flash_mode="qio",
        pio_board="esp32-s3-devkitc-1",
        idf_target="esp32s3",
        emulated_as="esp32s3-qemu",
    ),
    Board(
        "esp32s3-eye",
        "hardware",
        "ESP32-S3-EYE (OV2640)",
        cpu="ESP32-S3",
        isa="xtensa-esp32s3",
        cpu_mhz=240,
        flash_bytes=8 * MIB,
        ram_bytes=512 * KIB,
        psram_bytes=8 * MIB,
        psram="octal",
        flash_mode="qio",
        line="usb",
        pio_board="esp32-s3-eye",  # our own: firmware/boards/esp32-s3-eye.json
        idf_target="esp32s3",
        emulated_as="esp32s3-qemu",
    ),
    Board(
        "xiao-esp32s3",
        "hardware",
        "Seeed XIAO ESP32S3 Sense (OV2640, later OV3660)",
        cpu="ESP32-S3",
        isa="xtensa-esp32s3",
        cpu_mhz=240,
        flash_bytes=8 * MIB,
        ram_bytes=512 * KIB,
        psram_bytes=8 * MIB,
        psram="octal",
        flash_mode="qio",
        line="usb",
        pio_board="seeed_xiao_esp32s3",
        idf_target="esp32s3",
        emulated_as="esp32s3-qemu",
    ),
    Board(
        "esp32cam",
        "hardware",
        "AI-Thinker ESP32-CAM (OV2640)",
        cpu="ESP32",
        isa="xtensa-lx6",
        cpu_mhz=240,
        flash_bytes=4 * MIB,
        ram_bytes=520 * KIB,
        psram_bytes=4 * MIB,  # what the ESP32 can map of it
        psram="quad",
        pio_board="esp32cam",
        idf_target="esp32",
        emulated_as="rv32-qemu",
    ),
    Board(
        "esp32dev",
        "hardware",
        "ESP32 development board (ESP32-WROOM-32)",
        cpu="ESP32",
        isa="xtensa-lx6",
        cpu_mhz=240,
        flash_bytes=4 * MIB,
        ram_bytes=520 * KIB,
        pio_board="esp32dev",
        idf_target="esp32",
        emulated_as="rv32-qemu",
    ),
    Board(
        "esp32c3",
        "hardware",
        "ESP32-C3-DevKitM-1",
        cpu="ESP32-C3",
        isa="rv32imc",
        cpu_mhz=160,
        flash_bytes=4 * MIB,
        ram_bytes=400 * KIB,
        flash_mode="qio",
        pio_board="esp32-c3-devkitm-1",
        idf_target="esp32c3",
        emulated_as="rv32-qemu",
    ),
    Board(
        "esp32c6",
        "hardware",
        "ESP32-C6-DevKitC-1",
        cpu="ESP32-C6",
        isa="rv32imac",
        cpu_mhz=160,
        flash_bytes=8 * MIB,
        ram_bytes=512 * KIB,
        flash_mode="qio",
        pio_board="esp32-c6-devkitc-1",
        idf_target="esp32c6",
        emulated_as="rv32-qemu",
    ),
    Board(
        "esp32p4",
        "hardware",
        "ESP32-P4-Function-EV-Board (chip before revision 3)",
        cpu="ESP32-P4",
        isa="rv32imafc",
        cpu_mhz=360,
        flash_bytes=16 * MIB,
        ram_bytes=768 * KIB,
        psram_bytes=32 * MIB,
        psram="hex",
        flash_mode="qio",
        flash_mhz=40,  # ESP-IDF allows no more where the chip may be of revision 0
        pio_board="esp32-p4-evboard",
        idf_target="esp32p4",
        platform="pioarduino",
        emulated_as="rv32-qemu",
    ),
    Board(
        "rp2040",
        "library",
        "Raspberry Pi Pico (RP2040)",
        cpu="Cortex-M0+",
        isa="armv6-m",
        cpu_mhz=133,
        flash_bytes=2 * MIB,
        ram_bytes=264 * KIB,
        emulated_as="cortex-m0-qemu",
    ),
)

BOARDS: Mapping[str, Board] = MappingProxyType({board.name: board for board in _TABLE})


def check_cores(board: Board, cores: int) -> None:
    """Raise UsageMistake where an inference cannot be shared by so many cores on `board`."""
    if cores > board.cores:
        several = ", ".join(other.name for other in BOARDS.values() if other.cores >= cores)
        raise UsageMistake(f"{board.name} has one core", hint=f"leave out --cores, or take a board of two: {several}")


def find_board(name: str) -> Board:
    """Find the board called `name`. Raises UsageMistake with the nearest names, or all of them."""
    board = BOARDS.get(name)
    if board is not None:
        return board
    near = difflib.get_close_matches(name, BOARDS, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"boards: {', '.join(BOARDS)}"
    raise UsageMistake(f"there is no board {name!r}", hint=hint)


def check_firmware(board: Board) -> None:
    """Raise DeployError for a chip for which only the library is generated, no firmware."""
    if board.kind == "library":
        raise DeployError(
            f"there is no firmware for {board.name} ({board.description}), only the library",
            hint=f"`nanou-deploy generate --board {board.name}` writes it, for your own project; `verify`, `bench` and "
            "`cost` take the board too",
        )
