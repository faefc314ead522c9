"""Render the firmware as a project for PlatformIO and ESP-IDF, for one board or for this repository."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from codegen.library.render import MANIFEST, RenderedProject, with_manifest
from codegen.library.resources import render_template
from nanou_deploy.boards.boards import BOARDS, MIB, Board, find_board
from nanou_deploy.boards.versions import load_versions
from nanou_deploy.build.drive_config import DEFAULT_DRIVE, DriveConfig, render_app_config
from nanou_deploy.build.user_folder import USER_FOLDER, render_user_header
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import firmware_folder

LIBRARY_FOLDER = "components/nanou_model"
APPLICATION_FOLDERS = ("app", "app/vision", "src")  # of firmware/; src is ESP-IDF's side and refers to ../app

# On the local platform, firmware/platform; what `pio run` and `pio test` build without -e.
LOCAL_ENVIRONMENTS = ("host", "rv32-qemu", "esp32-sim", "esp32s3-sim", "esp32c3-sim", "esp32c6-sim")
DEFAULT_ENVIRONMENTS = ("host", "rv32-qemu", "esp32c3-sim")

_PIOARDUINO = "https://github.com/pioarduino/platform-espressif32/releases/download/{}/platform-espressif32.zip"
# ESP-IDF 5.5, Kconfig.cache and Kconfig.hw_support of each chip. Caches of the others have one size.
_CHIP_SETTINGS: Mapping[str, Sequence[str]] = {
    "esp32s3": (
        "CONFIG_ESP32S3_INSTRUCTION_CACHE_32KB=y",
        "CONFIG_ESP32S3_DATA_CACHE_64KB=y",
        "CONFIG_ESP32S3_DATA_CACHE_LINE_64B=y",
    ),
    "esp32p4": ("CONFIG_ESP32P4_SELECTS_REV_LESS_V3=y", "CONFIG_CACHE_L2_CACHE_256KB=y"),
}
# firmware/src/port_esp.c talks to the host where ESP-IDF's console is.
_LINE_SETTINGS: Mapping[str, Sequence[str]] = {"uart": (), "usb": ("CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG=y",)}
_PSRAM_SETTINGS: Mapping[str, Sequence[str]] = {
    "none": (),
    "quad": ("CONFIG_SPIRAM=y", "CONFIG_SPIRAM_MODE_QUAD=y", "CONFIG_SPIRAM_SPEED_80M=y"),
    "octal": ("CONFIG_SPIRAM=y", "CONFIG_SPIRAM_MODE_OCT=y", "CONFIG_SPIRAM_SPEED_80M=y"),
    "hex": ("CONFIG_SPIRAM=y", "CONFIG_SPIRAM_MODE_HEX=y", "CONFIG_SPIRAM_SPEED_200M=y"),
}


def render_firmware_project(
    board: Board, library: RenderedProject, *, user_folder: str = USER_FOLDER, drive: DriveConfig = DEFAULT_DRIVE
) -> RenderedProject:
    """Render the PlatformIO and ESP-IDF project for one hardware board around a generated model library.

    `user_folder`: where the user's code is, from the project's folder, with slashes; it is no
    part of the project. Raises DeployError where the board is none, or the model's arena does not fit its memory.
    """
    if board.idf_target is None:
        raise DeployError(f"{board.name} is not a board to flash", hint=f"choose one of {', '.join(_hardware_names())}")
    files = _render_settings([board], arena_in_psram=_needs_psram(board, library))
    for path in application_files():
        files[path] = (firmware_folder() / path).read_text(encoding="utf-8")
    files |= _drive_files(drive, user_folder)
    for name in ("partitions.csv", f"{board.pio_board}.json"):
        source = firmware_folder() / "boards" / name
        if source.is_file():  # most boards are in PlatformIO's platform
            files[f"boards/{name}"] = source.read_text(encoding="utf-8")
    files.update({f"{LIBRARY_FOLDER}/{path}": text for path, text in library.files.items()})
    runtime = json.loads(library.files[MANIFEST])["runtime"]
    return with_manifest(files, {"board": board.name, "runtime": runtime})


def application_files() -> tuple[str, ...]:
    """List what is compiled for a board besides the model, relative to firmware/ as to the rendered project."""
    root = firmware_folder()
    folders = [root / name for name in APPLICATION_FOLDERS if (root / name).is_dir()]
    files = [path.relative_to(root).as_posix() for folder in folders for path in folder.iterdir() if path.is_file()]
    return tuple(sorted(set(files) - {"src/Kconfig.projbuild", "src/idf_component.yml"}))  # these are rendered


def _drive_files(drive: DriveConfig, user_folder: str) -> dict[str, str]:
    return {
        "config/app_config.h": render_app_config(drive),
        "config/user_folder.cmake": render_template("project/user_folder.cmake.j2", user_folder=user_folder),
    }


def render_repository_project() -> Mapping[str, str]:
    """Render the repository's own project: all boards, sources where they are, the model made on demand."""
    boards = [board for board in BOARDS.values() if board.kind == "hardware"]
    files = _render_settings(
        boards,
        root="firmware/",
        local=[board for board in BOARDS.values() if board.name in LOCAL_ENVIRONMENTS],
        note="Rendered from templates/project by nanou_deploy.build.firmware_project; a test keeps both the same.",
    )
    files |= {f"firmware/{path}": text for path, text in _drive_files(DEFAULT_DRIVE, USER_FOLDER).items()}
    files[f"firmware/{USER_FOLDER}/user.h"] = render_user_header(find_board("host"))
    for board in BOARDS.values():
        if board.name in LOCAL_ENVIRONMENTS:
            files[f"firmware/platform/boards/{board.name}.json"] = _local_board(board)
    return files


