"""`prepare`: make a data set of pictures, and masks or annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.data_check import audit_json, print_audit
from nanou_deploy.cli.options import FrameSize, Names, Output, Terms, group_by_option, json_option, seed_option
from nanou_deploy.cli.output import emit_json, next_step, said_when_interrupted, say
from nanou_deploy.errors import UsageMistake

if TYPE_CHECKING:
    from nanou_train.data.sources import AnnotationFiles, MaskFolders

# The keys of nanou_train.data.annotations.recognize.FORMATS, which a test compares: `--help` imports nothing.
FORMATS = ("labelme", "cvat", "coco", "yolo", "voc", "roboflow-masks")


@click.command(short_help="Make a data set from images and masks or annotations.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of images, searched deeply. Default: --labels.")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of masks, of the images' names.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="In place of masks: annotations of LabelMe, CVAT, COCO, YOLO, Pascal VOC or Roboflow, a file or a folder.",
)
@click.option("--format", "annotation_format", type=click.Choice(FORMATS), help="Of --labels. Default: what is found.")
@click.option(
    "--drivable", multiple=True, type=Names(), metavar="LABEL,...", help="Of --labels: those that are drivable ground."
)
@click.option(
    "--ignore", multiple=True, type=Names(), metavar="LABEL,...", help="Of --labels: those that count in nothing."
)
@click.option(
    "--unlabelled",
    type=click.Choice(["background", "ignore"]),
    default="background",
    show_default=True,
    help="Of --labels: what pixels without any label are.",
)
@click.option("--with-empty", is_flag=True, help="Of --labels: also take pictures on which nothing is drawn.")
@click.option("--output", type=Output(), required=True, help="Data set folder to write.")
@click.option(
    "--label-map", type=click.Path(path_type=Path), help="YAML or JSON: classes and their mask values, or labels."
)
@click.option("--mask-suffix", default="", help="What mask names have after the image's, such as _L.")
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
    **given: Any,
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
        _source(given), output, group_by, contract, ratios, seed, force,
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


def _source(given: dict[str, Any]) -> MaskFolders | AnnotationFiles:
    """Make the source of --masks or of --labels. Raises UsageMistake for neither, both, or options of the other."""
    from nanou_train.data.sources import AnnotationFiles, MaskFolders

    drivable, ignore = (tuple(label for names in given[which] for label in names) for which in ("drivable", "ignore"))
    images, masks, labels, label_map = (given[name] for name in ("images", "masks", "labels", "label_map"))
    if (masks is None) == (labels is None):
        raise UsageMistake(
            f"prepare needs {'--masks or --labels' if masks is None else 'one of --masks and --labels, not both'}",
            hint="--masks is a folder of mask pictures, --labels a file or folder of a labelling tool",
        )
    if labels is not None:
        if given["mask_suffix"]:
            raise UsageMistake("--mask-suffix belongs to --masks", hint="leave it out")
        return AnnotationFiles(
            labels, images, given["annotation_format"], drivable, ignore, given["unlabelled"], label_map,
            given["with_empty"],
        )  # fmt: skip
    alien = {
        "--format": given["annotation_format"],
        "--drivable": drivable,
        "--ignore": ignore,
        "--unlabelled": given["unlabelled"] != "background",
        "--with-empty": given["with_empty"],
    }
    if wrong := [name for name, value in alien.items() if value]:
        raise UsageMistake(f"{wrong[0]} belongs to --labels", hint="for masks, a --label-map says what values mean")
    if images is None:
        raise UsageMistake("--masks needs --images", hint="give the folder of the images")
    return MaskFolders(images, masks, given["mask_suffix"], label_map)
