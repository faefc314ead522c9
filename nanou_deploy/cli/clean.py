"""`clean`: remove what nanou-deploy built, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from nanou_deploy.cli.output import say


@click.command(short_help="Remove generated folders.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("build"))
@click.option("--force", is_flag=True, help="Also remove folders that hold edited files.")
def clean(folder: Path, force: bool) -> None:
    """Remove generated folders inside FOLDER (default: build). Runs and models are never touched."""
    from codegen.library.render import MANIFEST
    from codegen.library.write import edited_files

    manifests = sorted(folder.rglob(MANIFEST)) if folder.is_dir() else []
    outermost = [m.parent for m in manifests if not any(o.parent in m.parent.parents for o in manifests)]
    for generated in outermost:
        edited = [path for path in edited_files(generated) if (generated / path).exists()]
        if edited and not force:
            say(f"kept {generated}: {', '.join(edited[:3])} edited since (--force removes it)")
        else:
            shutil.rmtree(generated)
            say(f"removed {generated}")
    if not outermost:
        say(f"nothing generated in {folder}")
