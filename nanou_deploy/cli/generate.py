"""`generate`: write the model as a C library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from codegen.program.objective import Objective
from nanou_deploy.cli.options import (
    Output,
    board_option,
    camera_option,
    cores_option,
    json_option,
    model_option,
    objective_options,
    runtime_option,
    threshold_option,
)
from nanou_deploy.cli.output import emit_json, remark, say

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize


@click.command(short_help="Write the model as a C library.")
@model_option
@board_option()
@runtime_option
@objective_options
@cores_option
@camera_option
@threshold_option
@click.option(
    "--output",
    type=Output(),
    default=Path("build/nanou_model"),
    show_default=True,
    help="Folder of the library.",
)
@click.option("--name", help="Name of the model, after which the library and its symbols are called.")
@click.option("--force", is_flag=True, help="Replace the folder even if it holds other or edited files.")
@json_option
def generate(
    model: Path | None,
    board: str,
    runtime: str,
    objective: Objective,
    camera: CameraSize | None,
    threshold: float | None,
    output: Path,
    name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the model as a C library: PlatformIO library, ESP-IDF component and CMake target in one."""
    from codegen.graph.contract import remarks
    from codegen.library.render import Runtime
    from codegen.library.write import write_project
    from nanou_deploy.boards.boards import check_cores, find_board
    from nanou_deploy.build.library import core_remarks, open_model, render_library

    check_cores(find_board(board), objective.cores)

    quantized = open_model(model, camera, threshold)
    quantized = replace(quantized, name=name) if name else quantized
    project = render_library(quantized, cast(Runtime, runtime), find_board(board), objective)
    changed = write_project(project, output, force=force)
    for text in (*remarks(quantized), *core_remarks(project, objective)):
        remark(text)
    if as_json:
        emit_json(
            "generate/1",
            {
                "output": output,
                "changed": changed,
                "runtime": runtime,
                "model_sha256": quantized.sha256,
                "camera": quantized.camera,
                "remarks": remarks(quantized),
                "files": list(project.files),
            },
        )
    else:
        say(f"{output}: {len(project.files)} files, {'written' if changed else 'unchanged'}")
