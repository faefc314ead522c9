"""`data-check`: report what is in a data set, and what should not be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import DataFolder, group_by_option, json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, say, warn
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_OK

if TYPE_CHECKING:
    from nanou_train.data.audit import Audit, Pair

_SHOWN_PAIRS = 10


@click.command(short_help="Class balance, duplicates, and leaks across splits.")
@click.option("--data", type=DataFolder(), required=True, help="Data set ROOT/{train,val,test}/{img,mask}.")
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
        emit_json("data-check/1", {"data": data, **audit_json(audit)})
    else:
        print_audit(audit)
    return EXIT_MISMATCH if audit.leaks else EXIT_OK


def audit_json(audit: Audit) -> dict[str, Any]:
    """Turn an audit into JSON types."""
    shares = [{**as_dict(part), "class_shares": part.class_shares} for part in audit.balance]
    return {**as_dict(audit), "balance": shares, "leaks": audit.leaks}


def print_audit(audit: Audit) -> None:
    """Balance as a table, then what was found."""
    ignored = any(part.ignored_pixels for part in audit.balance)
    marked = set(audit.drivable) - {"drivable"}
    names = (f"{name} (drivable) %" if name in marked else f"{name} %" for name in audit.classes)
    columns = ("Split", "Images", "Groups", *names, *(("ignored %",) if ignored else ()))
    rows = (
        (
            part.split,
            part.images,
            part.groups or "",
            *(f"{100 * share:.1f}" for share in part.class_shares),
            *((f"{100 * part.ignored_share:.1f}",) if ignored else ()),
        )
        for part in audit.balance
    )
    emit_table(columns, rows, right=range(1, len(columns)))
    sizes = [f"{count} of {size}" for size, count in audit.sizes_px.items()]
    say(f"sizes: {', '.join(sizes[:5])}{', ...' if len(sizes) > 5 else ''}")
    say(f"exact duplicates: {len(audit.duplicates)}, of which {len(audit.duplicates_across)} across splits")
    _print_pairs(audit.duplicates_across)
    say(f"look-alikes across splits: {len(audit.near_duplicates_across)}")
    _print_pairs(audit.near_duplicates_across)
    say(f"sequences across splits: {len(audit.groups_across)}")
    for group, splits in list(audit.groups_across.items())[:_SHOWN_PAIRS]:
        say(f"  {group}: {', '.join(splits)}")
    for warning in audit.warnings:
        warn(warning)


def _print_pairs(pairs: tuple[Pair, ...]) -> None:
    for pair in pairs[:_SHOWN_PAIRS]:
        say(f"  {pair.first} and {pair.second}: {pair.distance_bits} bits, correlation {pair.correlation:.3f}")
