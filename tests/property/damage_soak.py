"""The soak of damaged files: models under 8 KB, damaged by the thousand. For developers; a few are in `make test`.

    python -m tests.property.damage_soak --cases 10000 --tally build/damage.json

Each file is damaged in a field, length or element of its structure, in its scales (tests.flatbuffer_damage), or in some
of its bits, and goes from the reader to rendered C, one in ten also to TFLM. Allowed are a refusal in words, a
compilation whose oracle gives TFLM's bytes, and a file that TFLM alone takes. Anything else is a failure, and kept:
another exception, a crash, more than 2 s of processor time, more than 1 GiB of memory, other bytes. The tally is added
to what the file holds, and the next case has the next number, so that a million is reached in as many runs as it takes.
Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from codegen.atomic_files import replacing
from codegen.canonicalize.border import enter, leave
from codegen.compile import Compilation
from codegen.errors import CodegenError
from codegen.graph.graph import Graph
from codegen.library.golden import golden_inputs
from codegen.library.render import render_aot
from codegen.tflite.interpreters import ExecutorError, InterpreterCrash, run_tflm
from codegen.tflite.load import load_graph
from codegen.tflite.oracle import run_oracle
from codegen.tflite.verify import verify_file
from tests.exactness import compile_bytes
from tests.flatbuffer_damage import damage, places, rescale, scale_places
from tests.golden.test_tensors import MODELS
from tests.ops import contributions
from tests.property.random_graphs import random_model

MOST_S = 2.0
MOST_BYTES = 1 << 30
BATCH = 250
SEED_MODELS = 40  # random ones, beside the samples
TFLM_SHARE = 10  # one in so many files is also run


class TooLong(BaseException):
    """A case has used its processor time."""


@cache
def intact_models() -> tuple[tuple[bytes, Sequence[tuple[int, int]], Sequence[range]], ...]:
    """Files under 8 KB, where their numbers are, and where their scales."""
    made: list[Callable[[], bytes]] = [*contributions("sample").values(), *MODELS.values()]
    files = [make() for make in made] + [random_model(Random(seed), most_operators=4) for seed in range(SEED_MODELS)]
    return tuple((data, places(data), scale_places(data)) for data in files if len(data) < 8192)


def damaged_file(number: int) -> bytes:
    """Case `number`: the same file on every run."""
    rng = Random(number)
    intact, where, scales = rng.choice(intact_models())
    kind = rng.random()
    if kind < 0.5:
        return damage(rng, intact, where)
    if kind < 0.6:
        return rescale(rng, intact, scales)
    data = bytearray(intact)
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    for _ in range(rng.choice((1, 1, 2, 5)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def outcome(data: bytes, *, runs: bool) -> str:
    """What becomes of a file: "refused", "compiled", "equal" to TFLM where it is run, or what only TFLM says."""
    compiled: Compilation | None = None
    try:
        compiled = compile_bytes(data)
        render_aot(compiled)
    except CodegenError:
        compiled = None
    try:
        graph = verify_file(load_graph(data))
    except CodegenError:
        return "refused" if compiled is None else "compiled, and refused as a file"
    if not runs or (compiled and _overflows_int32(graph, compiled.graph)):
        return "compiled" if compiled else "for TFLM alone"
    cases = np.repeat(golden_inputs(graph), 2, axis=0)
    try:
        outputs = run_tflm(data, cases)
    except InterpreterCrash:
        raise
    except ExecutorError:
        return "compiled, and refused by TFLM" if compiled else "refused by TFLM"
    if compiled is None:
        return "TFLM alone"
    found = run_oracle(compiled.graph, enter(compiled.graph, cases))
    flat = np.ascontiguousarray(found).reshape(len(cases), -1).view(np.uint8)
    if leave(compiled.graph, flat).tobytes() != outputs.tobytes():
        raise AssertionError("the oracle and TFLM differ")
    return "equal"


def _overflows_int32(file: Graph, graph: Graph) -> bool:
    """Tell whether the golden floats are too many steps of an input: what these become, TFLM leaves open."""
    inputs = zip(file.inputs, graph.inputs, strict=True)
    return any(file.tensor(i).dtype == "float32" and 2 / graph.tensor(j).scale > 2**31 for i, j in inputs)


def try_case(number: int) -> tuple[str, str]:
    """Outcome of a case, and how it failed: "" where it did not."""
    data = damaged_file(number)

    def stop(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_S)
    try:
        return outcome(data, runs=number % TFLM_SHARE == 0), ""
    except TooLong:
        return "FAILED", f"took more than {MOST_S:g} s of processor time"
    except MemoryError:
        return "FAILED", f"took more than {MOST_BYTES >> 20} MiB"
    except Exception:
        return "FAILED", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def run_batch(first: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, resource.RLIM_INFINITY))
    tally, failures = Counter[str](), []
    for number in range(first, first + BATCH):
        what, failure = try_case(number)
        tally[what] += 1
        if failure:
            failures.append((number, failure))
    return tally, failures


def soak(cases: int, tally_file: Path) -> int:
    """Run so many cases more, and add to the tally; returns how many failed."""
    known = json.loads(tally_file.read_text()) if tally_file.is_file() else {"next": 0, "outcomes": {}, "failed": []}
    outcomes, first = Counter[str](known["outcomes"]), int(known["next"])
    failed, begun = list(known["failed"]), time.monotonic()
    batches = range(first, first + cases, BATCH)
    with ProcessPoolExecutor(2, max_tasks_per_child=80) as pool:
        for done, (tally, failures) in enumerate(pool.map(run_batch, batches), start=1):
            outcomes.update(tally)
            for number, failure in failures:
                failed.append(number)
                tally_file.with_name(f"damaged_{number}.tflite").write_bytes(damaged_file(number))
                print(f"case {number}: {failure.strip().splitlines()[-1]}", file=sys.stderr)
            document = {"next": first + done * BATCH, "outcomes": dict(outcomes), "failed": failed}
            with replacing(tally_file) as file:
                file.write_text(json.dumps(document, indent=1) + "\n")
    for line in _summary(outcomes, len(failed), time.monotonic() - begun):
        print(line)
    return len(failed)


def _summary(outcomes: Counter[str], failed: int, took_s: float) -> Iterator[str]:
    yield f"{outcomes.total():,} damaged files, {failed} failures, {took_s:.0f} s for the last of them"
    for what, count in outcomes.most_common():
        yield f"  {count:9,}  {what}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--tally", type=Path, default=Path("build/damage.json"))
    options = parser.parse_args()
    options.tally.parent.mkdir(parents=True, exist_ok=True)
    return 1 if soak(options.cases, options.tally) else 0


if __name__ == "__main__":
    sys.exit(main())
