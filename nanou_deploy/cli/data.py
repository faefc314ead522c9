"""`prepare` and `data-check`: from pictures to a data set, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import FrameSize, json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_OK

if TYPE_CHECKING:
    from nanou_train.data.audit import Audit, Pair

_SHOWN_PAIRS = 10

group_by_option = click.option(
    "--group-by",
    default="",
    metavar="PATTERN|CSV",
    help="What images belong together: a regular expression on their names, or a .csv file (image,group,split).",
)


@click.command(short_help="Make a data set from images and masks.")
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Folder of images, searched deeply.")
@click.option("--masks", type=click.Path(path_type=Path), required=True, help="Folder of masks, of the same names.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Data set folder to write.")
@click.option("--label-map", type=click.Path(path_type=Path), help="YAML or JSON: classes and their mask values.")
@click.option("--mask-suffix", default="", help="What mask names have after the image's, such as _L.")
@group_by_option
@click.option("--size", type=FrameSize(), default="60x80", show_default=True, help="Height and width for the model.")
@click.option("--filter", "resize_filter", default="box", show_default=True, help="Resize filter, by Pillow's name.")
@click.option("--ratios", type=(float, float, float), default=(0.7, 0.15, 0.15), show_default=True, metavar="T V T")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the assignment of groups to splits.")
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
    force: bool,
    as_json: bool,
) -> None:
    """Pair images with masks, map labels to classes, resize, and split by sequence, never through one.

    All of OUTPUT is written, or nothing. Then `nanou-deploy train --data OUTPUT`.
    """
    from codegen.graph.model import Preprocessing
    from nanou_deploy.cli.train import training_progress
    from nanou_train.data.prepare import PrepareSpec
    from nanou_train.data.prepare import prepare as run

    contract = Preprocessing(*size, resize_filter=resize_filter)
    spec = PrepareSpec(images, masks, output, label_map, group_by, mask_suffix, contract, ratios, seed, force)
    with training_progress() as progress:
        prepared = run(spec, progress)
    if as_json:
        emit_json("prepare/1", {"output": prepared.output, **_audit_json(prepared.audit)})
        return
    print_audit(prepared.audit)
    click.echo(f"next: nanou-deploy train --data {output} --output runs/mine")


@click.command(short_help="Class balance, duplicates, and leaks across splits.")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Data set ROOT/{train,val,test}/{img,mask}."
)
@group_by_option
@click.option(
    "--distance",
    type=click.IntRange(0, 128),
    default=20,
    show_default=True,
    help="Look-alikes differ in at most so many of 128 hash bits.",
)
@json_option
def data_check(data: Path, group_by: str, distance: int, as_json: bool) -> int:
    """Read every file of a data set and report its balance, duplicates, and what is in two splits.

    Exit code 3 where an image, a look-alike or a sequence is in two splits.
    """
    from nanou_train.data.audit import audit_dataset

    audit = audit_dataset(data, group_by=group_by, max_distance_bits=distance)
    if as_json:
        emit_json("data-check/1", {"data": data, **_audit_json(audit)})
    else:
        print_audit(audit)
    return EXIT_MISMATCH if audit.leaks else EXIT_OK


def _audit_json(audit: Audit) -> dict[str, Any]:
    shares = [{**as_dict(part), "class_shares": part.class_shares} for part in audit.balance]
    return {**as_dict(audit), "balance": shares, "leaks": audit.leaks}


def print_audit(audit: Audit) -> None:
    """Balance as a table, then what was found."""
    columns = ("Split", "Images", "Groups", *(f"{name} %" for name in audit.classes))
    rows = (
        (part.split, part.images, part.groups or "", *(f"{100 * share:.1f}" for share in part.class_shares))
        for part in audit.balance
    )
    emit_table(columns, rows, right=range(1, len(columns)))
    sizes = [f"{count} of {size}" for size, count in audit.sizes_px.items()]
    click.echo(f"sizes: {', '.join(sizes[:5])}{', ...' if len(sizes) > 5 else ''}")
    click.echo(f"exact duplicates: {len(audit.duplicates)}, of which {len(audit.duplicates_across)} across splits")
    _print_pairs(audit.duplicates_across)
    click.echo(f"look-alikes across splits: {len(audit.near_duplicates_across)}")
    _print_pairs(audit.near_duplicates_across)
    click.echo(f"sequences across splits: {len(audit.groups_across)}")
    for group, splits in list(audit.groups_across.items())[:_SHOWN_PAIRS]:
        click.echo(f"  {group}: {', '.join(splits)}")
    for warning in audit.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)


def _print_pairs(pairs: tuple[Pair, ...]) -> None:
    for pair in pairs[:_SHOWN_PAIRS]:
        click.echo(f"  {pair.first} and {pair.second}: {pair.distance_bits} bits, correlation {pair.correlation:.3f}")
