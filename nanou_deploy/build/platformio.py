"""Lint PlatformIO projects, and build them where Espressif's platform is installed.

PlatformIO asks its registry for whatever is missing, and takes a minute to fail without a network. So nothing here
calls `pio run` before a look into PlatformIO's own folders says that all of it is there.
"""

from __future__ import annotations

import ast
import codecs
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codegen.child_python import environment_of_foreign_programs, python_command
from nanou_deploy.boards.boards import find_board
from nanou_deploy.boards.versions import load_versions
from nanou_deploy.build import elf
from nanou_deploy.build.build import Build, library_runtime
from nanou_deploy.build.firmware_project import LIBRARY_FOLDER, platform_spec
from nanou_deploy.errors import EXIT_NOT_LINKED, DeployError, ToolMissing

PLATFORM = "espressif32"  # by this name go PlatformIO's own and pioarduino's, which builds for the ESP32-P4
PLATFORM_VERSION = load_versions().platformio[PLATFORM]
LINT_TIMEOUT_S = 60
SIZE_IN_WORDS = "about 2 GB"

# What `pio run` needs besides the platform; the chip's compiler comes with the framework.
_PACKAGES = ("tool-scons", "framework-espidf")


class PlatformMissing(DeployError):  # noqa: N818 (says what is wrong, as ToolMissing does)
    """The project is complete, but PlatformIO's platform for the board is not installed, so nothing was linked."""

    exit_code = EXIT_NOT_LINKED


@dataclass(frozen=True)
class Lint:
    """PlatformIO's errors and warnings about a platformio.ini; clean when both are empty."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not self.errors and not self.warnings


# ---- PlatformIO ------------------------------------------------------------------------------------------------


def core_folder() -> Path:
    """Return where PlatformIO keeps platforms and packages."""
    configured = os.environ.get("PLATFORMIO_CORE_DIR")
    return Path(configured).expanduser() if configured else Path.home() / ".platformio"


def platform_installed(name: str = PLATFORM, version: str = PLATFORM_VERSION) -> bool:
    """Check whether exactly this platform and what builds with it are on disk. Looks at files only."""
    core = core_folder()
    platforms = Path(os.environ.get("PLATFORMIO_PLATFORMS_DIR") or core / "platforms")
    packages = Path(os.environ.get("PLATFORMIO_PACKAGES_DIR") or core / "packages")
    found = any(_states(path, name, version) for path in platforms.glob(f"{name}*/platform.json"))
    return found and all(any(packages.glob(f"{package}*/package.json")) for package in _PACKAGES)


def _states(manifest: Path, name: str, version: str) -> bool:
    try:
        stated = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stated, dict) and (stated.get("name"), stated.get("version")) == (name, version)


def platform_version(board: str) -> str:
    """Return the pinned version of the platform that builds for this board."""
    return load_versions().platformio[find_board(board).platform]


def platform_missing(project: Path, environment: str) -> PlatformMissing:
    """Make the error that says what was not linked and how to get it."""
    platform = find_board(environment).platform
    spec = platform_spec("espressif32") if platform == "espressif32" else f"{platform} {platform_version(environment)}"
    return PlatformMissing(
        f"{environment} was not linked: PlatformIO's platform {spec} is not installed",
        hint=f"with a network, `nanou-deploy build --board {environment} --yes` fetches it ({SIZE_IN_WORDS})"
        f" and builds, as does `pio run -d {shlex.quote(str(project))} -e {environment}`",
    )


def lint_project(project: Path) -> Lint:
    """Run PlatformIO's check of `project`/platformio.ini. Offline, under a second. Raises ToolMissing, DeployError."""
    code, output = run_pio(["project", "config", "--lint", "--json-output"], project, LINT_TIMEOUT_S)
    document = next((line for line in reversed(output.splitlines()) if line.startswith("{")), "")
    try:
        found = ast.literal_eval(document)  # PlatformIO 6 prints a Python dictionary there, not JSON
        errors = tuple(str(error["message"]).strip() for error in found["errors"])
        return Lint(errors, tuple(map(str, found["warnings"])))
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise DeployError(
            f"PlatformIO could not check {project} (code {code}):\n{tail(output)}", hint="is there a platformio.ini?"
        ) from error


