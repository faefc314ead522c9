"""The search drill: workers that are killed at random moments lose no trial and double none. No test runs it all.

    python -m tests.train.search_drill --workers 1 2 4 --trials 60 --kills 3
    python -m tests.train.search_drill --workers 2 --storage postgres      (a server of its own, for the drill)
    python -m tests.train.search_drill --workers 2 --storage postgresql+psycopg://USER@HOST/NAME

Candidates are not trained: each computes hashes for --work-ms of processor time. First the search's own overhead
is measured (one worker, no work). Then, for each number of workers, one study runs to its end while workers are
killed (SIGKILL) at random moments drawn from --seed, each replaced by a new one. What the study holds is compared with
what workers wrote down themselves, line by line: each fresh trial has to be completed exactly once. Exit code 0, or 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nanou_train.networks.structure import Block, Level, Structure
from nanou_train.search.attempts import counted_roots, counts_of, root_of
from nanou_train.search.search import Job, SearchSettings, open_search, run_search
from nanou_train.search.search_result import result_of
from nanou_train.search.space import Space
from tests.train.postgres_server import postgres_server

if TYPE_CHECKING:
    import optuna

HEARTBEAT_S = 1
PARENT = Structure(
    "nano_u",
    (48, 64, 3),
    (
        Level((Block(4),) * 2, (2, 2), (Block(4),) * 2),
        Level((Block(8),) * 2, (2, 2), (Block(8),) * 2),
        Level((Block(16),) * 2, (3, 2), (Block(16),) * 2),
    ),
    (Block(16),) * 2,
)


@dataclass(frozen=True)
class Synthetic:
    """Costs and mIoU that follow from the structure, at once or after some computing; `log` gets a line per rung."""

    log: Path
    work_ms: float = 0.0

    def cost(self, structure: Structure) -> Mapping[str, float]:
        height, width, _ = structure.input_shape
        blocks = [block for level in structure.levels for block in (*level.encoder, *level.decoder)]
        weights = sum(block.width**2 + block.width * block.kernel**2 for block in (*blocks, *structure.bottleneck))
        return {
            "instructions": weights * height * width,
            "ram_bytes": weights + 100 * width,
            "flash_bytes": 4 * weights,
        }

    def evaluate(self, job: Job) -> float:
        score = 0.9 - 5.0 / (self.cost(job.structure)["flash_bytes"] / 40 + int(job.key[:4], 16) / 2**16 + 10)
        for rung, epochs in enumerate(job.rungs):
            self._compute(self.work_ms if rung == 0 else 0.0)  # the same for all, however far they come
            miou = score * (1 - 0.3 / (1 + epochs))
            self._say(f"{job.folder.name} rung {rung}")
            if not job.reached(rung, miou):
                break
        self._say(f"{job.folder.name} end")
        return miou

    def _compute(self, work_ms: float) -> None:
        until, block = time.process_time() + work_ms / 1000, b"0" * 65536
        while time.process_time() < until:
            hashlib.sha256(block).digest()

    def _say(self, line: str) -> None:
        file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{os.getpid()} {line}\n".encode())
        os.close(file)


def settings_of(options: Mapping[str, object], folder: Path) -> SearchSettings:
    return SearchSettings(
        name=folder.name,
        output=folder,
        space=Space(PARENT),
        trials=int(str(options["trials"])),
        storage=str(options["storage"]),
        sampler="nsga2",
        rungs=(2, 6, 18),
        heartbeat_s=HEARTBEAT_S,
    )


def start(options: Mapping[str, object], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.train.search_drill", "--one", json.dumps(dict(options)), str(folder)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def be_a_worker(options: Mapping[str, object], folder: Path) -> int:
    evaluator = Synthetic(folder / "evaluations.log", float(str(options["work_ms"])))
    run_search(settings_of(options, folder), evaluator)
    return 0


def overhead(options: Mapping[str, object], folder: Path) -> float:
    """Milliseconds per trial, of everything but costs and training: asking, writing, rungs, ending."""
    folder.mkdir()
    evaluator = Synthetic(folder / "evaluations.log")
    settings = settings_of(options, folder)
    started = time.monotonic()
    run_search(settings, evaluator)
    return (time.monotonic() - started) / settings.trials * 1000


def drill(options: Mapping[str, object], folder: Path, workers: int, kills: int, seed: int) -> bool:
    """One study with that many workers, of which `kills` die; True where nothing was lost or doubled."""
    folder.mkdir()
    settings, draw = settings_of(options, folder), random.Random(seed)
    study = open_search(settings)
    started = time.monotonic()
    running = [start(options, folder) for _ in range(workers)]
    moments = sorted(draw.uniform(0.05, 0.85) for _ in range(kills))
    while any(process.poll() is None for process in running):
        counts = counts_of(study.get_trials(deepcopy=False), settings.trials)
        if moments and (counts.complete + counts.failed) / counts.total >= moments[0]:
            moments.pop(0)
            time.sleep(draw.uniform(0, 1.5 * float(str(options["work_ms"])) / 1000))
            victim = draw.randrange(workers)
            running[victim].send_signal(signal.SIGKILL)
            running[victim].wait()
            print(f"    killed worker {running[victim].pid} after {counts.complete} trials", flush=True)
            running[victim] = start(options, folder)
        time.sleep(0.02)
    took_s = time.monotonic() - started
    if codes := [process.returncode for process in running if process.returncode]:
        print(f"    workers ended with exit codes {codes}: WRONG")
    return audit(study, settings, folder, took_s) and not codes and not moments


@dataclass(frozen=True)
class Tally:
    """Roots that count (nanou_train.search.attempts) by how often they were completed; `failed` by their own fault."""

    once: tuple[int, ...]
    doubled: tuple[int, ...]
    lost: tuple[int, ...]
    failed: tuple[int, ...]


def tally(study: optuna.Study, total: int) -> Tally:
    trials = study.get_trials(deepcopy=False)
    complete = Counter(root_of(one) for one in trials if one.state.name == "COMPLETE")
    failed = {root_of(one) for one in trials if "error" in one.user_attrs}
    roots = [trials[number].number for number in counted_roots(trials, total)]
    return Tally(
        tuple(root for root in roots if complete[root] == 1),
        tuple(root for root in roots if complete[root] > 1),
        tuple(root for root in roots if not complete[root] and root not in failed),
        tuple(sorted(failed)),
    )


def audit(study: optuna.Study, settings: SearchSettings, folder: Path, took_s: float) -> bool:
    """Compare the study with the workers' own log, and print both."""
    found, trials = tally(study, settings.trials), study.get_trials(deepcopy=False)
    counts = counts_of(trials, settings.trials)
    log = folder / "evaluations.log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    ends = Counter(number for _, number, *what in lines if what == ["end"])
    complete = [one for one in trials if one.state.name == "COMPLETE" and "same_as" not in one.user_attrs]
    trained = {f"{root_of(one):05d}" for one in complete}
    unexplained = [name for name in trained if not ends[name]]
    repeated = sum(ends.values()) - len(trained)  # a kill after an evaluation's end, before its result was stored
    right = len(found.once) == settings.trials and not (found.doubled or found.lost or found.failed or unexplained)
    right &= repeated <= counts.retries
    print(
        f"    {settings.trials} trials in {took_s:.1f} s, {3600 * settings.trials / took_s:,.0f}/h: "
        f"{len(found.once)} completed once, {len(found.doubled)} more than once, {len(found.lost)} lost, "
        f"{len(found.failed)} failed\n"
        f"    {counts.retries} taken up again, {counts.surplus} surplus, {repeated} evaluated again, "
        f"{len(complete)} trained, {counts.complete - len(complete)} the same network as another; "
        f"front of {len(result_of(study, settings.trials, settings.minimize).front)}: {'right' if right else 'WRONG'}",
        flush=True,
    )
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--storage", default="", help="a database's URL, or postgres; by default a journal file")
    parser.add_argument("--work-ms", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("OPTIONS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return be_a_worker(json.loads(options.one[0]), Path(options.one[1]))
    right = True
    with ExitStack() as stack:
        url = stack.enter_context(postgres_server()) if options.storage == "postgres" else options.storage
        given = {"trials": options.trials, "storage": url, "work_ms": options.work_ms}
        scratch = stack.enter_context(TemporaryDirectory())
        own = overhead(given, Path(scratch, f"overhead-{os.getpid()}"))
        print(f"the search itself: {own:.0f} ms per trial on {options.storage.partition(':')[0] or 'a journal file'}")
        for workers in options.workers:
            print(f"{workers} workers, {options.kills} killed", flush=True)
            folder = Path(scratch, f"drill-{os.getpid()}-{workers}")
            right &= drill(given, folder, workers, options.kills, options.seed)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
