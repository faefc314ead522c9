"""Write proposals where labelling tools open them, and never over what somebody has corrected.

FOLDER/labelme/NAME.json             polygons for LabelMe
FOLDER/masks/SegmentationClass/...   index masks with VOC's palette, and labelmap.txt, for CVAT and others
FOLDER/soft/NAME.png or .npy         soft masks, if asked for
FOLDER/contact_sheet.png             all of it at a glance
FOLDER/proposals.json                the SHA-256 of each file as it was written

A file whose content is no longer what was written, or that nobody wrote here, is somebody's work: it stays.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from codegen.atomic_files import write_bytes
from codegen.untrusted import read_json
from nanou_deploy.assist.proposals import Proposal
from nanou_deploy.assist.sheet import Thumbnail, proposal_sheet, thumbnail
from nanou_deploy.errors import DeployError
from nanou_train.data.annotations.labelme import IGNORED, labelme_document
from nanou_train.data.annotations.mask_files import voc_color
from nanou_train.data.annotations.outline import outlines
from nanou_train.data.images import IGNORE
from nanou_train.data.soft_masks import soft_mask_bytes

RECORD, RECORD_SCHEMA = "proposals.json", "nanou-deploy/proposals/1"
RECORD_BYTES = 64 << 20
LABELME, MASKS, SOFT, SHEET = "labelme", "masks", "soft", "contact_sheet.png"


@dataclass(frozen=True)
class Style:
    """Class names, how far polygons may deviate, the least region of a polygon as a share of the picture."""

    classes: tuple[str, ...]
    tolerance_px: float = 1.0
    least_share: float = 0.0005
    with_soft: bool = False


@dataclass
class Written:
    """How many pictures were proposed for, which files stayed, and the share of pixels left uncertain."""

    pictures: int = 0
    files: int = 0
    kept: list[str] = field(default_factory=list)
    uncertain: float = 0.0


def check_record(folder: Path) -> dict[str, str]:
    """Read what was written before: SHA-256 by path. Raises DeployError where the record is damaged."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        document = read_json(path, RECORD_BYTES)
        known = document["files"]
        if document["schema"] != RECORD_SCHEMA or not all(isinstance(one, str) for one in known.values()):
            raise ValueError("it is of another version")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeployError(
            f"{path} is damaged: {error}", hint="move the folder away, or the file: then nothing there is replaced"
        ) from error
    return dict(known)


def write_proposals(folder: Path, pictures_folder: Path, proposals: Iterable[Proposal], style: Style) -> Written:
    """Write all that is proposed. What stayed is in the result; the record is written even where this ends early."""
    known, done, tiles = check_record(folder), Written(), list[Thumbnail]()
    try:
        for one in proposals:
            for name, data in _files_of(one, folder, pictures_folder, style):
                _write(folder, name, data, known, done)
            done.pictures += 1
            done.uncertain += one.uncertain_share
            tiles.append(thumbnail(one, len(style.classes)))
    finally:
        if done.pictures:
            _write(folder, f"{MASKS}/labelmap.txt", _label_map(style.classes), known, done)
            record = {"schema": RECORD_SCHEMA, "classes": list(style.classes), "files": dict(sorted(known.items()))}
            write_bytes(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
            write_bytes(folder / SHEET, proposal_sheet(tiles, style.classes))
    done.uncertain /= max(1, done.pictures)
    return done


def _write(folder: Path, name: str, data: bytes, known: dict[str, str], done: Written) -> None:
    path = folder / name
    if path.is_symlink() or (path.exists() and known.get(name) != hashlib.sha256(path.read_bytes()).hexdigest()):
        done.kept.append(name)
        return
    write_bytes(path, data)
    known[name] = hashlib.sha256(data).hexdigest()
    done.files += 1


def _files_of(one: Proposal, folder: Path, pictures_folder: Path, style: Style) -> Iterable[tuple[str, bytes]]:
    place = PurePosixPath(LABELME, f"{one.name}.json")
    relative = os.path.relpath(one.picture.path.absolute(), (folder / place.parent).absolute()).replace(os.sep, "/")
    yield str(place), _labelme(one, relative, style)
    yield f"{MASKS}/SegmentationClass/{one.name}.png", _index_png(one)
    if style.with_soft:
        suffix, data = soft_mask_bytes(one.shares)
        yield f"{SOFT}/{one.name}{suffix}", data


def _labelme(one: Proposal, image_path: str, style: Style) -> bytes:
    found = outlines(
        one.classes,
        (*range(len(style.classes)), IGNORE),
        tolerance_px=style.tolerance_px,
        least_px=style.least_share * one.classes.size,
    )
    shapes = [(IGNORED if line.index == IGNORE else style.classes[line.index], line.points) for line in found]
    document = labelme_document(image_path, one.picture.image.size, shapes)
    return (json.dumps(document, indent=1) + "\n").encode()


def _index_png(one: Proposal) -> bytes:
    image = Image.fromarray(one.classes)
    image.putpalette([channel for index in range(256) for channel in voc_color(index).to_bytes(3, "big")])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _label_map(classes: tuple[str, ...]) -> bytes:
    """CVAT's list of classes and their colours; void needs no line."""
    lines = ["# label:color_rgb:parts:actions"]
    for index, name in enumerate(classes):
        lines.append(f"{name}:{','.join(str(channel) for channel in voc_color(index).to_bytes(3, 'big'))}::")
    return ("\n".join(lines) + "\n").encode()
