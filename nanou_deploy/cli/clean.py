"""`clean`: remove what nanou-deploy built, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from nanou_deploy.build.built_folder import SIGNATURE, TAG
from nanou_deploy.cli.options import json_option
from nanou_deploy.cli.output import emit_json, say

USER_FOLDER = "user"


@click.command(short_help="Remove generated folders.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("build"))
@click.option("--force", is_flag=True, help="Also remove folders that hold edited files.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@json_option
def clean(folder: Path, force: bool, dry_run: bool, as_json: bool) -> None:
    """Remove generated folders inside FOLDER (default: build), and what was compiled or rendered beside them.

    Runs, models and the code in user/ are never touched.
    """
    found = dict(_generated(folder))
    removed = [path for path, edited in found.items() if force or not edited]
    for path in removed if not dry_run else ():
        _remove(path)
        _remove_empty(path.parent, folder)
    if as_json:
        kept = {str(path): edited for path, edited in found.items() if path not in removed}
        emit_json("clean/1", {"removed": removed, "kept": kept, "dry_run": dry_run})
        return
    for path, edited in found.items():
        if path in removed:
            say(f"{'would remove' if dry_run else 'removed'} {path}")
            if _users(path):
                say(f"kept {path / USER_FOLDER}: it is yours")
        else:
            say(f"kept {path}: {', '.join(edited[:3])} edited since (--force removes it)")
    if not found:
        say(f"nothing generated in {folder}")


def _users(path: Path) -> bool:
    from codegen.library.write import is_users

    return is_users(path / USER_FOLDER)


def _remove(path: Path) -> None:
    """Remove a generated folder, but for what is the user's in it."""
    if not _users(path):
        shutil.rmtree(path)
        return
    for entry in path.iterdir():
        if entry.name == USER_FOLDER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _generated(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Find the outermost folders that were generated or built, and the files in each that were edited since."""
    from codegen.library.render import MANIFEST
    from codegen.library.write import edited_files

    files = [path for name in (MANIFEST, TAG) for path in folder.rglob(name)] if folder.is_dir() else []
    ours = {path.parent for path in files if path.name == MANIFEST or path.read_bytes() == SIGNATURE.encode()}
    for path in sorted(ours):
        if ours.isdisjoint(path.parents):
            listed = edited_files(path) if (path / MANIFEST).is_file() else []
            yield path, [str(name) for name in listed if (path / name).exists()]


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those around it, below `root`, as far as nothing is left in them."""
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
