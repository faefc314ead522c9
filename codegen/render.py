"""Compiled model -> text of a library folder. No file I/O beyond templates; the same input gives the same bytes.

The folder is at once a PlatformIO library, an ESP-IDF component and a plain CMake target.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import codegen
from codegen.compile import Compiled
from codegen.ir import Graph
from codegen.model import Quantization, QuantizedModel, threshold_q
from codegen.oracle import run_oracle
from codegen.plan import ALIGNMENT_BYTES, Plan
from codegen.program import Kernel, Program, Stage, Table
from codegen.render_tflm import tflm_dependencies, tflm_files
from codegen.resources import api_header, template_environment
from codegen.tflm_arena import ArenaBudget

Runtime = Literal["aot", "tflm"]
MANIFEST = "nanou-manifest.json"
LINE_COLUMNS = 110
GOLDEN_SEED = 0x6E616E6F  # "nano"


@dataclass(frozen=True)
class RenderedProject:
    """Relative POSIX path -> text, in sorted order. `nanou-manifest.json` states the hash of every other file."""

    files: Mapping[str, str]


@dataclass(frozen=True)
class LibraryFacts:
    """What the generated header states, whichever runtime computes it."""

    runtime: Runtime
    arena_bytes: int
    working_bytes: int
    macs: int  # 0: unknown
    golden_crc32: int


def golden_frame(size_bytes: int, seed: int = GOLDEN_SEED) -> npt.NDArray[np.int8]:
    """int8 (size_bytes,): the self-test input, the top bytes of a 32-bit LCG (Numerical Recipes constants)."""
    state, values = seed, np.empty(size_bytes, np.uint8)
    for i in range(size_bytes):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = state >> 24
    return values.view(np.int8)


def golden_crc32(output: npt.NDArray[np.int8]) -> int:
    """IEEE CRC-32 of the output frame for `golden_frame`."""
    return zlib.crc32(output.tobytes())


def render_aot(compiled: Compiled) -> RenderedProject:
    """The compiled runtime: straight-line C99, no interpreter."""
    graph, plan = compiled.graph, compiled.plan
    frame = golden_frame(graph.input.size_bytes).reshape(graph.input.shape)
    facts = LibraryFacts("aot", plan.arena_bytes, plan.working_bytes, plan.macs, golden_crc32(run_oracle(graph, frame)))
    sources = _aot_sources(compiled)
    return _library(compiled.model, graph, facts, sources)


def render_tflm(model: QuantizedModel, graph: Graph, budget: ArenaBudget, *, macs: int, crc32: int) -> RenderedProject:
    """The interpreter: TensorFlow Lite Micro behind the same header. `crc32` is of TFLM's own golden output."""
    frames = graph.input.size_bytes + graph.output.size_bytes
    facts = LibraryFacts("tflm", budget.total_bytes, budget.total_bytes - frames, macs, crc32)
    sources = {**tflm_files(graph, model, budget), "idf_component.yml": _component_manifest()}
    return _library(model, graph, facts, sources)


def _component_manifest() -> str:
    lines = [f'  {name}: "{version}"' for name, version in sorted(tflm_dependencies().items())]
    return "\n".join(["# Fetched by ESP-IDF's component manager.", "dependencies:", *lines, ""])


def _library(model: QuantizedModel, graph: Graph, facts: LibraryFacts, sources: Mapping[str, str]) -> RenderedProject:
    environment = template_environment()
    context = {
        "generator": f"nanou-deploy {codegen.__version__}",
        "model": model,
        "facts": facts,
        "input": _frame(graph, graph.inputs[0]),
        "output": _frame(graph, graph.outputs[0]),
        "alignment_bytes": ALIGNMENT_BYTES,
        "threshold_q": _threshold(model, graph),
        "golden_seed": f"0x{GOLDEN_SEED:08x}u",
        "golden_crc32": f"0x{facts.golden_crc32:08x}u",
        "input_lookup": _lines(_lookup(model, graph), 16),
        "sources": sorted(path for path in (*sources, "src/nanou_contract.c") if path.endswith((".c", ".cc"))),
        "requires": ["esp-tflite-micro"] if facts.runtime == "tflm" else [],
    }
    files = dict(sources)
    files["include/nanou.h"] = api_header()
    for name in ("include/nanou_model.h", "src/nanou_contract.c", "CMakeLists.txt", "library.json"):
        template = environment.get_template(f"common/{name.rsplit('/', 1)[-1]}.j2")
        files[name] = template.render(context)
    return with_manifest(files, {"model_sha256": model.sha256, "runtime": facts.runtime, "model": model.name})


