"""The drill of real disks: commands that write on a disk that is full, or into a folder that is read-only.

    python -m tests.train.disk_drill

In a mount namespace of its own, each command writes over what it wrote before on a tmpfs that is too small for both, by
ever less, and on one that is read-only (root ignores modes, so that the mount is). Afterwards the old or the new result
is there, byte for byte, nothing beside it, and the command has said what is wrong: exit 1 and a hint. For developers,
and part of `make soak`; where nothing can be mounted it says so and ends with 0.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nanou_deploy.errors import EXIT_ERROR, EXIT_NOT_LINKED, EXIT_OK
from tests.command_line import run
from tests.train.picture_files import write_drives
from tests.train.test_every_write import content

STEPS = 8
DONE = (EXIT_OK, EXIT_NOT_LINKED)
EXPERIMENT = """\
experiments:
  tiny:
    model: {architecture: nano_u, filters: [4], bottleneck: 4}
    use_distillation: false
    input_size: [24, 32]
    epochs: 1
    batch_size: 4
"""
# Arguments, with {} for another value the second time, and what they write, on the disk.
COMMANDS: dict[str, tuple[str, str, tuple[str, str]]] = {
    "prepare": (
        "prepare --images raw/images --masks raw/masks --output disk/data --size 24x32 --seed {} --force"
        " --group-by ^drive\\d",
        "data",
        ("1", "2"),
    ),
    "describe": ("describe disk/m.tflite --threshold {}", "m.json", ("0.4", "0.6")),
    "generate": ("generate --model m.tflite --output disk/lib --force --runtime {}", "lib", ("aot", "tflm")),
    "export": ("export --model m.tflite --output disk/out --force --format {}", "out", ("cmake", "arduino")),
    "build": ("build --model m.tflite --board {} --output disk/fw --cases 1", "fw", ("esp32c3", "esp32s3")),
    "train": ("train --data data --config e.yaml --experiment tiny --output disk/run --force --seed {}", "run", "12"),
    "quantize": ("quantize --run disk/run", "run/model", ("", "")),
}


@contextlib.contextmanager
def disk(place: Path, size_bytes: int) -> Iterator[None]:
    """A tmpfs of so many bytes at `place`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def state(place: Path, target: str) -> dict[str, bytes] | bytes | None:
    path = place / target
    if target == "run":  # other files of a run hold the time that it took; the manifest declares it complete
        return {"manifest.json": (path / "manifest.json").read_bytes()} if path.is_dir() else None
    if path.is_dir():
        return content(path)
    return path.read_bytes() if path.is_file() else None


def used_bytes(place: Path) -> int:
    usage = shutil.disk_usage(place)
    return usage.total - usage.free


def inputs(folder: Path) -> None:
    """What commands read: pictures, a data set, a model, a run."""
    from codegen.tflite.files import save_model
    from tests.unit.test_sidecar import MODEL

    write_drives(folder / "raw", drives=3, frames=2, size=(24, 32))
    save_model(MODEL, folder / "m.tflite")
    (folder / "e.yaml").write_text(EXPERIMENT)
    (folder / "disk").mkdir()


def drill(name: str, folder: Path) -> tuple[int, int]:
    """How often the old and the new was found on disks too small by ever less. Raises AssertionError."""
    template, target, (first, second) = COMMANDS[name]
    place, kept = folder / "disk", folder / f"kept_{name}"

    def command(value: str) -> list[str]:
        return template.format(value).split()

    with disk(place, 1 << 28):
        if name == "describe":
            shutil.copy(folder / "m.tflite", place)
        if name == "quantize":
            shutil.copytree(folder / "run", place / "run")
        before = used_bytes(place)
        done = run(*command(first), cwd=folder)
        check(done.returncode in DONE, True, done)
        shutil.copytree(place, kept)
        old, least = state(place, target), used_bytes(place)
        done = run(*command(second), cwd=folder)
        check(done.returncode in DONE, True, done)
        new = state(place, target)
        if name == "train":
            shutil.copytree(place / "run", folder / "run")
    found = {"old": 0, "new": 0}
    for step in range(STEPS):
        size = least + (max(least - before, 4096) + 8192) * step // STEPS
        with disk(place, -(-size // 4096) * 4096):
            shutil.copytree(kept, place, dirs_exist_ok=True)
            ended(found, run(*command(second), cwd=folder), state(place, target), old, new, kept_run=name == "train")
            hidden = [path for path in place.rglob(".*") if path.is_file()]
            check(hidden, [], name)
    with disk(place, 1 << 28):
        shutil.copytree(kept, place, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        done = run(*command(second), cwd=folder)
        check((done.returncode, "error: " in done.stderr, "try: " in done.stderr), (EXIT_ERROR, True, True), done)
        check(state(place, target), old, name)
    return found["old"], found["new"]


def ended(found: dict[str, int], done: object, now: object, old: object, new: object, *, kept_run: bool) -> None:
    """Count what is there after a command has met a full disk."""
    code, said = done.returncode, done.stderr  # type: ignore[attr-defined]
    check(code in (*DONE, EXIT_ERROR), True, done)
    check("Traceback" in said, False, done)
    if code == EXIT_ERROR:
        check("error: " in said, True, done)
    if kept_run and now not in (old, new):  # --force has ended the old run before it began the new one
        check(b'"status": "completed"' in now["manifest.json"], False, done)  # type: ignore[index]
    else:
        check(now in (old, new), True, done)
    found["new" if code != EXIT_ERROR else "old"] += 1


def check(found: object, wanted: object, what: object) -> None:
    if found != wanted:
        raise AssertionError(f"{str(what)[:2000]}: {str(found)[:300]}, not {str(wanted)[:300]}")


def inside(names: list[str]) -> int:
    failed = 0
    with tempfile.TemporaryDirectory(prefix="nanou-") as scratch:
        folder = Path(scratch)
        inputs(folder)
        check(run(*COMMANDS["prepare"][0].format("1").replace("disk/", "").split(), cwd=folder).returncode, 0, "data")
        for name in names:
            try:
                old, new = drill(name, folder)
                print(
                    f"{name}: {STEPS} disks, {old} times the old, {new} times the new; read-only: the old", flush=True
                )
            except (AssertionError, OSError) as error:
                failed += 1
                print(f"{name}: FAILED: {error}", flush=True)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--command", action="append", choices=COMMANDS, help="Again for more; all without.")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names: list[str] = options.command or list(COMMANDS)
    if options.inside:
        return inside(names)
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        print("skipped: this computer lets nobody mount in a namespace of one's own")
        return 0
    again = [sys.executable, "-m", "tests.train.disk_drill", "--inside", *(f"--command={name}" for name in names)]
    return subprocess.run([*namespace, *again], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
