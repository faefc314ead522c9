"""Define the options that say where labelled pictures are: folders of masks, or what a labelling tool saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from nanou_deploy.cli.options import Names
from nanou_deploy.errors import UsageMistake

if TYPE_CHECKING:
    from nanou_train.data.sources import AnnotationFiles, MaskFolders

_Command = TypeVar("_Command", bound=Callable[..., Any])

# The keys of nanou_train.data.annotations.recognize.FORMATS, which a test compares: `--help` imports nothing.
FORMATS = ("labelme", "cvat", "coco", "yolo", "voc", "roboflow-masks")
_NAMES = (
    "images", "masks", "labels", "annotation_format", "drivable", "ignore", "unlabelled", "with_empty", "label_map",
    "mask_suffix", "unmasked",
)  # fmt: skip


def source_options(command: _Command) -> _Command:
    """Define --images, --masks, --labels and what belongs to them, handed to the command as one `source`."""

    @click.option(
        "--images", type=click.Path(path_type=Path), help="Folder of images, searched deeply. Default: --labels."
    )
    @click.option("--masks", type=click.Path(path_type=Path), help="Folder of masks, of the images' names.")
    @click.option(
        "--labels",
        type=click.Path(path_type=Path),
        help="In place of masks: annotations of LabelMe, CVAT, COCO, YOLO, Pascal VOC or Roboflow, a file or a folder.",
    )
    @click.option(
        "--format", "annotation_format", type=click.Choice(FORMATS), help="Of --labels. Default: what is found."
    )
    @click.option(
        "--drivable",
        multiple=True,
        type=Names(),
        metavar="LABEL,...",
        help="Of --labels: those that are drivable ground.",
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
    @click.option(
        "--label-map", type=click.Path(path_type=Path), help="YAML or JSON: classes and their mask values, or labels."
    )
    @click.option("--mask-suffix", default="", help="What mask names have after the image's, such as _L.")
    @click.option(
        "--unmasked",
        type=click.Choice(["refuse", "skip"]),
        default="refuse",
        show_default=True,
        help="Of --masks: what becomes of images without one.",
    )
    @wraps(command)
    def with_source(*args: Any, **given: Any) -> Any:
        said = {name: given.pop(name) for name in _NAMES}
        return command(*args, source=_source(said), **given)

    return cast(_Command, with_source)


def _source(given: dict[str, Any]) -> MaskFolders | AnnotationFiles:
    """Make the source of --masks or of --labels. Raises UsageMistake for neither, both, or options of the other."""
    from nanou_train.data.sources import AnnotationFiles, MaskFolders

    drivable, ignore = (tuple(label for names in given[which] for label in names) for which in ("drivable", "ignore"))
    images, masks, labels, label_map = (given[name] for name in ("images", "masks", "labels", "label_map"))
    if (masks is None) == (labels is None):
        raise UsageMistake(
            "--masks or --labels is needed" if masks is None else "--masks and --labels exclude each other",
            hint="--masks is a folder of mask pictures, --labels a file or folder of a labelling tool",
        )
    if labels is not None:
        if given["mask_suffix"] or given["unmasked"] != "refuse":
            wrong_one = "--mask-suffix" if given["mask_suffix"] else "--unmasked"
            raise UsageMistake(f"{wrong_one} belongs to --masks", hint="leave it out")
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
    return MaskFolders(images, masks, given["mask_suffix"], label_map, given["unmasked"])
