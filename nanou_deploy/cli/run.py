"""`run`: build firmware, flash it, and show what the board sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from nanou_deploy.cli.device_options import device_address, frames_option, timeout_option
from nanou_deploy.cli.drive_options import Drive, drive_options
from nanou_deploy.cli.monitor import View, find_frames, view_options, watch
from nanou_deploy.cli.options import (
    board_option,
    camera_option,
    check_output,
    model_option,
    runtime_option,
    threshold_option,
)
from nanou_deploy.cli.output import heading, progress
from nanou_deploy.cli.platform_offer import offer_platform, yes_option

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize, QuantizedModel
    from nanou_deploy.firmware.make_firmware import Order

_SCENES, _SCENE_SEED = 60, 7
_BOOT_S = 10.0


@click.command(short_help="Build, flash and watch.")
@board_option(default=None)
@model_option
@runtime_option
@click.option("--port", metavar="PORT", help="The board's serial port. Default: the board that is plugged in.")
@frames_option
@camera_option
@threshold_option
@drive_options
@view_options
@timeout_option
@click.option("--force", is_flag=True, help="Replace generated folders even if they hold edited files.")
@yes_option
def run(
    board: str,
    model: Path | None,
    runtime: str,
    port: str | None,
    frames: Path | None,
    camera: CameraSize | None,
    threshold: float | None,
    drive: Drive,
    view: View,
    timeout_s: float,
    force: bool,
    yes: bool,
) -> int:
    """Build firmware for a board, flash it and show what it sees, as `monitor` does.

    Host and simulated chips need no board: their application is started here, and sees the pictures of --frames, or
    rendered terrain. Exit code 4 where the board's platform, which links for hardware, is not installed.
    """
    from codegen.library.render import Runtime
    from nanou_deploy.boards.boards import check_firmware, find_board
    from nanou_deploy.build.library import open_model
    from nanou_deploy.firmware.make_firmware import Order

    target, quantized = find_board(board), open_model(model, camera, threshold)
    _ = quantized.image  # what runs decides by what pictures mean: refuse a raw model before anything is written
    check_firmware(target)
    pictures = find_frames(frames, quantized.camera)
    folder = check_output(Path("build") / target.name)
    user = drive.folder(folder)
    heading(f"{quantized.name} for {target.name}: {target.description}")
    if target.kind == "hardware":
        order = Order(
            target, folder, cast(Runtime, runtime), user=user, motors=drive.begins_as, drive=drive.config(), cases=0,
            force=force,
        )  # fmt: skip
        address = _flashed(quantized, order, port, drive, yes=yes)
    else:
        if port or runtime != "aot":
            raise click.UsageError(f"{board} is no hardware: it takes no --port, and the aot runtime alone")
        drive.make(user, target)
        address = device_address(target, quantized, folder, force=force, user=user, drive=drive.config())
        if pictures is None:
            pictures = find_frames(_rendered_terrain(quantized, Path("build") / "terrain_frames"), quantized.camera)
    return watch(
        (address,), view, pictures, timeout_s=timeout_s, model=quantized, model_sha256=quantized.sha256, boot_s=_BOOT_S
    )


def _flashed(model: QuantizedModel, order: Order, port: str | None, drive: Drive, *, yes: bool) -> str:
    """Build and flash; return the port at which the board answers. Raises DeployError; exit code 4 if not linked."""
    from nanou_deploy.cli.flash import flash_project
    from nanou_deploy.firmware.make_firmware import make_firmware

    install = offer_platform(order.board.name, yes=yes)
    firmware = make_firmware(model, order, progress=progress, install=install, made=drive.say_made)
    if firmware.missing is not None:
        raise firmware.missing
    size_bytes, address = flash_project(order.board.name, port, order.folder)
    progress(f"{size_bytes:,} bytes written and verified")
    return address


def _rendered_terrain(model: QuantizedModel, folder: Path) -> Path:
    """Render scenes of the embedded data set as pictures, once."""
    from codegen.library.write import staged_folder
    from nanou_deploy.build.built_folder import tag_built
    from nanou_deploy.errors import DeployError

    if model.image.channels != 3:
        raise DeployError("rendered terrain is in colour, this model's input is not", hint="give --frames FOLDER")
    if not folder.is_dir():
        from PIL import Image

        from nanou_train.data.terrain import generate

        images, _ = generate(_SCENES, seed=_SCENE_SEED, height_px=120, width_px=160)
        with staged_folder(folder) as staging:
            tag_built(staging)
            for number, image in enumerate(images):
                Image.fromarray(image).save(staging / f"scene_{number:03d}.png")
    return folder
