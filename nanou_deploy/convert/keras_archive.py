"""Check a .keras file, which names classes that Keras imports and builds, and export it as a SavedModel.

Keras' own safe mode stays on. Before it, every name in the file is held to a list, since what a name reaches has been
the way in more than once (CVE-2025-1550, CVE-2025-8747, CVE-2025-12058).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codegen.untrusted import parse_json, shown
from nanou_deploy.convert.source import MOST_BYTES
from nanou_deploy.errors import DeployError

_CONFIG_BYTES = 16 << 20
_DEPTH = 64
_MEMBERS = frozenset({"config.json", "metadata.json", "model.weights.h5"})
_MODULES = re.compile(
    r"builtins|keras|keras(\.src)?\.(layers|models|ops|initializers|regularizers|constraints|activations|dtype_policies"
    r"|quantizers)(\.\w+)*"
)
_FUNCTIONS = re.compile(r"builtins|keras(\.src)?\.(activations|initializers|regularizers|constraints)(\.\w+)*")
# Keras' own, and yet they run what the file holds, or read other files.
_BEYOND = frozenset({
    "FlaxLayer", "IntegerLookup", "JaxLayer", "Lambda", "StringLookup", "TFSMLayer", "TextVectorization",
    "TorchModuleWrapper",
})  # fmt: skip


def check_archive(path: Path) -> None:
    """Raise DeployError where the file is no .keras file, or names anything but Keras' own layers that compute."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            sizes = {member.filename: member.file_size for member in members}
            if not {"config.json", "model.weights.h5"} <= sizes.keys():
                raise ValueError("it has no config.json and model.weights.h5")
            if other := [name for name in sizes if name not in _MEMBERS and not name.endswith("/")]:
                raise ValueError(f"it has {shown(other[0])} in it, which no layer that computes needs")
            if len(members) > len(sizes) or sum(sizes.values()) > MOST_BYTES or sizes["config.json"] > _CONFIG_BYTES:
                raise ValueError("it unpacks to more than such a model has")
            config = parse_json(archive.read("config.json"), most_depth=_DEPTH)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DeployError(f"{path} cannot be read as a .keras file: {error}", hint="save it again") from error
    for name, why in _refused(config):
        raise DeployError(
            f"{path}: {shown(name)} {why}", hint="build the model of Keras' own layers, or export it as a SavedModel"
        )


def _refused(config: Any) -> Iterator[tuple[str, str]]:
    for named in _named_objects(config):
        name, module = str(named.get("class_name")), named.get("module")
        if name in _BEYOND:
            yield name, "is a layer that runs code from the file or reads other files, which an import does not do"
        elif named.get("registered_name") not in (None, name) or not isinstance(module, str | None):
            yield name, "is a class of its maker's, whose code is not in the file"
        elif module is not None and not _MODULES.fullmatch(module):
            yield name, f"of {shown(module)} is none of Keras' layers"
        elif name == "function" and module is not None and not _FUNCTIONS.fullmatch(module):
            yield str(named.get("config")), "is none of Keras' activations"


def _named_objects(document: Any) -> Iterator[dict[str, Any]]:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting.extend(item for key, item in value.items() if key != "compile_config")  # which is not loaded
        elif isinstance(value, list):
            waiting.extend(value)


def export_archive(path: Path, folder: Path) -> None:
    """Load a checked .keras file, in safe mode, and export it as a SavedModel. For the conversion's own process."""
    import keras

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    model.export(folder, verbose=False)
