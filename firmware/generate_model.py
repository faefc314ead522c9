"""PlatformIO extra script: make components/nanou_model before the build if it is not there yet.

The default model is used. For another one run, before `pio run`,
`nanou-deploy generate --model FILE.tflite --output components/nanou_model`.
"""

import os
import shutil
import subprocess
import sys

Import("env")  # noqa: F821  (defined by PlatformIO)

PROJECT = env.subst("$PROJECT_DIR")  # noqa: F821
LIBRARY = os.path.join(PROJECT, "components", "nanou_model")
MANIFEST = os.path.join(LIBRARY, "nanou-manifest.json")


def find_nanou_deploy():
    """The command, in PlatformIO's own Python, the project's .venv, or on PATH; None if nowhere."""
    for python in (sys.executable, os.path.join(PROJECT, ".venv", "bin", "python")):
        if os.path.exists(python):
            probe = [python, "-c", "import nanou_deploy.cli"]
            if subprocess.run(probe, cwd=PROJECT, capture_output=True, check=False).returncode == 0:
                return [python, "-c", "import nanou_deploy.cli; nanou_deploy.cli.main()"]
    program = shutil.which("nanou-deploy")
    return [program] if program else None


def generate_if_absent():
    if os.path.isfile(MANIFEST):
        return
    command = find_nanou_deploy()
    if command is None:
        sys.stderr.write(
            "components/nanou_model is missing, and nanou-deploy is not installed for " + sys.executable + ".\n"
            "Install it there, or run `nanou-deploy generate --output components/nanou_model` yourself.\n"
        )
        env.Exit(1)  # noqa: F821
        return
    print("Generating components/nanou_model from the default model")
    if subprocess.run([*command, "generate", "--output", LIBRARY], cwd=PROJECT, check=False).returncode != 0:
        env.Exit(1)  # noqa: F821


def configure_again_if_newer():
    """CMake keeps the list of sources; another runtime has others, which PlatformIO does not notice."""
    cache = os.path.join(env.subst("$BUILD_DIR"), "CMakeCache.txt")  # noqa: F821
    if os.path.isfile(cache) and os.path.isfile(MANIFEST) and os.path.getmtime(MANIFEST) > os.path.getmtime(cache):
        os.remove(cache)


generate_if_absent()
configure_again_if_newer()
