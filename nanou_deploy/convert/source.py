"""Find out what format a model of another framework has, and refuse what is no such model before anything loads it."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codegen.untrusted import read_bounded, shown
from nanou_deploy.errors import DeployError, ToolMissing

Format = Literal["keras", "saved_model", "onnx"]

MOST_BYTES = 1 << 30  # of a float model whose int8 form is for a microcontroller, an optimizer's state included
_MOST_FILES = 1000
_FORMATS = "give a .keras file, a SavedModel folder or an .onnx file (`torch.onnx.export` writes one)"


@dataclass(frozen=True)
class ModelSource:
    """A model of another framework: where it is and in what format."""

    path: Path
    format: Format

    def sha256(self, weights: Mapping[str, str]) -> str:
        """Of the file; of several, a SavedModel's or with `weights` beside it, of names and contents in order of names.

        `weights`: sha256 of each file of weights beside an .onnx file, in hexadecimal, by its name.
        """
        if self.path.is_dir():
            files = [one for one in self.path.rglob("*") if one.is_file()]
            digests = {one.relative_to(self.path): _digest(one) for one in files}
        elif not weights:
            return _digest(self.path)
        else:
            digests = {Path(name): one for name, one in {self.path.name: _digest(self.path), **weights}.items()}
        digest = hashlib.sha256()
        for name, one in sorted(digests.items()):
            digest.update(str(name).encode("utf-8", "surrogateescape") + b"\0" + bytes.fromhex(one))
        return digest.hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bounded(path, MOST_BYTES)).hexdigest()


def find_source(path: Path) -> ModelSource:
    """Tell the format of a file or folder, and that what it needs is installed. Raises DeployError, ToolMissing."""
    source = ModelSource(path, _format(path))
    _check_size(path)
    if importlib.util.find_spec("tensorflow") is None:
        raise ToolMissing("importing a model needs TensorFlow", hint="pip install 'nanou-deploy[train]'")
    if source.format == "onnx" and importlib.util.find_spec("onnx2tf") is None:
        raise ToolMissing(f"{path} needs onnx2tf, which is not installed", hint="pip install 'nanou-deploy[onnx]'")
    return source


def _format(path: Path) -> Format:
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        raise DeployError(f"{path} is no SavedModel (no saved_model.pb)", hint=_FORMATS)
    if path.suffix in (".keras", ".onnx"):
        return "keras" if path.suffix == ".keras" else "onnx"
    hints = {
        ".tflite": "it needs no import: `nanou-deploy describe` says what its tensors mean; int8 is made from the "
        "model that it was converted from",
        ".h5": "load it where it was made, and save it as .keras",
        ".pt": "export it where it was made: torch.onnx.export(model, example, 'model.onnx')",
        ".pth": "export it where it was made: torch.onnx.export(model, example, 'model.onnx')",
        ".pb": "give the folder that it is in",
    }
    raise DeployError(f"{path} is no model that can be imported", hint=hints.get(path.suffix, _FORMATS))


def _check_size(path: Path) -> None:
    files = [path] if path.is_file() else list(path.rglob("*"))
    if len(files) > _MOST_FILES:
        raise DeployError(f"{path} has more than {_MOST_FILES:,} files", hint="give the exported model alone")
    size_bytes = 0
    for file in files:
        if not (file.is_file() or file.is_dir()):
            raise DeployError(f"{path} has {shown(file.name)} in it, which is no file", hint="export the model again")
        size_bytes += file.stat().st_size if file.is_file() else 0
    if size_bytes > MOST_BYTES:
        raise DeployError(
            f"{path} has {size_bytes:,} bytes, more than {MOST_BYTES:,}", hint="no microcontroller holds such a model"
        )
