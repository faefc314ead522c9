"""Every kernel, on buffers of exactly the sizes that its `accesses` states, under AddressSanitizer."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

import pytest

from codegen.library.identifier import model_identifier
from codegen.library.render import render_aot
from codegen.program.program import Program, Stage
from tests.generated import MODELS, compiled
from tests.ops import contributions

REPOSITORY = Path(__file__).resolve().parents[2]

SAMPLES = (*MODELS, *contributions("sample"))
ISAS = ("rv32imc", "armv7e-m", "xtensa-lx6", "xtensa-esp32s3")

PREAMBLE = """\
#include <stdlib.h>
#include <string.h>
static void *exactly(const void *source, size_t size_bytes) {
    void *copy = malloc(size_bytes);
    if (source != NULL) memcpy(copy, source, size_bytes); else memset(copy, 0x5a, size_bytes);
    return copy;
}
int main(int argc, char **argv) {
    const size_t less = argc > 1 ? 1 : 0; /* to see that the check can fail */
    (void)argv;
"""


def patterns(program: Program, stage: Stage) -> Iterator[tuple[bool, ...]]:
    """Which row pointers are there, once each."""
    rows = range(program.rows[stage.output].count)
    heights = [program.rows[stage.inputs[read.input]].count for read in stage.reads]
    yield from {
        tuple(r.is_linear or 0 <= r.rows[y] < height for r, height in zip(stage.reads, heights, strict=True))
        for y in rows
    }


def call(identifier: str, stage: Stage, name: str, present: tuple[bool, ...]) -> str:
    touched = stage.kernel.accesses({table.name: table for table in stage.tables}, present)
    c_type, out_type = stage.kernel.row_type, stage.kernel.output.c_type
    rows = ", ".join(
        f"exactly(NULL, {size} - less)" if there else "NULL" for size, there in zip(touched.rows, present, strict=True)
    )
    prefix = f"{identifier}_{stage.prefix}"
    tables = "".join(
        f", exactly({prefix}_{t.name}, {touched.tables[t.name]} * sizeof {prefix}_{t.name}[0])" for t in stage.tables
    )
    return (
        f"    {{ const {c_type} *const rows[] = {{{rows}}};\n"
        f"      {name}(rows, ({out_type} *)exactly(NULL, {touched.output} - less){tables}); }}\n"
    )


@pytest.mark.parametrize("which", SAMPLES)
@pytest.mark.parametrize("isa", ISAS)
def test_kernels_stay_inside(which: str, isa: str, require_tool: Callable[..., str]) -> None:
    model = compiled(which, isa)
    identifier = model_identifier(model.model.name)
    files = {path: text for path, text in render_aot(model).files.items() if path.startswith(("include/", "src/"))}
    source = files[f"src/{identifier}.c"]
    calls = []
    for stage in model.program.stages:
        match = re.search(rf"static void {stage.label}\(.*?\n    (\w+)\(rows, out", source, re.S)
        assert match is not None
        calls += [call(identifier, stage, match[1], present) for present in patterns(model.program, stage)]
    main = f'#include "{identifier}.c"\n' + PREAMBLE + "".join(calls) + "    return 0;\n}\n"
    done, short = runs(require_tool("gcc"), main, identifier, tuple(files.items()))
    assert (done.returncode, done.stderr) == (0, "")
    assert "heap-buffer-overflow" in short.stderr


@cache
def runs(gcc: str, main: str, identifier: str, files: tuple[tuple[str, str], ...]) -> list[CompletedProcess[str]]:
    """Run `main` under sanitizers, on whole buffers and on some that are a byte short; once for processors alike."""
    with TemporaryDirectory() as name:
        library = Path(name)
        for path, text in (("src/main.c", main), *files):
            (library / path).parent.mkdir(exist_ok=True)
            (library / path).write_text(text)
        sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        sources = [library / "src" / "main.c", library / "src" / f"{identifier}_weights.c"]
        program, include = library / "program", f"-I{library / 'include'}"
        subprocess.run([gcc, "-std=c99", *sanitizers, include, *sources, "-o", program], check=True)
        run = {"capture_output": True, "text": True, "env": {"ASAN_OPTIONS": "detect_leaks=0"}, "check": False}
        commands = ([program], [program, "one byte less"])
        return [subprocess.run(command, **run) for command in commands]  # type: ignore[call-overload]


def test_a_kernel_is_a_module_beside_a_template() -> None:
    modules = _kernels(REPOSITORY / "codegen" / "kernels", ".py")
    digits = ("digits", "lane_digits", "lane_kernel", "scalar_digits", "vector_kernel")
    shared = {"armv7e_m/pairs", *(f"esp32s3/{name}" for name in digits)}
    assert modules == _kernels(REPOSITORY / "templates" / "aot" / "kernels", ".c.j2") | shared


def _kernels(folder: Path, suffix: str) -> set[str]:
    return {f"{p.parent.name}/{p.name.removesuffix(suffix)}" for p in folder.glob(f"*/[a-z]*{suffix}")}


def test_the_models_use_every_kernel() -> None:
    models = [compiled(which, isa) for which in SAMPLES for isa in ISAS]
    used = {stage.kernel.template for model in models for stage in model.program.stages}
    assert used == _kernels(REPOSITORY / "templates" / "aot" / "kernels", ".c.j2")
