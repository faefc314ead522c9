"""The kill drill: a run that is killed at random moments ends with the weights of one left alone. No test runs it.

    python -m tests.train.kill_drill --kills 3 --seed 1

First a run is left alone and timed. Then the same run is started again and again and killed (SIGKILL) after random
parts of that time, drawn from the seed, until it has been killed so often; the last start is left to finish. Its
weights and test metrics have to be equal, bit for bit. Exit code 0, or 1 if they are not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

RUN = """
import json, sys
from nanou_train.train import train_model
result = train_model(experiment_name=sys.argv[2], output_dir=sys.argv[1], run_name="run", **json.loads(sys.argv[3]))
sys.exit(result["error"] or 0)
"""
SMALL = {
    "epochs": 8, "teacher_epochs": 3, "batch_size": 8, "augment": "full", "teacher_cache": True,
    "quantization_aware": True, "weight_average": 0.9, "terrain": {"train": 64, "val": 16, "test": 16},
}  # fmt: skip


def start(folder: Path, experiment: str, overrides: dict[str, Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, str(folder), experiment, json.dumps(overrides)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def epochs_done(folder: Path) -> str:
    """What an interrupted run has on disk."""
    from nanou_train.run import MANIFEST

    kept = sorted(path.name for path in (folder / "run").glob("*")) if (folder / "run").is_dir() else []
    return ", ".join(name for name in kept if name != MANIFEST) or "nothing"


def outcome(folder: Path) -> dict[str, Any]:
    from nanou_train.run import load_student, read_manifest, weights_sha256

    manifest = read_manifest(folder / "run")
    assert weights_sha256(load_student(folder / "run")) == manifest["weights"]["student"]
    return {key: manifest[key] for key in ("weights", "metrics")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--experiment", default="quick_test")
    parser.add_argument("--as-is", action="store_true", help="the experiment with its own epochs and data")
    options = parser.parse_args()
    overrides: dict[str, Any] = {} if options.as_is else SMALL
    random = Random(options.seed)
    with TemporaryDirectory() as name:
        alone, killed = Path(name) / "alone", Path(name) / "killed"
        started = time.monotonic()
        if start(alone, options.experiment, overrides).wait():
            return 1
        whole_s = time.monotonic() - started
        print(f"left alone: {whole_s:.0f} s", flush=True)
        kills = 0
        while kills < options.kills:
            after_s = random.uniform(0.2, 0.9) * whole_s
            process = start(killed, options.experiment, overrides)
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                print(f"killed after {after_s:.0f} s, on disk: {epochs_done(killed)}", flush=True)
                continue
            print(f"finished before {after_s:.0f} s; begins anew", flush=True)
            shutil.rmtree(killed)
            kills = 0
        if start(killed, options.experiment, overrides).wait():
            return 1
        results = outcome(alone), outcome(killed)
    equal = results[0] == results[1]
    print(f"student {results[0]['weights']['student'][:16]} and {results[1]['weights']['student'][:16]}: "
          f"{'equal' if equal else 'DIFFERENT'}")  # fmt: skip
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
