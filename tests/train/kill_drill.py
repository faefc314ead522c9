"""The kill drill: a run that is killed at random moments ends with the weights of one left alone. No test runs it.

    python -m tests.train.kill_drill --kills 3 --seed 1

First a run is left alone. Then the same run is started again and again and killed (SIGKILL) at random moments, drawn
from the seed: a part of its progress, and from there a part of the time that the last epoch took. The last start is
left to finish. Its weights and test metrics have to be equal, bit for bit. Exit code 0, or 1 if they are not.
"""

from __future__ import annotations

import argparse
import json
import os
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
from nanou_train.training.train import train_model
result = train_model(experiment_name=sys.argv[2], output_dir=sys.argv[1], run_name="run", **json.loads(sys.argv[3]),
                     progress=lambda message, done: print(done, message, flush=True))
sys.exit(result["error"] or 0)
"""
SMALL = {
    "epochs": 16, "teacher_epochs": 6, "batch_size": 8, "augment": "full", "teacher_cache": True,
    "teacher_views": 4, "blend": 0.5, "quantization_aware": True, "weight_average": 0.9, "restarts": 2,
    "terrain": {"train": 64, "val": 16, "test": 16},
}  # fmt: skip


def start(folder: Path, experiment: str, overrides: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(folder), experiment, json.dumps(overrides)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finish(folder: Path, experiment: str, overrides: dict[str, Any]) -> bool:
    """Start, and let it end by itself."""
    process = start(folder, experiment, overrides)
    process.communicate()
    return process.returncode == 0


def kill(folder: Path, experiment: str, overrides: dict[str, Any], progress: float, later: float) -> str:
    """Start, and SIGKILL once `progress` is reached and `later` of an epoch has passed; what it said last."""
    process, said, before_s = start(folder, experiment, overrides), "", 0.0
    assert process.stdout is not None
    for line in process.stdout:
        done, _, said = line.strip().partition(" ")
        if "epoch" not in said:
            continue
        took_s, before_s = time.monotonic() - before_s if before_s else 0.0, time.monotonic()
        if took_s and float(done) >= progress:  # the first line tells nothing about how long an epoch takes
            time.sleep(later * took_s)
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return said.split(": loss")[0] if process.returncode == -signal.SIGKILL else ""


def kept_by(folder: Path) -> str:
    """What an interrupted run has on disk."""
    from nanou_train.runs.run_folder import MANIFEST

    kept = sorted(path.name for path in (folder / "run").glob("*")) if (folder / "run").is_dir() else []
    return ", ".join(name for name in kept if name != MANIFEST) or "nothing"


def outcome(folder: Path) -> dict[str, Any]:
    from nanou_train.runs.run_folder import load_student, read_manifest, weights_sha256

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
    moments = sorted((random.uniform(0.05, 0.8), random.random()) for _ in range(options.kills))
    with TemporaryDirectory() as name:
        alone, killed = Path(name) / "alone", Path(name) / "killed"
        if not finish(alone, options.experiment, overrides):
            return 1
        print("one run left alone", flush=True)
        for progress, later in moments:
            said = kill(killed, options.experiment, overrides, progress, later)
            if not said:
                print("a run ended before it was killed: give it more epochs", flush=True)
                return 1
            print(f"killed {later:.0%} of an epoch after {said}; on disk: {kept_by(killed)}", flush=True)
        if not finish(killed, options.experiment, overrides):
            return 1
        results = outcome(alone), outcome(killed)
    equal = results[0] == results[1]
    print(f"student {results[0]['weights']['student'][:16]} and {results[1]['weights']['student'][:16]}: "
          f"{'equal' if equal else 'DIFFERENT'}")  # fmt: skip
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
