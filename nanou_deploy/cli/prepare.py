"""`prepare`: make a data set of images and masks."""

from __future__ import annotations

from pathlib import Path

import click

from nanou_deploy.cli.data_check import audit_json, print_audit
from nanou_deploy.cli.options import FrameSize, Output, group_by_option, json_option, seed_option
from nanou_deploy.cli.output import emit_json, next_step, said_when_interrupted, say


@click.command(short_help="Make a data set from images and masks.")
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Folder of images, searched deeply.")
@click.option("--masks", type=click.Path(path_type=Path), required=True, help="Folder of masks, of the same names.")
@click.option("--output", type=Output(), required=True, help="Data set folder to write.")
@click.option("--label-map", type=click.Path(path_type=Path), help="YAML or JSON: classes and their mask values.")
@click.option("--mask-suffix", default="", help="What mask names have after the image's, such as _L.")
@group_by_option
@click.option("--size", type=FrameSize(), default="60x80", show_default=True, help="Height and width for the model.")
@click.option("--filter", "resize_filter", default="box", show_default=True, help="Resize filter, by Pillow's name.")
@click.option("--ratios", type=(float, float, float), default=(0.7, 0.15, 0.15), show_default=True, metavar="T V T")
@seed_option(0, "Of the assignment of groups to splits.")
@click.option(
    "--ignore-orientation", is_flag=True, help="Take pictures as they are stored, whatever their orientation tag says."
)
@click.option("--force", is_flag=True, help="Replace the output folder, whatever is in it.")
@json_option
def prepare(
    images: Path,
    masks: Path,
    output: Path,
    label_map: Path | None,
    mask_suffix: str,
    group_by: str,
    size: tuple[int, int],
    resize_filter: str,
    ratios: tuple[float, float, float],
    seed: int,
    ignore_orientation: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Pair images with masks, map labels to classes, resize, and split by sequence, never through one.

    All of OUTPUT is written, or nothing. Then `nanou-deploy train --data OUTPUT`.
    """
    from codegen.graph.model import Preprocessing
    from nanou_deploy.cli.training_output import training_progress
    from nanou_train.data.prepare import PrepareSpec
    from nanou_train.data.prepare import prepare as run

    contract = Preprocessing(*size, resize_filter=resize_filter)
    upright = not ignore_orientation
    spec = PrepareSpec(images, masks, output, label_map, group_by, mask_suffix, contract, ratios, seed, force, upright)
    with said_when_interrupted(f"{output} is as it was"), training_progress() as progress:
        prepared = run(spec, progress)
    if as_json:
        files = prepared.files.as_json()
        emit_json("prepare/1", {"output": prepared.output, "files": files, **audit_json(prepared.audit)})
        return
    say(f"{prepared.files}")
    print_audit(prepared.audit)
    next_step("nanou-deploy", "train", "--data", output, "--output", "runs/mine")
