"""`prepare`: make a data set of pictures, and masks or annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.data_check import audit_json, print_audit
from nanou_deploy.cli.options import FrameSize, Output, Terms, group_by_option, json_option, seed_option
from nanou_deploy.cli.output import emit_json, next_step, said_when_interrupted, say
from nanou_deploy.cli.source_options import source_options

if TYPE_CHECKING:
    from nanou_train.data.sources import AnnotationFiles, MaskFolders


@click.command(short_help="Make a data set from images and masks or annotations.")
@source_options
@click.option("--output", type=Output(), required=True, help="Data set folder to write.")
@group_by_option
@click.option("--size", type=FrameSize(), default="60x80", show_default=True, help="Height and width for the model.")
@click.option("--filter", "resize_filter", default="box", show_default=True, help="Resize filter, by Pillow's name.")
@click.option("--ratios", type=(float, float, float), default=(0.7, 0.15, 0.15), show_default=True, metavar="T V T")
@seed_option(0, "Of the assignment of groups to splits.")
@click.option("--licence", type=Terms(), default="", help="On what terms the pictures are; it goes into models' cards.")
@click.option("--attribution", type=Terms(), default="", help="Whom to name for the pictures.")
@click.option(
    "--ignore-orientation", is_flag=True, help="Take pictures as they are stored, whatever their orientation tag says."
)
@click.option("--force", is_flag=True, help="Replace the output folder, whatever is in it.")
@json_option
def prepare(
    output: Path,
    group_by: str,
    size: tuple[int, int],
    resize_filter: str,
    ratios: tuple[float, float, float],
    seed: int,
    licence: str,
    attribution: str,
    ignore_orientation: bool,
    force: bool,
    as_json: bool,
    source: MaskFolders | AnnotationFiles,
) -> None:
    """Pair images with masks or annotations, map labels to classes, resize, and split by sequence, never through one.

    All of OUTPUT is written, or nothing. Then `nanou-deploy train --data OUTPUT`.
    """
    from codegen.graph.model import Preprocessing
    from nanou_deploy.cli.training_output import training_progress
    from nanou_train.data.prepare import PrepareSpec
    from nanou_train.data.prepare import prepare as run
    from nanou_train.data.sources import as_json as facts_json

    contract = Preprocessing(*size, resize_filter=resize_filter)
    spec = PrepareSpec(
        source, output, group_by, contract, ratios, seed, force,
        upright=not ignore_orientation, licence=licence, attribution=attribution,
    )  # fmt: skip
    with said_when_interrupted(f"{output} is as it was"), training_progress() as progress:
        prepared = run(spec, progress)
    facts = prepared.annotations
    if as_json:
        found = {"annotations": facts_json(facts)} if facts else {}
        files = prepared.files.as_json()
        emit_json("prepare/1", {"output": prepared.output, "files": files, **found, **audit_json(prepared.audit)})
        return
    for line in facts.lines() if facts else ():
        say(line)
    say(f"{prepared.files}")
    if prepared.group_by != group_by:
        say(f"copies of one picture stay together: --group-by {prepared.group_by!r}")
    print_audit(prepared.audit)
    next_step("nanou-deploy", "train", "--data", output, "--output", "runs/mine")