def with_manifest(files: Mapping[str, str], about: Mapping[str, str]) -> RenderedProject:
    """Add the manifest: what was generated, by which version, and the hash of every file."""
    hashes = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in sorted(files.items())}
    manifest = {"schema": 1, "generator": f"nanou-deploy {codegen.__version__}", **about, "files": hashes}
    text = json.dumps(manifest, indent=2) + "\n"
    return RenderedProject(dict(sorted({**files, MANIFEST: text}.items())))


def _frame(graph: Graph, index: int) -> Mapping[str, Any]:
    tensor = graph.tensor(index)
    _, height, width, channels = tensor.shape
    scale = f"{np.float32(tensor.scale):.9g}"
    return {
        "height_px": height,
        "width_px": width,
        "channels": channels,
        "size_bytes": tensor.size_bytes,
        "scale": f"{scale if '.' in scale or 'e' in scale else scale + '.0'}f",
        "zero_point": tensor.zero_point,
    }


def output_is_probability(graph: Graph) -> bool:
    """Whether the model ends in LOGISTIC, so that outputs are probabilities instead of logits."""
    return graph.operators[-1].stem == "logistic"


def _threshold(model: QuantizedModel, graph: Graph) -> int:
    output = Quantization(graph.output.scale, graph.output.zero_point)
    return threshold_q(model.threshold, output, is_probability=output_is_probability(graph))


def _lookup(model: QuantizedModel, graph: Graph) -> npt.NDArray[np.int8]:
    return model.preprocessing.lookup_table(Quantization(graph.input.scale, graph.input.zero_point))


def _lines(values: npt.NDArray[np.integer], per_line: int) -> Sequence[str]:
    numbers = [str(int(v)) for v in values]
    width = max(map(len, numbers))
    padded = [number.rjust(width) for number in numbers]
    return [", ".join(padded[i : i + per_line]) for i in range(0, len(padded), per_line)]


# ---- aot -------------------------------------------------------------------------------------------------------


def _aot_sources(compiled: Compiled) -> dict[str, str]:
    program, plan = compiled.program, compiled.plan
    names = _kernel_names(program)
    context = {
        "generator": f"nanou-deploy {codegen.__version__}",
        "model": compiled.model,
        "plan": plan,
        "program": program,
        "input_offset_bytes": plan.placement(program.input).offset_bytes,
        "output_offset_bytes": plan.placement(program.output).offset_bytes,
        "alignment_bytes": ALIGNMENT_BYTES,
        "memory_map": _memory_map(plan),
        "kernels": [_kernel_text(kernel, name) for kernel, name in names.items()],
        "uses_requantize": any(stage.accumulator for stage in program.stages),
        "layers": [_layer(stage, plan, names) for stage in program.stages],
        "tables": [_table(stage, table) for stage in program.stages for table in stage.tables],
    }
    environment = template_environment()
    return {
        f"src/{name}": environment.get_template(f"aot/{name}.j2").render(context)
        for name in ("nanou_model.c", "nanou_weights.c", "nanou_weights.h")
    }


def _kernel_names(program: Program) -> dict[Kernel, str]:
    """A unique C name for each distinct kernel, in order of first use."""
    names: dict[Kernel, str] = {}
    for kernel in (stage.kernel for stage in program.stages if stage.kernel is not None):
        base = f"{kernel.stem}_{kernel.shape_name}"
        taken = set(names.values())
        # Same shape, other zero points or clamps: a second function, told apart by a number.
        variants = (base if n == 1 else f"{base}_v{n}" for n in range(1, len(names) + 2))
        if kernel not in names:
            names[kernel] = next(variant for variant in variants if variant not in taken)
    return names


