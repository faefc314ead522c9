"""Match annotated pictures with picture files that are there.

A name in an annotation file is never opened: it may be a stranger's, or of another computer. Files below the images
folder are compared with it from the end, part by part, and the one with the most parts in common is meant.
"""

from __future__ import annotations

import os.path
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from codegen.untrusted import shown
from nanou_train.data.annotations.annotation import Annotated
from nanou_train.data.images import SUFFIXES
from nanou_train.errors import DataError

Parts = tuple[str, ...]
NOT_THERE = "annotated, but not there"
WITHOUT = "without annotation"


def match_pictures(
    annotated: Iterable[Annotated], files: Sequence[Path]
) -> tuple[dict[Path, Annotated], list[tuple[str, Path]]]:
    """Give each picture file its annotation; also what has no partner, with the reason.

    Raises DataError where a name fits several files equally well, or two annotations fit one.
    """
    by_stem: dict[str, list[tuple[Parts, Path]]] = defaultdict(list)
    for path in files:
        parts = _parts(str(path.absolute()))
        by_stem[parts[-1]].append((parts, path))
    matched: dict[Path, Annotated] = {}
    skipped: list[tuple[str, Path]] = []
    for one in annotated:
        wanted = _parts(os.path.normpath(one.folder.absolute() / one.name.replace("\\", "/")))
        candidates = by_stem.get(wanted[-1], [])
        if not candidates:
            skipped.append((NOT_THERE, Path(wanted[-1])))
            continue
        path = _best(one, wanted, candidates)
        if path in matched:
            raise DataError(
                f"{path} is annotated by {matched[path].source} and by {one.source}", hint="keep one of them"
            )
        matched[path] = one
    skipped += [(WITHOUT, path) for path in files if path not in matched]
    return matched, skipped


def _best(one: Annotated, wanted: Parts, candidates: Sequence[tuple[Parts, Path]]) -> Path:
    scores = [(_common(wanted, parts), path) for parts, path in candidates]
    best = max(score for score, _ in scores)
    found = [path for score, path in scores if score == best]
    if len(found) > 1:
        raise DataError(
            f"{one.source} names {shown(one.name)}, which may be {found[0]} or {found[1]}",
            hint="give the folder of the right one as --images",
        )
    return found[0]


def _parts(path: str) -> Parts:
    """Return the path's folders and its name without the suffix of a picture, in composed form."""
    *folders, name = Path(unicodedata.normalize("NFC", path)).parts
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  of text
    return (*folders, stem if suffix.lower() in SUFFIXES else name)


def _common(first: Parts, second: Parts) -> int:
    """How many parts are the same, from the end."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count
