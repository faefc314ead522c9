"""Read what a model's provenance says for its card: typed and bounded, since a sidecar may be anybody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from codegen.untrusted import printable

_TEXT = 500  # characters
_NAMES = 40
_MOST = 300  # entries of a list or an object
COST_KEYS = ("instructions", "ram_bytes", "code_bytes", "table_bytes", "stack_bytes")


@dataclass(frozen=True)
class SequenceRow:
    """A sequence of the test part: its pictures, and mIoU in 0..1 by predictor."""

    name: str
    pictures: int
    miou: Mapping[str, float]


@dataclass(frozen=True)
class CostRow:
    """What one inference was counted to cost on a board; `figures` in the order of COST_KEYS, None where not known."""

    board: str
    figures: tuple[int | None, ...]


@dataclass(frozen=True)
class Facts:
    """What is known; empty where the provenance does not say. `metrics` in 0..1 by predictor."""

    data_name: str
    licence: str
    attribution: str
    classes: tuple[str, ...]
    drivable: tuple[str, ...]
    counts: Mapping[str, int]
    train_sha256: str
    scored_on: str
    metrics: Mapping[str, Mapping[str, float]]
    sequences: tuple[SequenceRow, ...]
    left_out: int
    limits: tuple[str, ...]
    costs: tuple[CostRow, ...]
    source: str
    experiment: str
    seed: str
    pruned: str
    calibration: str
    threshold: str
    versions: Mapping[str, str]


def read_facts(provenance: Mapping[str, Any]) -> Facts:
    """Take from a provenance what has the type that it should have."""
    data, sequences = _part(provenance, "data"), _part(provenance, "sequences")
    counts = {part: _integer(_part(data, part).get("count")) for part in ("train", "val", "test")}
    versions = {_text(name): _text(text) for name, text in _few(_part(provenance, "versions"))}
    return Facts(
        data_name=_text(data.get("name")),
        licence=_text(provenance.get("licence")) or _text(data.get("licence")),
        attribution=_text(provenance.get("attribution")) or _text(data.get("attribution")),
        classes=_texts(data.get("classes")),
        drivable=_texts(data.get("drivable")),
        counts={part: count for part, count in counts.items() if count},
        train_sha256=_text(_part(data, "train").get("sha256")),
        scored_on=_text(provenance.get("scored_on")),
        metrics={**dict(_metrics(_part(provenance, "metrics"))), **dict(_metrics(_part(provenance, "beside")))},
        sequences=tuple(_sequences(sequences.get("rows"))),
        left_out=_integer(sequences.get("left_out")) or 0,
        limits=_texts(provenance.get("limits")),
        costs=tuple(_costs(provenance.get("costs"))),
        source=_text(provenance.get("source")),
        experiment=_text(provenance.get("experiment")),
        seed=_text(provenance.get("seed")),
        pruned=_pruned(_part(provenance, "pruning")),
        calibration=_text(_part(provenance, "calibration").get("method")),
        threshold=_text(provenance.get("threshold")),
        versions={name: text for name, text in versions.items() if text},
    )


def _pruned(pruning: Mapping[str, Any]) -> str:
    share, cost, parent = pruning.get("to"), _text(pruning.get("cost")), _text(pruning.get("from"))
    if not (isinstance(share, float) and 0 < share <= 1 and cost):
        return ""
    return f"to {100 * share:.0f} % of its {cost}" + (f", from {parent[:12]}" if parent else "")


def _part(document: Any, key: str) -> Mapping[str, Any]:
    part = document.get(key) if isinstance(document, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _few(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return islice(document.items(), _NAMES)


def _text(value: Any) -> str:
    """Read a line of text, or a whole number as one."""
    known = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
    return printable(str(value), _TEXT) if known else ""


def _texts(value: Any) -> tuple[str, ...]:
    found = value[:_NAMES] if isinstance(value, list | tuple) else ()
    return tuple(text for text in map(_text, found) if text)


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _shares(document: Any) -> dict[str, float]:
    """Read numbers from 0 to 1 by name."""
    found = _few(document) if isinstance(document, Mapping) else ()
    return {
        _text(name): float(value)
        for name, value in found
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    }


def _metrics(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    for name, scores in _few(document):
        if shares := _shares(scores):
            yield _text(name), shares


def _sequences(rows: Any) -> Iterator[SequenceRow]:
    for row in rows[:_MOST] if isinstance(rows, list | tuple) else ():
        name, miou = _text(row.get("sequence")) if isinstance(row, Mapping) else "", _shares(_part(row, "miou"))
        if name and miou:
            yield SequenceRow(name, _integer(row.get("pictures")) or 0, miou)


def _costs(rows: Any) -> Iterator[CostRow]:
    for row in rows[:_NAMES] if isinstance(rows, list | tuple) else ():
        if isinstance(row, Mapping) and (board := _text(row.get("board"))):
            yield CostRow(board, tuple(_integer(row.get(key)) for key in COST_KEYS))
