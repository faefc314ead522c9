"""`export`: write the model as a folder for another build system."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click

from codegen.program.objective import Objective
from nanou_deploy.cli.options import (
    Output,
    board_option,
    cores_option,
    json_option,
    model_option,
    objective_options,
    runtime_option,
)
from nanou_deploy.cli.output import emit_json, remark, say

_FORMATS = ("platformio", "esp-idf-component", "arduino", "cmake")


@click.command(short_help="Write a folder that builds elsewhere.")
@click.option("--format", "form", type=click.Choice(_FORMATS), required=True, help="For which build system.")
@model_option
@board_option()
@runtime_option
@objective_options
@cores_option
@click.option("--name", help="Name of the package. Default: nanou_model.")
@click.option("--package-version", metavar="X.Y.Z", help="Its version. Default: nanou-deploy's, and of which model.")
@click.option("--author", help="Who stands behind it, for Arduino's library manager.")
@click.option("--url", help="Where it is at home. Arduino's library manager wants one before it publishes.")
@click.option(
    "--output",
    type=Output(),
    help="Folder to write. Default: build/export/FORMAT/NAME.",
)
@click.option("--force", is_flag=True, help="Replace the folder even if it holds other or edited files.")
@json_option
def export(
    form: str,
    model: Path | None,
    board: str,
    runtime: str,
    objective: Objective,
    name: str | None,
    package_version: str | None,
    author: str | None,
    url: str | None,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the model as a folder that builds elsewhere: with README, licence, provenance and one example.

    The example makes one inference whose result is known, and says whether it is equal.
    """
    import dataclasses

    from codegen.graph.contract import remarks
    from codegen.library.render import Runtime
    from codegen.library.write import write_project
    from nanou_deploy.boards.boards import check_cores, find_board
    from nanou_deploy.build.export import Format, default_package, render_export
    from nanou_deploy.build.library import core_remarks, open_model, render_library
    from nanou_deploy.report.model_card import model_card, render_card

    check_cores(find_board(board), objective.cores)

    quantized = open_model(model)
    stated = {"name": name, "version": package_version, "author": author, "url": url}
    package = dataclasses.replace(default_package(quantized), **{k: v for k, v in stated.items() if v is not None})
    assert form in get_args(Format)
    library = render_library(quantized, cast(Runtime, runtime), find_board(board), objective)
    command = ["nanou-deploy", "export", "--format", form, *(["--model", model.name] if model else [])]
    card = {f"model{suffix}": text for suffix, text in render_card(model_card(quantized)).items()}
    project = render_export(library, quantized, package, cast(Format, form), command=command, card=card)
    folder = output or Path("build") / "export" / form / package.name
    changed = write_project(project, folder, force=force)
    for text in (*remarks(quantized), *core_remarks(library, objective)):
        remark(text)
    if as_json:
        emit_json(
            "export/1",
            {
                "output": folder,
                "changed": changed,
                "format": form,
                "package": package,
                "runtime": runtime,
                "model_sha256": quantized.sha256,
                "files": list(project.files),
            },
        )
    else:
        say(f"{folder}: {len(project.files)} files, {'written' if changed else 'unchanged'}; begin with README.md")