def build_project(project: Path, environment: str, *, user: Path | None = None, timeout_s: float = 3600.0) -> Build:
    """Build one environment of a project with PlatformIO; `user`: the folder of the user's code.

    Raises PlatformMissing at once where the platform is not installed, DeployError with PlatformIO's last words
    where the build fails or takes longer than `timeout_s`.
    """
    if not platform_installed(version=platform_version(environment)):
        raise platform_missing(project, environment)
    if user:
        _list_again_if_newer(user, project / ".pio" / "build" / environment / "CMakeCache.txt")
    code, output = run_pio(["run", "-e", environment], project, timeout_s)
    program = project / ".pio" / "build" / environment / "firmware.elf"
    if code != 0 or not program.is_file():
        said = _compiler_errors(output) or tail(output)
        raise DeployError(f"PlatformIO could not build {environment}:\n{said}", hint="see the lines above")
    sections = elf.read_sections(program)
    model = [section for path in _model_objects(project, program.parent) for section in elf.read_sections(path)]
    return Build(
        board=environment,
        runtime=library_runtime(project / LIBRARY_FOLDER),
        elf=program,
        code_bytes=elf.code_bytes(model),
        table_bytes=elf.table_bytes(model),
        flash_bytes=elf.flash_bytes(sections),
        ram_bytes=_internal_ram_bytes(sections),
        compiler=f"PlatformIO {PLATFORM}@{platform_version(environment)}",
        flags=("-O2",),
        sections={section.name: section.size_bytes for section in sections},
    )


def _model_objects(project: Path, build_folder: Path) -> list[Path]:
    """Objects of the model library, wherever the platform put them: SOURCE.o, whatever precedes the extension."""
    stems = {path.name for path in (project / LIBRARY_FOLDER / "src").iterdir() if path.suffix in (".c", ".cc")}
    return sorted(path for path in build_folder.rglob("*.o") if path.name.removesuffix(".o") in stems)


def _internal_ram_bytes(sections: Iterable[elf.Section]) -> int:
    """ESP-IDF names RAM in section names; "dummy" sections only keep addresses of one bus free on the other."""
    return sum(s.size_bytes for s in sections if re.match(r"\.(dram|iram)0", s.name) and "dummy" not in s.name)


def run_pio(
    arguments: Sequence[str], project: Path, timeout_s: float, heard: Callable[[str], None] | None = None
) -> tuple[int, str]:
    """Run PlatformIO, which is not to see the current folder; return exit code and output.

    Its children are ended with it, also when time is up or the user ends the command. `heard` gets what it prints, as
    it prints it. Raises ToolMissing without PlatformIO, DeployError when time is up.
    """
    environment = {
        **environment_of_foreign_programs(),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "10000",  # days between looks for a newer PlatformIO
        "PLATFORMIO_SETTING_CHECK_PRUNE_SYSTEM_THRESHOLD": "0",
    }
    with tempfile.TemporaryDirectory(prefix="nanou-") as folder:
        process = subprocess.Popen(
            python_command("-m", "platformio", *arguments, "-d", str(project.absolute())),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        output = _Listener(process, heard)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise DeployError(
                f"PlatformIO did not finish within {timeout_s:g} s:\n{tail(output.text())}",
                hint="run `pio run` yourself",
            ) from error
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    said = output.text()
    if "No module named platformio" in said:
        raise ToolMissing("PlatformIO is not installed", hint="install it: `python -m pip install platformio`")
    return process.returncode, said


class _Listener:
    """Reads what a process prints, in a thread, and hands it on."""

    def __init__(self, process: subprocess.Popen[bytes], heard: Callable[[str], None] | None) -> None:
        self._process, self._heard, self._parts = process, heard, list[str]()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        with self._process.stdout as stream:
            while chunk := os.read(stream.fileno(), 1 << 16):
                text = decoder.decode(chunk)
                self._parts.append(text)
                if self._heard is not None:
                    self._heard(text)

    def text(self) -> str:
        """Return all that was printed, once the process has ended."""
        self._thread.join(10)
        return "".join(self._parts)


def _list_again_if_newer(user: Path, cache: Path) -> None:
    """CMake remembers which files there are in a folder; what was added since would not be compiled."""
    if cache.is_file() and user.stat().st_mtime > cache.stat().st_mtime:
        cache.unlink()


def _compiler_errors(output: str) -> str:
    """Return the lines in which a compiler or linker names what is wrong, and where."""
    found = re.findall(r"^.*(?:: (?:fatal )?error: |undefined reference to ).*$", output, re.MULTILINE)
    return "\n".join(found[:20])


def tail(output: str) -> str:
    return "\n".join([line for line in output.splitlines() if line.strip()][-20:])
