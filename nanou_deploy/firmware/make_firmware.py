"""Make firmware: generate, write, make the user's folder, verify, link. One order for `build`, `run` and `nd.build`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.graph.model import QuantizedModel
from codegen.library.render import RenderedProject, Runtime
from codegen.library.write import write_project
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from nanou_deploy.boards.boards import Board, check_firmware
from nanou_deploy.build.build import Build, build_device, build_harness
from nanou_deploy.build.built_folder import mark_built
from nanou_deploy.build.drive_config import DEFAULT_DRIVE, DriveConfig
from nanou_deploy.build.firmware_project import LIBRARY_FOLDER, render_firmware_project
from nanou_deploy.build.library import judges_pictures, render_library
from nanou_deploy.build.platformio import Lint, PlatformMissing, build_project, lint_project
from nanou_deploy.build.user_folder import USER_FOLDER, Motors, make_user_folder, path_from
from nanou_deploy.verify.golden import GoldenReport
from nanou_deploy.verify.verify import verify

Progress = Callable[[str], None]
Install = Callable[[PlatformMissing, Path], None]
Made = Callable[[Path, bool], None]
_NOT_HERE = "the tflm runtime is linked on hardware only; here it was run by the tflite-micro package"


@dataclass(frozen=True)
class Order:
    """What firmware is wanted. `cases`: frames to verify with, 0 for none. `user`: where the user's code is.

    `motors`: what motors.c begins as where that folder is made. `force`: replace generated folders that were edited.
    """

    board: Board
    folder: Path
    runtime: Runtime = "aot"
    objective: Objective = DEFAULT_OBJECTIVE
    user: Path | None = None
    motors: Motors = "log"
    drive: DriveConfig = DEFAULT_DRIVE
    cases: int = 10
    force: bool = False

    @property
    def is_hardware(self) -> bool:
        return self.board.kind == "hardware"

    @property
    def user_folder(self) -> Path:
        return self.user or self.folder / USER_FOLDER


@dataclass(frozen=True)
class Firmware:
    """What was made. `project` is the folder that was generated; `linked` is None where nothing was, `reason` says why.

    `missing` is the error where that is a board's platform. `decides`: it judges pictures and drives, with the code in
    `user` (None where there is none). `application` is what would run on a board, linked for this computer or a
    simulated chip.
    """

    project: Path
    golden: GoldenReport | None
    linked: Build | None
    reason: str = ""
    missing: PlatformMissing | None = None
    decides: bool = False
    user: Path | None = None
    lint: Lint | None = None
    application: Build | None = None


def _silent(*_told: object) -> None:
    pass


def _refuse(missing: PlatformMissing, _project: Path) -> None:
    raise missing


def make_firmware(
    model: QuantizedModel,
    order: Order,
    *,
    progress: Progress = _silent,
    install: Install = _refuse,
    made: Made = _silent,
) -> Firmware:
    """Make it, as far as it goes: outputs that differ, or a missing platform, leave it not linked.

    `install` is called where the platform is missing, and may fetch it; it raises PlatformMissing where it does not.
    `made` is told the user's folder, where there is one, and whether it was made just now, before anything is verified.
    Raises WriteError where the folder holds other or edited files, DeployError and CodegenError as each stage does.
    """
    check_firmware(order.board)
    library = render_library(model, order.runtime, order.board, order.objective)
    source, files = _written(library, order)
    progress(f"{source}: {files} files")
    decides = judges_pictures(library)
    is_driven = decides and (order.is_hardware or (order.board.kind in ("host", "sim") and order.runtime == "aot"))
    user = order.user_folder if is_driven else None
    if user is not None:
        made(user, make_user_folder(user, order.board, order.motors))
    golden = None
    if order.cases:
        written = source / LIBRARY_FOLDER if order.is_hardware else source
        targets = [(order.board, order.cases)]
        golden = verify(model, targets, runtime=order.runtime, library=written, progress=progress)
    firmware = Firmware(source, golden, None, decides=decides, user=user)
    if golden is not None and not golden.passed:
        return replace(firmware, reason="outputs differ")
    return _linked_project(firmware, order, progress, install) if order.is_hardware else _linked_here(firmware, order)


def _written(library: RenderedProject, order: Order) -> tuple[Path, int]:
    """Write the project of a chip, or the library for what runs here; return where, and how many files."""
    source, project = order.folder / "nanou_model", library
    if order.is_hardware:
        place = path_from(order.folder, order.user_folder)
        source = order.folder
        project = render_firmware_project(order.board, library, user_folder=place, drive=order.drive)
    write_project(project, source, force=order.force)
    return source, len(project.files)


def _linked_project(firmware: Firmware, order: Order, progress: Progress, install: Install) -> Firmware:
    project, name = firmware.project, order.board.name
    firmware = replace(firmware, lint=lint_project(project))
    progress(f"PlatformIO: {name}")
    try:
        try:
            linked = build_project(project, name, user=order.user_folder)
        except PlatformMissing as missing:
            install(missing, project)
            linked = build_project(project, name, user=order.user_folder)
    except PlatformMissing as missing:
        return replace(firmware, reason=f"{missing}; {missing.hint}", missing=missing)
    return replace(firmware, linked=linked)


def _linked_here(firmware: Firmware, order: Order) -> Firmware:
    """Link the verification program and, where pictures are judged, the application with the user's code."""
    if order.runtime == "tflm":
        return replace(firmware, reason=_NOT_HERE)
    linked = build_harness(firmware.project, order.board, mark_built(order.folder / "harness"))
    if firmware.user is None:
        return replace(firmware, linked=linked)
    place = mark_built(order.folder / "device")
    application = build_device(firmware.project, order.board, place, user=firmware.user, drive=order.drive)
    return replace(firmware, linked=linked, application=application)
