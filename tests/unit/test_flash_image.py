"""Flash images: esptool makes them, our own code takes them apart, and a mock of the boot loader accepts them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nanou_deploy.boards.boards import BOARDS, find_board
from nanou_deploy.boards.partitions import TABLE_BYTES, parse_partitions, partition_table
from nanou_deploy.build import elf
from nanou_deploy.build.build import Build, build_harness
from nanou_deploy.build.esptool import run_esptool
from nanou_deploy.build.flash_image import flash_image_elf, read_flash_image
from nanou_deploy.errors import DeployError
from nanou_deploy.flash.upload import boot_loader_offset, merge_flash, mock_board, write_flash
from nanou_deploy.verify.emulate import run_harness
from tests.flash import find_application, read_flash
from tests.unit.invert_model import INPUT_BYTES, expected_outputs, make_library

CHIPS = [name.removesuffix("-sim") for name in BOARDS if name.endswith("-sim")]
LINE = "factory, app, factory, 0x10000, 0x100000"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Build]:
    folder = tmp_path_factory.mktemp("images")
    library = make_library(folder / "library")
    return cache(lambda chip: build_harness(library, find_board(f"{chip}-sim"), folder / chip))


@pytest.fixture
def build(
    built: Callable[[str], Build], require_tool: Callable[..., str], require_module: Callable[[str], None]
) -> Callable[[str], Build]:
    """A small program for a simulated chip, made once."""

    def make(chip: str) -> Build:
        require_module("esptool")
        require_tool("clang-22" if chip in ("esp32", "esp32s3") else "riscv64-unknown-elf-gcc")
        return built(chip)

    return make


@pytest.mark.parametrize("chip", CHIPS)
def test_an_image_is_the_program(chip: str, build: Callable[[str], Build]) -> None:
    made = build(chip)
    assert made.image is not None
    image = read_flash_image(made.image.read_bytes())
    assert image.chip == chip
    assert image.size_bytes == made.image.stat().st_size
    sizes = {section.name: section.size_bytes for section in elf.read_sections(made.elf) if section.in_file}
    assert sum(len(segment.data) for segment in image.segments) - sum(sizes.values()) in range(4 * len(sizes))
    start = elf.find_symbol(made.elf, "_start")
    assert start is not None
    assert start.address == image.entry
    said = run_esptool(["--chip", chip, "image-info", str(made.image)])
    assert f"Validation hash: {image.sha256} (valid)" in said
    assert all(f"0x{len(segment.data):05x}  0x{segment.address:08x}" in said for segment in image.segments)


def test_an_image_becomes_a_program_again(build: Callable[[str], Build]) -> None:
    made = build("esp32c3")
    assert made.image is not None
    image = read_flash_image(made.image.read_bytes())
    program = flash_image_elf(image)
    count, position = struct.unpack_from("<H", program, 44)[0], 52
    loaded = []
    for _ in range(count):
        kind, offset, address, _, size_bytes = struct.unpack_from("<5I", program, position)
        assert kind == 1
        loaded.append((address, program[offset : offset + size_bytes]))
        position += 32
    assert loaded == [(segment.address, segment.data) for segment in image.segments]
    assert struct.unpack_from("<I", program, 24)[0] == image.entry


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:20], "does not start"),
        (lambda data: b"\x7f" + data[1:], "does not start"),
        (lambda data: data[:12] + b"\x63\0" + data[14:], "is for chip 99"),
        (lambda data: data[:30], "ends before segment 0"),
        (lambda data: data[:36], "ends before segment 1"),
        (lambda data: data[:-8], "is cut off"),
        (lambda data: data[:-60] + bytes([data[-60] ^ 1]) + data[-59:], "checksum and SHA-256"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum and SHA-256"),
    ],
)
def test_damaged_images_are_refused(
    damage: Callable[[bytes], bytes], message: str, build: Callable[[str], Build]
) -> None:
    made = build("esp32c3")
    assert made.image is not None
    with pytest.raises(DeployError, match=message):
        read_flash_image(damage(made.image.read_bytes()))


# ---- Partitions ------------------------------------------------------------------------------------------------


def test_the_table_of_the_boards() -> None:
    text = (Path(__file__).resolve().parents[2] / "firmware/boards/partitions.csv").read_text()
    partitions = parse_partitions(text)
    assert [p.name for p in partitions] == ["nvs", "phy_init", "factory"]
    smallest = min(b.flash_bytes for b in BOARDS.values() if b.flash_bytes and b.kind != "library")
    assert max(p.offset + p.size_bytes for p in partitions) <= smallest
    table = partition_table(partitions)
    assert len(table) == TABLE_BYTES
    # The bytes that ESP-IDF's own gen_esp32part.py makes of the same lines.
    assert table[:32].hex() == "aa5001020090000000600000" + b"nvs".ljust(20, b"\0").hex()
    assert table[96:98] == b"\xeb\xeb"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("factory, app, factory, 0x10000", "is no partition"),
        ("factory, app, bogus, 0x10000, 0x1000", "is no partition"),
        ("factory, app, factory, , 1M", "is no partition"),
        ("factory, app, factory, 0x11000, 0x1000", "cannot lie at 0x11000"),
        ("nvs, data, nvs, 0x8000, 0x1000", "cannot lie at 0x8000"),
        (f"{LINE}\nmore, data, nvs, 0x20000, 0x1000", "line 2: more cannot lie"),
    ],
)
def test_wrong_tables_are_refused(line: str, message: str) -> None:
    with pytest.raises(DeployError, match=message):
        parse_partitions(line)


def test_the_application_is_found_by_the_table() -> None:
    table = partition_table(parse_partitions(LINE))
    flash = (b"\xff" * 0x8000 + table).ljust(0x10000, b"\xff") + b"application"
    assert find_application(flash) == b"application"


# ---- Flashing --------------------------------------------------------------------------------------------------


def test_what_was_flashed_is_what_runs(
    build: Callable[[str], Build], require_module: Callable[[str], None], tmp_path: Path
) -> None:
    """Program, image, whole flash, boot loader of the chip, back: the simulator runs what was read."""
    require_module("esp32_mock_bootloader")
    require_module("labwired")
    made = build("esp32c3")
    assert made.image is not None
    merge_flash(made.image, "esp32c3", tmp_path / "flash.bin")
    with mock_board("esp32c3") as port:
        write_flash("esp32c3", port, {0: tmp_path / "flash.bin"}, mock=True)
        size_bytes = (tmp_path / "flash.bin").stat().st_size
        flash = read_flash("esp32c3", port, 0, size_bytes, tmp_path / "back.bin")
    assert flash == (tmp_path / "flash.bin").read_bytes()
    (tmp_path / "application.bin").write_bytes(find_application(flash))
    made = replace(made, image=tmp_path / "application.bin")
    frames = np.random.default_rng(3).integers(-128, 128, (2, INPUT_BYTES)).astype(np.int8)
    assert np.array_equal(run_harness(made, frames).outputs, expected_outputs(frames))


@pytest.mark.parametrize("chip", [chip for chip in CHIPS if chip != "esp32c3"])
def test_every_chip_takes_its_image(
    chip: str, build: Callable[[str], Build], require_module: Callable[[str], None]
) -> None:
    require_module("esp32_mock_bootloader")
    made = build(chip)
    assert made.image is not None
    with mock_board(chip) as port:
        assert "Hash of data verified" in write_flash(chip, port, {0x10000: made.image}, mock=True)


def test_an_image_of_another_chip_is_refused(
    build: Callable[[str], Build], require_module: Callable[[str], None]
) -> None:
    require_module("esp32_mock_bootloader")
    made = build("esp32c6")
    assert made.image is not None
    with mock_board("esp32c3") as port, pytest.raises(DeployError, match="not an ESP32-C3 image"):
        write_flash("esp32c3", port, {0: made.image}, mock=True)


def test_a_port_where_nothing_answers(require_module: Callable[[str], None], tmp_path: Path) -> None:
    require_module("esptool")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DeployError, match="esptool failed"):
        write_flash("esp32c3", str(tmp_path / "no-port"), {0x10000: tmp_path / "file"})


def test_an_application_larger_than_its_partition(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(4 << 20))
    with pytest.raises(DeployError, match="its partition 3,145,728"):
        merge_flash(tmp_path / "large.bin", "esp32c3", tmp_path / "flash.bin")


def test_boot_loaders_lie_where_the_rom_looks() -> None:
    assert [boot_loader_offset(chip) for chip in ("esp32", "esp32s3", "esp32c6", "esp32p4")] == [0x1000, 0, 0, 0x2000]