def _kernel_text(kernel: Kernel, name: str) -> str:
    constants = [f"{key.upper()} = {value}" for key, value in kernel.constants if isinstance(value, int)]
    inputs = ["input"] if kernel.input_count == 1 else [f"input_{i}" for i in range(kernel.input_count)]
    parameters = [f"const int8_t *{i}" for i in inputs] + ["int8_t *output"]
    parameters += [f"const {c_type} *{parameter}" for parameter, c_type in kernel.tables]
    context = {
        "signature": _call(f"static void {name}", parameters),
        "constants": _wrap(constants, " " * 8),
        "k": kernel.values,
    }
    return template_environment().get_template(f"aot/ops/{kernel.stem}.c.j2").render(context)


def _layer(stage: Stage, plan: Plan, names: Mapping[Kernel, str]) -> Mapping[str, Any]:
    out = plan.placement(stage.output)
    sources = [plan.placement(i) for i in stage.inputs]
    addresses = [*(f"arena + {p.offset_bytes}" for p in sources), f"arena + {out.offset_bytes}"]
    arguments = [*addresses, *(_table_name(stage, table) for table in stage.tables)]
    notes = [f"{stage.macs:,} MACs".replace(",", " ")] if stage.macs else []
    if stage.accumulator:
        notes.append(f"accumulator within [{stage.accumulator.low}, {stage.accumulator.high}]")
    if stage.kernel is None:
        moved = sources[0].offset_bytes != out.offset_bytes
        call = f"memmove(arena + {out.offset_bytes}, {addresses[0]}, {out.size_bytes});" if moved else ""
    else:
        call = _call(names[stage.kernel], arguments, indent="    ") + ";"
    return {
        "index": stage.operator_index,
        "title": f"{stage.stem.upper()}  {stage.summary}",
        "notes": "; ".join(notes),
        "memory": " + ".join(f"[{p.offset_bytes}, {p.offset_bytes + p.size_bytes})" for p in sources)
        + f" -> [{out.offset_bytes}, {out.offset_bytes + out.size_bytes})",
        "call": call,
        "output": f"arena + {out.offset_bytes}",
        "output_bytes": out.size_bytes,
    }


def _wrap(items: Sequence[str], indent: str) -> str:
    """Items separated by commas over lines of at most LINE_COLUMNS, never broken inside an item."""
    whole = ", ".join(item.replace(" ", "\0") for item in items)
    lines = textwrap.wrap(whole, LINE_COLUMNS - len(indent), break_long_words=False, break_on_hyphens=False)
    return "\n".join(indent + line for line in lines).replace("\0", " ")


def _call(name: str, arguments: Sequence[str], indent: str = "") -> str:
    """`name(arguments)`, wrapped under the opening bracket as clang-format would; no indent on the first line."""
    lead = f"{indent}{name}("
    return name + "(" + _wrap(arguments, " " * len(lead)).lstrip() + ")"


def _table_name(stage: Stage, table: Table) -> str:
    return f"nanou_layer_{stage.operator_index:02d}_{table.name}"


def _table(stage: Stage, table: Table) -> Mapping[str, Any]:
    return {
        "name": _table_name(stage, table),
        "c_type": f"{table.values.dtype.name}_t",
        "size": table.values.size,
        "lines": _lines(table.values, table.per_line),
    }


def _memory_map(plan: Plan) -> Sequence[str]:
    """One line per activation: where it lives and from which to which operator."""
    rows = []
    for p in plan.placements:
        span = f"{p.offset_bytes:>7} .. {p.offset_bytes + p.size_bytes:>7}"
        alive = f"{max(p.first_step, 0):>3} .. {p.last_step:>3}"
        rows.append(f"{span}   {alive}   {p.region:<6}  tensor {p.tensor}")
    return rows
