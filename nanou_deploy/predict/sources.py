"""Find what to predict: pictures of files, folders and data sets, frames of animations, videos and webcams."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from PIL import Image

from codegen.graph.model import CameraSize
from nanou_deploy.errors import DeployError
from nanou_deploy.monitor.frames import find_pictures
from nanou_deploy.predict import videos
from nanou_train.data.images import check_depth, read_frames
from nanou_train.data.pairs import picture_paths

_POLL_S = 0.25


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture to predict, upright. `name` is unique: files made of it are named so.

    `taken_us` is its time on a drive, that `is_first` begins; None where the picture stands for itself.
    """

    name: str
    source: str
    image: Image.Image
    taken_us: int | None = None
    is_first: bool = False


@dataclass
class Names:
    """Names of files made of sources: letters, digits, '.', '_' and '-' alone, each given once."""

    _given: set[str] = field(default_factory=set)

    def take(self, stem: str) -> str:
        """Make a name of `stem`; where it was given before, with a number behind it."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-")[:80] or "picture"
        name, number = plain, 2
        while name.lower() in self._given:  # some file systems hold Photo and photo for one
            name, number = f"{plain}-{number}", number + 1
        self._given.add(name.lower())
        return name


def shots_of(paths: Sequence[Path], names: Names, *, every: int = 1, fps: float | None = None) -> Iterator[Shot]:
    """Read pictures, folders, data sets (their test part), animations and videos, one after the other.

    Of animations and videos every n-th frame; they are drives with times of their own. `fps` makes the pictures of a
    folder one as well, so many a second. Raises DeployError for what is not there or no picture, DataError for what
    cannot be read.
    """
    for path in paths:
        if path.is_dir():
            yield from _folder(path, names, fps)
        elif path.suffix.lower() in videos.SUFFIXES and path.is_file():
            yield from _drive(path.stem, str(path), videos.video_frames(path, every=every), names)
        elif path.exists():
            yield from _file(path, names, every)
        else:
            raise DeployError(f"there is no file or folder {path}", hint="check the path")


def check_paths(paths: Sequence[Path], *, folder: Path | None = None) -> None:
    """Raise DeployError for the first that is not there, or a folder without pictures: before anything is read.

    `folder` has to be one, and may be empty.
    """
    if folder is not None and not folder.is_dir():
        raise DeployError(f"{folder} is no folder", hint="give the folder that pictures will appear in")
    for path in paths:
        if path.is_dir():
            find_pictures(path, CameraSize())
        elif not path.exists():
            raise DeployError(f"there is no file or folder {path}", hint="check the path")


def _folder(folder: Path, names: Names, fps: float | None) -> Iterator[Shot]:
    for number, path in enumerate(find_pictures(folder, CameraSize()).paths):
        for shot in _file(path, names, 1):
            is_single = fps is not None and shot.taken_us is None
            taken_us = round(number / fps * 1e6) if fps is not None and is_single else shot.taken_us
            yield replace(shot, taken_us=taken_us, is_first=number == 0) if is_single else shot


def _file(path: Path, names: Names, every: int) -> Iterator[Shot]:
    frames = read_frames(path)
    first, shown_ms = next(frames)
    check_depth(first)
    if shown_ms is None:
        yield Shot(names.take(path.stem), str(path), first.image)
        return
    shown = chain([(first, shown_ms)], frames)
    chosen = ((frame.image, 1000 * (ms or 0)) for number, (frame, ms) in enumerate(shown) if number % every == 0)
    yield from _drive(path.stem, str(path), chosen, names)


def _drive(stem: str, source: str, frames: Iterator[tuple[Image.Image, int]], names: Names) -> Iterator[Shot]:
    base = names.take(stem)
    for number, (image, taken_us) in enumerate(frames, 1):
        yield Shot(names.take(f"{base}_{number:06d}"), f"{source}#{number}", image, taken_us, number == 1)


def webcam_shots(number: int, names: Names) -> Iterator[Shot]:
    """Yield what a webcam of this computer sees, for ever. Raises ToolMissing without OpenCV, DeployError."""
    yield from _drive(f"webcam{number}", f"webcam {number}", videos.video_frames(number), names)


def new_pictures(folder: Path) -> Iterator[Path | None]:
    """Yield the picture files that appear in a folder once each is whole, for ever; None when there was none to tell.

    Whole is what has kept its size and time for one look; the looks are a quarter of a second apart. Files that are
    there already are left out. Raises DataError where the folder cannot be read.
    """
    told, growing = set(picture_paths(folder)[0]), dict[Path, tuple[int, int]]()
    while True:
        yield None
        time.sleep(_POLL_S)
        seen = {path: _state(path) for path in picture_paths(folder)[0] if path not in told}
        for path, state in seen.items():
            if state is not None and growing.get(path) == state:
                told.add(path)
                yield path
        growing = {path: state for path, state in seen.items() if state is not None}


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if found.st_size else None
