"""Mark folders that hold nothing but what was built, so that `clean` may remove them."""

from __future__ import annotations

from pathlib import Path

# https://bford.info/cachedir: backups leave such folders out, too.
TAG = "CACHEDIR.TAG"
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by nanou-deploy: `nanou-deploy clean` removes it.\n"


def mark_built(folder: Path) -> Path:
    """Make a folder that `clean` may remove, unless it is there already: then it may hold something else."""
    if not folder.exists():
        folder.mkdir(parents=True)
        tag_built(folder)
    return folder


def tag_built(folder: Path) -> None:
    """Say in a folder that is ours alone that `clean` may remove it."""
    (folder / TAG).write_text(SIGNATURE)
