"""Objects that tests compile, kept for all tests of a session: the firmware's are the same for nearly every model.

A compiler's output depends on its command, the source and the headers that it read, which it lists (-MMD). An object is
taken where all of these are the same, wherever the folders lie. Commands themselves run without this, as users' do.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nanou_deploy.build.programs import CompileStep

Compile = Callable[..., None]
_LISTED = "headers.json"


@dataclass(frozen=True)
class CompiledObjects:
    """Compiles a step by `compile`, or takes from `folder` what that made of the same."""

    folder: Path
    compile: Compile

    def __call__(self, step: CompileStep, *, of_user: bool = False) -> None:
        if of_user:
            self.compile(step, of_user=True)
            return
        key = _key(step)
        for kept in self.folder.glob(f"{key}-*"):
            if _is_for(step, json.loads((kept / _LISTED).read_text())):
                for path in kept.glob("made.*"):
                    shutil.copyfile(path, step.target.with_suffix(path.suffix))
                return
        self._compile_and_keep(step, key)

    def _compile_and_keep(self, step: CompileStep, key: str) -> None:
        headers = step.target.with_suffix(".headers")
        first, *others = step.commands
        self.compile(replace(step, commands=([*first, "-MMD", "-MF", str(headers)], *others)))
        listed = [_found(step, path) for path in _paths(headers.read_text())]
        headers.unlink()
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            new = Path(name, "new")
            new.mkdir()
            for path in step.target.parent.glob(f"{glob.escape(step.target.stem)}.*"):  # stack usage, assembly, too
                shutil.copyfile(path, new / f"made{path.suffix}")
            text = json.dumps(listed)
            (new / _LISTED).write_text(text)
            if _is_for(step, listed):  # else a header's name is in two folders
                kept = self.folder / f"{key}-{_sha256(text.encode())}"
                if not kept.exists():
                    _rename(new, kept)


def _rename(new: Path, kept: Path) -> None:
    try:
        new.rename(kept)
    except OSError:  # another process was first
        assert kept.is_dir()


def _key(step: CompileStep) -> str:
    """What the commands are but for where files lie; that counts too where it comes into the object (-g)."""
    names = {f"-I{path}": f"-I#{index}" for index, path in enumerate(step.includes)}
    names[str(step.source.absolute())] = "#source"
    stem = str(step.target.absolute().with_suffix(""))
    words = [
        [names.get(word) or word.replace(stem, "#target") for word in map(str, command)] for command in step.commands
    ]
    place = str(step.source) if any(word.startswith("-g") for word in words[0]) else step.source.name
    return _sha256(json.dumps([words, place, _sha256(step.source.read_bytes())]).encode())


def _paths(rule: str) -> Iterator[Path]:
    """The headers of a rule for make."""
    _, _, listed = rule.replace("\\\n", " ").partition(": ")
    for name in re.split(r"(?<!\\)\s+", listed.strip())[1:]:
        yield Path(name.replace("\\ ", " "))


def _folders(step: CompileStep) -> list[Path]:
    return [step.source.absolute().parent, *(path.absolute() for path in step.includes)]


def _found(step: CompileStep, header: Path) -> tuple[int, str, str]:
    """The folder's number (-1: none of the step's), the name in it, and the text's sha256."""
    path, digest = header.absolute(), _sha256(header.read_bytes())
    inside = [(index, folder) for index, folder in enumerate(_folders(step)) if path.is_relative_to(folder)]
    if not inside:
        return -1, str(path), digest
    index, folder = max(inside, key=lambda one: len(one[1].parts))  # one may lie in another
    return index, str(path.relative_to(folder)), digest


def _is_for(step: CompileStep, listed: list[tuple[int, str, str]]) -> bool:
    """Whether the compiler would find these headers now."""
    folders = _folders(step)

    def is_found(index: int, name: str, digest: str) -> bool:
        path = folders[index] / name if index >= 0 else Path(name)
        if any((folder / name).exists() for folder in folders[: max(index, 0)]):
            return False
        return path.is_file() and _sha256(path.read_bytes()) == digest

    return all(is_found(*one) for one in listed)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
