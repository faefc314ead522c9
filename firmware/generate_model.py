"""PlatformIO extra script: make the model's library before the build.

Boards get components/nanou_model, made once and then left alone, so that a library made by hand stays. Environments of
the local platform get one of their own in their build folder, made again when the model or the compiler changed.
The model is the default one, or `custom_nanou_model = FILE.tflite` of the environment.
"""
# ruff: noqa: F821 (Import and env are defined by PlatformIO)

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

Import("env")

PROJECT = Path(env.subst("$PROJECT_DIR"))
IS_LOCAL = env.PioPlatform().name == "nanou"
LIBRARY = Path(env.subst("$BUILD_DIR")) / "nanou_model" if IS_LOCAL else PROJECT / "components" / "nanou_model"
MANIFEST = LIBRARY / "nanou-manifest.json"
MODEL = env.GetProjectOption("custom_nanou_model", "")
# Pythons find this checkout by name, not by being started in its folder.
CHILDREN = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))}


def find_python() -> str | None:
    """PlatformIO's own Python, or the one of the project's .venv, if nanou-deploy is there."""
    for python in (Path(sys.executable), PROJECT / ".venv" / "bin" / "python"):
        probe = [str(python), "-P", "-c", "import click, jinja2, nanou_deploy.cli, numpy"]
        if python.exists() and subprocess.run(probe, env=CHILDREN, capture_output=True, check=False).returncode == 0:
            return str(python)
    return None


def find_nanou_deploy() -> list[str] | None:
    """Find the command in one of these Pythons, or on PATH; None if nowhere."""
    if python := find_python():
        return [python, "-P", "-m", "nanou_deploy.cli"]
    program = shutil.which("nanou-deploy")
    return [program] if program else None


def is_current() -> bool:
    if not MANIFEST.is_file():
        return False
    if not IS_LOCAL:
        return True
    sources = [PROJECT / MODEL] if MODEL else [*(PROJECT / "models").glob("*")]
    for folder, pattern in (("codegen", "*.py"), ("templates", "*.j2"), ("firmware/include", "*.h")):
        sources += (PROJECT / folder).rglob(pattern)
    made = MANIFEST.stat().st_mtime
    stated = env.subst("$BUILD_DIR/nanou_model.txt")
    return all(path.stat().st_mtime <= made for path in sources) and Path(stated).read_text() == MODEL


def generate() -> None:
    """Generate the model library, or stop the build with what was wrong."""
    command = find_nanou_deploy()
    name = LIBRARY.relative_to(PROJECT)
    if command is None:
        sys.stderr.write(
            f"{name} is missing, and nanou-deploy is not installed for {sys.executable}.\n"
            f"Install it there, or run `nanou-deploy generate --output {name}` yourself.\n"
        )
        sys.exit(1)
    print(f"Generating {name} from {MODEL or 'the default model'}")
    arguments = ["generate", "--board", env.subst("$BOARD" if IS_LOCAL else "$PIOENV"), "--output", str(LIBRARY)]
    arguments += ["--model", str(PROJECT / MODEL)] if MODEL else []
    if subprocess.run([*command, *arguments], cwd=PROJECT, env=CHILDREN, check=False).returncode != 0:
        sys.exit(1)
    MANIFEST.touch()  # unchanged files are not written again
    if IS_LOCAL:
        (LIBRARY.parent / "nanou_model.txt").write_text(MODEL)


def configure_again_if_newer() -> None:
    """CMake remembers the list of sources; another runtime has others, and PlatformIO does not look."""
    cache = Path(env.subst("$BUILD_DIR")) / "CMakeCache.txt"
    if cache.is_file() and MANIFEST.stat().st_mtime > cache.stat().st_mtime:
        cache.unlink()


if not is_current():
    generate()
if IS_LOCAL:
    env.Replace(NANOU_PYTHON=find_python() or "python3", NANOU_LIBRARY=str(LIBRARY))
else:
    configure_again_if_newer()
