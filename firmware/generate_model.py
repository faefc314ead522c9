"""PlatformIO extra script: make components/nanou_model before the build if it is not there yet.

The default model is used. For another one run, before `pio run`,
`nanou-deploy generate --model FILE.tflite --output components/nanou_model`.
"""
# ruff: noqa: F821 (Import and env are defined by PlatformIO)

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

Import("env")

PROJECT = Path(env.subst("$PROJECT_DIR"))
LIBRARY = PROJECT / "components" / "nanou_model"
MANIFEST = LIBRARY / "nanou-manifest.json"


def find_nanou_deploy() -> list[str] | None:
    """The command in PlatformIO's own Python, in the project's .venv, or on PATH; None if nowhere."""
    for python in (Path(sys.executable), PROJECT / ".venv" / "bin" / "python"):
        probe = [str(python), "-c", "import nanou_deploy.cli"]
        if python.exists() and subprocess.run(probe, cwd=PROJECT, capture_output=True, check=False).returncode == 0:
            return [str(python), "-c", "from nanou_deploy.cli import main; main()"]
    program = shutil.which("nanou-deploy")
    return [program] if program else None


def generate_if_absent() -> None:
    """Stops the build where the model cannot be generated."""
    if MANIFEST.is_file():
        return
    command = find_nanou_deploy()
    if command is None:
        sys.stderr.write(
            f"{LIBRARY.relative_to(PROJECT)} is missing, and nanou-deploy is not installed for {sys.executable}.\n"
            "Install it there, or run `nanou-deploy generate --output components/nanou_model` yourself.\n"
        )
        sys.exit(1)
    print(f"Generating {LIBRARY.relative_to(PROJECT)} from the default model")
    if subprocess.run([*command, "generate", "--output", str(LIBRARY)], cwd=PROJECT, check=False).returncode != 0:
        sys.exit(1)


def configure_again_if_newer() -> None:
    """CMake remembers the list of sources; another runtime has others, and PlatformIO does not look."""
    cache = Path(env.subst("$BUILD_DIR")) / "CMakeCache.txt"
    if cache.is_file() and MANIFEST.stat().st_mtime > cache.stat().st_mtime:
        cache.unlink()


generate_if_absent()
configure_again_if_newer()
