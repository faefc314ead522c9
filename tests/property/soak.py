"""The soak: random models by the thousand, each compared in every way that we know. For developers; no test runs it.

    python -m tests.property.soak --cases 2000 --seed 1

For each model: TFLM = BUILTIN_REF = NumPy oracle; the plan proves itself; the C of four compiler targets in turn, one
of them under AddressSanitizer and UBSan, compiles without a warning and gives TFLM's bytes from whole frames and row by
row; every one-multiply constant passes the independent checker. Case k of a seed is the same model and the same frames
on every run. What fails is kept in a folder, with the command that repeats it. Exit code 0, or 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from codegen.compile import Compilation
from codegen.errors import UnsupportedError
from tests.exactness import (
    assert_exact_every_way,
    assert_interpreters_agree,
    compile_bytes,
    interpreters_differ,
)
from tests.property.random_graphs import random_model

CASES_PER_PROCESS = 50  # TensorFlow takes seconds to load, and an interpreter that crashes takes its process along


def make_frames(compiled: Compilation, seed: int) -> npt.NDArray[np.int8]:
    """Both extremes, the zero point, the extremes in alternation and at random, a ramp, noise: int8 (7, H, W, C)."""
    rng, tensor = np.random.default_rng(seed), compiled.graph.input
    shape = tensor.shape[1:]
    size = int(np.prod(shape))
    return np.stack(
        [
            np.full(shape, -128),
            np.full(shape, 127),
            np.full(shape, tensor.zero_point),
            np.where(np.arange(size) % 2, 127, -128).reshape(shape),
            np.where(rng.random(shape) < 0.5, 127, -128),
            np.linspace(-128, 127, size).astype(int).reshape(shape),
            rng.integers(-128, 128, shape),
        ]
    ).astype(np.int8)


def check_model(flatbuffer: bytes, *, seed: int, folder: Path) -> Counter[str]:
    """Compare everything; returns what was seen. Raises AssertionError, or whatever goes wrong.

    What the compiler refuses in words is counted, not compared. Leaves the model and its frames in `folder`.
    """
    (folder / "model.tflite").write_bytes(flatbuffer)
    try:
        compiled = compile_bytes(flatbuffer)
    except UnsupportedError:
        return Counter(refused=1)
    frames = make_frames(compiled, seed)
    np.save(folder / "frames.npy", frames)
    builtin_ref = not interpreters_differ(compiled)
    truth = assert_interpreters_agree(compiled, frames, builtin_ref=builtin_ref)
    seen = Counter(stage.kernel.template for stage in compiled.program.stages)
    required = [stage.kernel.requires for stage in compiled.program.stages]
    seen["layers requantized by one multiply"] = sum("high_mul" in names for names in required)
    seen["layers requantized by two roundings"] = sum("requantize" in names for names in required)
    seen["channels certified"] = assert_exact_every_way(flatbuffer, folder, frames, truth, turn=seed)
    seen["without BUILTIN_REF (LOGISTIC, DIV)"] = int(not builtin_ref)
    return seen + Counter(exact=1, frames=len(frames))


def run_case(number: int, *, seed: int, keep: Path) -> Counter[str]:
    """Make model `number` of `seed` and check it; what fails is kept in a folder of its own under `keep`."""
    with TemporaryDirectory(prefix="nanou-soak-") as scratch:
        try:
            return check_model(random_model(Random(f"{seed}/{number}")), seed=number, folder=Path(scratch))
        except Exception:
            _keep(number, seed, keep, traceback.format_exc(), Path(scratch))
            return Counter(failed=1)


def _keep(number: int, seed: int, keep: Path, why: str, scratch: Path | None = None) -> None:
    folder = keep / f"seed-{seed}-case-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(random_model(Random(f"{seed}/{number}")))
    if scratch and (scratch / "frames.npy").exists():
        shutil.copy(scratch / "frames.npy", folder)
    command = f"python -m tests.property.soak --seed {seed} --first {number} --cases 1"
    (folder / "why.txt").write_text(f"{command}\n\n{why}")


def _run_chunk(cases: range, seed: int, keep: Path) -> Iterator[Counter[str]]:
    """One result for each case, from processes of their own; a crash is the failure of the case that was under way."""
    while cases:
        command = [sys.executable, "-m", "tests.property.soak", "--in-process", "--keep", str(keep)]
        command += ["--seed", str(seed), "--first", str(cases.start), "--cases", str(len(cases))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout or ():
                if line.startswith("{"):
                    cases = cases[1:]
                    yield Counter(json.loads(line))
        if cases:
            _keep(cases.start, seed, keep, f"the process ended with code {process.returncode}: an interpreter crashed")
            cases = cases[1:]
            yield Counter(failed=1)


def run_soak(cases: range, *, seed: int, jobs: int, keep: Path) -> Counter[str]:
    """The sum of all results; progress goes to stderr."""
    tally: Counter[str] = Counter()
    chunks = [cases[i : i + CASES_PER_PROCESS] for i in range(0, len(cases), CASES_PER_PROCESS)]

    def run(chunk: range) -> None:
        for seen in _run_chunk(chunk, seed, keep):
            tally.update(seen)
            counts = ", ".join(f"{tally[key]} {key}" for key in ("exact", "refused", "failed"))
            print(f"\r{counts} of {len(cases)}", end="", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, chunks))
    print(file=sys.stderr)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path("build/soak"), help="folder for what fails")
    parser.add_argument("--in-process", action="store_true", help="one JSON object per case on stdout; for a debugger")
    options = parser.parse_args()
    cases = range(options.first, options.first + options.cases)
    if options.in_process:
        for number in cases:
            print(json.dumps(run_case(number, seed=options.seed, keep=options.keep)), flush=True)
        return 0
    tally = run_soak(cases, seed=options.seed, jobs=options.jobs, keep=options.keep)
    for what, count in tally.most_common():
        print(f"{count:>9,}  {what}")
    if tally["failed"]:
        print(f"{tally['failed']} cases failed; see {options.keep}", file=sys.stderr)
    return int(tally["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