def _local_board(board: Board) -> str:
    sizes = {"maximum_size": board.flash_bytes or 0, "maximum_ram_size": board.ram_bytes or 0}
    about = {
        "name": board.description,
        "vendor": "nanou-deploy",
        "url": "https://docs.platformio.org/en/latest/platforms/creating_board.html",
        "platform": "nanou",
        "build": {"mcu": board.chip, "f_cpu": f"{(board.cpu_mhz or 0) * 1_000_000}L"},
        "frameworks": [],
        "upload": sizes,
    }
    return json.dumps(about, indent=2) + "\n"


def _render_settings(
    boards: Sequence[Board],
    *,
    root: str = "",
    local: Sequence[Board] = (),
    arena_in_psram: bool = False,
    note: str = "Generated by nanou-deploy; `nanou-deploy build` makes it again, so keep changes elsewhere.",
) -> dict[str, str]:
    hardware = [_environment(board, root, arena_in_psram) for board in boards]
    versions = load_versions()
    context = {
        "note": note,
        "platform": platform_spec("espressif32") if local else platform_spec(boards[0].platform),
        "src_dir": f"{root}src",
        "boards_dir": f"{root}boards",
        "partitions": f"{root}boards/partitions.csv",
        "platform_dir": f"{root}platform",
        "test_dir": f"{root}test" if local else "",
        "generate_script": f"{root}generate_model.py" if local else "",
        "default_environments": ", ".join(DEFAULT_ENVIRONMENTS) if local else boards[0].name,
        "local": local,
        "hardware": hardware,
        "boards": hardware,
        "camera_version": versions.components["espressif/esp32-camera"],
    }
    targets = {
        "platformio.ini": "platformio.ini",
        "CMakeLists.txt": "CMakeLists.txt",
        f"{root}boards/sdkconfig.defaults": "sdkconfig.defaults",
        f"{root}src/idf_component.yml": "idf_component.yml",
        f"{root}src/Kconfig.projbuild": "Kconfig.projbuild",
    }
    files: dict[str, str] = {path: render_template(f"project/{name}.j2", **context) for path, name in targets.items()}
    for environment in hardware:
        path = f"{root}boards/{environment['name']}.sdkconfig"
        files[path] = render_template("project/sdkconfig.board.j2", **environment)
    return files


def _environment(board: Board, root: str, arena_in_psram: bool) -> dict[str, object]:
    """Return what templates say about one hardware board."""
    psram = list(_PSRAM_SETTINGS[board.psram])
    if board.idf_target == "esp32" and psram:
        psram.remove("CONFIG_SPIRAM_MODE_QUAD=y")  # no choice there
    if psram:  # Kconfig excludes one by the other; without an arena in it, firmware also starts where PSRAM is missing
        psram.append(f"CONFIG_SPIRAM_{'ALLOW_BSS_SEG_EXTERNAL_MEMORY' if arena_in_psram else 'IGNORE_NOTFOUND'}=y")
    return {
        "name": board.name,
        "symbol": f"NANOU_BOARD_{board.name.upper().replace('-', '_')}",
        "platform": platform_spec(board.platform),
        "pio_board": board.pio_board,
        "idf_target": board.idf_target,
        "description": board.description,
        "cpu_mhz": board.cpu_mhz,
        "flash_mb": (board.flash_bytes or 0) // MIB,
        "flash_mode": board.flash_mode,
        "flash_mhz": board.flash_mhz,
        "defaults": f"{root}boards/sdkconfig.defaults;{root}boards/{board.name}.sdkconfig",
        "chip_settings": (*_CHIP_SETTINGS.get(board.idf_target or "", ()), *_LINE_SETTINGS[board.line]),
        "psram_settings": psram,
        "arena_in_psram": arena_in_psram,
    }


def platform_spec(platform: str) -> str:
    """Return the pinned value of `platform =`."""
    version = load_versions().platformio[platform]
    return _PIOARDUINO.format(version) if platform == "pioarduino" else f"{platform}@{version}"


def internal_arena_bytes(board: Board) -> int:
    """Return the largest arena that goes into internal RAM, as firmware/src/arena.h has it."""
    header = (firmware_folder() / "src" / "arena.h").read_text(encoding="utf-8")
    esp32, others = re.findall(r"NANOU_ARENA_INTERNAL_BYTES \((\d+) \* 1024\)", header)
    return int(esp32 if board.idf_target == "esp32" else others) * 1024


def _needs_psram(board: Board, library: RenderedProject) -> bool:
    identifier = json.loads(library.files[MANIFEST])["identifier"]
    found = re.search(rf"#define {identifier.upper()}_ARENA_BYTES\s+(\d+)", library.files[f"include/{identifier}.h"])
    assert found is not None
    arena_bytes, internal_bytes = int(found[1]), internal_arena_bytes(board)
    if arena_bytes > max(internal_bytes, board.psram_bytes):
        raise DeployError(
            f"the model needs an arena of {arena_bytes} bytes; {board.name} has room for {internal_bytes} bytes"
            f" in internal RAM and {board.psram_bytes} bytes of PSRAM",
            hint="use a board with PSRAM, --runtime aot, or a smaller model",
        )
    return arena_bytes > internal_bytes


def _hardware_names() -> list[str]:
    return [name for name, board in BOARDS.items() if board.kind == "hardware"]


def write_repository_project(root: Path) -> None:
    """Render the repository's own files again: `python -m nanou_deploy.build.firmware_project`."""
    for path, text in render_repository_project().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_repository_project(Path(__file__).resolve().parents[2])
