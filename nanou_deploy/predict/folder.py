"""Write predictions into a folder: masks, overlays, arrays, a contact sheet and predictions.json."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codegen.atomic_files import write_bytes
from codegen.library.write import staged_folder
from nanou_deploy.errors import DeployError
from nanou_deploy.predict.drawing import MOST_TILES, contact_sheet, mask_png, overlay_picture
from nanou_deploy.predict.prediction import Prediction
from nanou_deploy.report.pictures import png_bytes

DOCUMENT, SHEET = "predictions.json", "contact_sheet.png"
_SAVED_FOLDERS = ("masks", "overlays", "outputs")
_OURS = {DOCUMENT, SHEET, "CACHEDIR.TAG", *_SAVED_FOLDERS}


@dataclass
class PredictionFolder:
    """A folder that predictions are added to. `facts` are what predictions.json says of all of them.

    Of many, the sheet shows MOST_TILES in equal distances.
    """

    path: Path
    title: str
    classes: tuple[str, ...]
    facts: Mapping[str, Any]
    entries: list[dict[str, Any]] = field(default_factory=list)
    _tiles: list[Prediction] = field(default_factory=list)
    _stride: int = 1

    def add(self, one: Prediction) -> dict[str, Any]:
        """Write the files of one prediction, and return its entry of predictions.json."""
        files: dict[str, Any] = {}
        if one.mask is not None:
            files["mask"] = self._write(f"masks/{one.name}.png", mask_png(one.mask, len(self.classes)))
        if one.mask is not None or one.label:
            overlay = png_bytes(overlay_picture(one, len(self.classes)), quick=True)
            files["overlay"] = self._write(f"overlays/{one.name}.png", overlay)
        arrays = [
            self._write(f"outputs/{one.name}_output_{at}.npy", npy_bytes(part)) for at, part in enumerate(one.outputs)
        ]
        entry = {**one.as_json(), "files": files | ({"outputs": arrays} if arrays else {})}
        if len(self.entries) % self._stride == 0:
            self._tiles.append(one)
            if len(self._tiles) > MOST_TILES:
                self._tiles, self._stride = self._tiles[::2], 2 * self._stride
        self.entries.append(entry)
        return entry

    def finish(self) -> None:
        """Write the sheet and predictions.json; may be called again after more was added."""
        if self._tiles:
            sheet = contact_sheet(self._tiles, self.title, self.classes, of_all=len(self.entries))
            self._write(SHEET, png_bytes(sheet))
        self._write(DOCUMENT, (json.dumps(self.document(), indent=2) + "\n").encode())

    def document(self) -> dict[str, Any]:
        """Return what predictions.json holds."""
        return {**self.facts, "predictions": self.entries}

    def _write(self, name: str, data: bytes) -> str:
        write_bytes(self.path / name, data)
        return name


def npy_bytes(array: Any) -> bytes:
    """Encode an array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def check_folder(folder: Path) -> None:
    """Raise DeployError where a folder holds anything but earlier predictions."""
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - _OURS):
        raise DeployError(f"{folder} exists and holds no predictions", hint="choose another --output")


@contextmanager
def prediction_folder(
    folder: Path, make: Callable[[Path], PredictionFolder], *, is_live: bool
) -> Iterator[PredictionFolder]:
    """Open a folder for predictions, which takes the place of earlier ones.

    All at once, at the end of the block; if `is_live` file by file, so that one can see what was predicted so far.
    Raises DeployError as `check_folder`, OSError where it cannot be written.
    """
    check_folder(folder)
    with staged_folder(folder) as staging:
        if not is_live:
            opened = make(staging)
            yield opened
            opened.finish()
            return
    opened = make(folder)
    try:
        yield opened
    finally:
        opened.finish()
