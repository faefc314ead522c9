"""Put a rendered project, or any folder, on disk: all of it or nothing.

The new tree is written beside the target and then exchanged with it in one system call, so that whoever looks, even
after a kill -9 or a power cut, sees the old files or the new ones. A folder that holds anything nanou-deploy did not
write, or files edited since, is left alone unless forced.
"""

from __future__ import annotations

import contextlib
import ctypes
import fnmatch
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from codegen.errors import WriteError
from codegen.library.render import MANIFEST, RenderedProject

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # Linux renameat2(2)
_RENAME_SWAP = 2  # macOS renamex_np(2)
# What PlatformIO and ESP-IDF put beside the sources: theirs to make again, so it neither blocks nor goes lost.
_USERS = "user"  # top-level folder: whatever is in it is the user's, and outlives every exchange
_BUILD_PRODUCTS = (".pio", ".vscode", "managed_components", "dependencies.lock", "sdkconfig", "sdkconfig.[!d]*")


def write_project(project: RenderedProject, target: Path, *, force: bool = False) -> bool:
    """Make `target` hold exactly the project's files, and tell whether anything changed.

    Raises WriteError where the target holds files that are not ours or were edited; `force` overrides that.
    """
    target = target.absolute()
    try:
        if target.exists() and not target.is_dir():
            raise WriteError(f"{target} is a file", hint="choose another output folder")
        if _current(target) == project.files:
            return False
        if not force:
            _refuse_to_lose(target)
        with staged_folder(target, keep=_USERS) as staging:
            _fill(staging, project)
    except OSError as error:
        raise WriteError(
            f"cannot write {target}: {error.strerror or error}", hint="check the path and its rights"
        ) from error
    return True


@contextlib.contextmanager
def staged_folder(target: Path, *, keep: str = "") -> Iterator[Path]:
    """Make an empty folder that takes the place of `target` at the end of the block, and vanishes on an exception.

    The folder `keep` inside `target` stays: at no moment is `target` without it, wherever this is killed.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    staging = Path(tempfile.mkdtemp(prefix=_staging_prefix(target), dir=target.parent))
    try:
        staging.chmod(0o755)
        yield staging
        kept = bool(keep) and (target / keep).is_dir()
        if kept:
            _copy_durably(target / keep, staging / keep)
        _exchange(staging, target)
        if kept:  # the folder itself comes back, with whatever an editor has saved into it since
            _swap(staging / keep, target / keep)
        _carry_over(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def edited_files(target: Path) -> tuple[str, ...]:
    """List files in `target` that differ from its manifest, are missing, or are not listed there."""
    manifest = target / MANIFEST
    try:
        stated: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        stated = {}
    except (ValueError, KeyError, TypeError) as error:
        raise WriteError(f"{manifest} is damaged", hint="delete the folder, or use --force") from error
    found = {path: _sha256(target / path) for path in _listing(target) if path != MANIFEST}
    return tuple(sorted(path for path in stated.keys() | found.keys() if stated.get(path) != found.get(path)))


def _refuse_to_lose(target: Path) -> None:
    if not target.is_dir():
        return
    at_risk = [path for path in edited_files(target) if (target / path).exists()]
    if at_risk:
        listing = ", ".join(at_risk[:5]) + (" ..." if len(at_risk) > 5 else "")
        raise WriteError(
            f"{target} holds files that nanou-deploy did not write or that were edited since: {listing}",
            hint="move them away, choose another --output, or use --force to replace the folder",
        )


def _listing(target: Path) -> list[str]:
    top = [entry for entry in target.iterdir() if not _is_build_product(entry.name) and not is_users(entry)]
    found = [file for entry in top for file in (entry, *entry.rglob("*")) if file.is_file() or file.is_symlink()]
    return sorted(file.relative_to(target).as_posix() for file in found)


def is_users(entry: Path) -> bool:
    """Tell whether an entry of a project's folder is the user's, which nothing here lists, replaces or removes."""
    return entry.name == _USERS and entry.is_dir()


def _is_build_product(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _BUILD_PRODUCTS)


def _current(target: Path) -> dict[str, str] | None:
    if not target.is_dir():
        return None
    try:
        return {path: (target / path).read_text(encoding="utf-8") for path in _listing(target)}
    except (OSError, UnicodeDecodeError):
        return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _staging_prefix(target: Path) -> str:
    return f".{target.name}.new-{os.getpid()}-"


def _sweep(target: Path) -> None:
    """Remove what killed runs left beside the target; a running one's staging folder stays."""
    for leftover in target.parent.glob(f".{target.name}.new-*-*"):
        if os.name == "posix" and not _is_running(leftover.name.rsplit("-", 2)[1]):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _fill(staging: Path, project: RenderedProject) -> None:
    for path, text in project.files.items():
        file = staging / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())


def _carry_over(old: Path, target: Path) -> None:
    """Move build products out of the retired tree; a kill here costs a rebuild and nothing else."""
    if old.is_dir():
        for entry in old.iterdir():
            if _is_build_product(entry.name) and not (target / entry.name).exists():
                entry.rename(target / entry.name)


def _copy_durably(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
    for file in target.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def _swap(staging: Path, target: Path) -> bool:
    """Exchange two folders in one system call; False where that cannot be done here."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
    if hasattr(libc, "renameat2"):
        assert libc is not None
        code = libc.renameat2(_AT_FDCWD, bytes(staging), _AT_FDCWD, bytes(target), _RENAME_EXCHANGE)
    elif hasattr(libc, "renamex_np"):
        assert libc is not None
        code = libc.renamex_np(bytes(staging), bytes(target), _RENAME_SWAP)
    else:
        code = -1
    return bool(code == 0)


def _exchange(staging: Path, target: Path) -> None:
    """Atomically put `staging` at `target`; what was there ends up at `staging`."""
    if not target.exists():
        staging.rename(target)
        return
    if _swap(staging, target):
        return
    # No exchange on this system or file system: three renames. A kill between them leaves the target absent and the
    # old tree beside it, never a mixture.
    retired = Path(tempfile.mkdtemp(prefix=_staging_prefix(target), dir=target.parent))
    retired.rmdir()
    target.rename(retired)
    staging.rename(target)
    retired.rename(staging)
