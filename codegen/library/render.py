"""Render a library folder from a compilation. No file I/O beyond templates; the same input gives the same bytes.

The folder is at once a PlatformIO library, an ESP-IDF component and a plain CMake target.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

import codegen
from codegen.compile import Compilation
from codegen.graph.contract import class_names, decision_threshold, drivable_classes, input_lookup
from codegen.graph.graph import Graph, image_shape
from codegen.graph.model import QuantizedModel
from codegen.library.c_text import number_lines
from codegen.library.camera_resize import camera_files
from codegen.library.compile_flags import FLAGS_SET, NO_SCHEDULING, OPTIMIZE
from codegen.library.golden import GOLDEN_SEED, GoldenLayer, golden_crc32, golden_frame, golden_layers
from codegen.library.render_aot import aot_files
from codegen.library.render_tflm import tflm_dependencies, tflm_files
from codegen.library.resources import api_header, render_template
from codegen.library.stack_estimate import StackEstimate, estimate_stack
from codegen.library.tflm_arena import ArenaBudget
from codegen.plan.place import ALIGNMENT_BYTES
from codegen.proof.proof import Proofs
from codegen.tflite.oracle import trace_oracle

Runtime = Literal["aot", "tflm"]
MANIFEST = "nanou-manifest.json"
COMMON_FILES = (
    "include/nanou_model.h",
    "src/nanou_contract.c",
    "CMakeLists.txt",
    "library.json",
)
SEGMENTATION_FILES = ("include/nanou_classes.h",)
NEVER = 128  # a threshold that no int8 reaches


@dataclass(frozen=True)
class RenderedProject:
    """Holds texts by relative POSIX path, sorted. `nanou-manifest.json` states the hash of every other file."""

    files: Mapping[str, str]


@dataclass(frozen=True)
class LibraryFacts:
    """Holds what the generated header states, whichever runtime computes it."""

    runtime: Runtime
    arena_bytes: int
    rows_arena_bytes: int  # without frames, for nanou_invoke_rows alone
    working_bytes: int
    macs: int  # 0: unknown
    golden_crc32: int
    golden_layers: int = 0  # listed in nanou_golden.c
    proofs: Proofs | None = None  # None for the interpreter, of which nothing is proven
    stack: tuple[StackEstimate, ...] = ()


def render_aot(compiled: Compilation) -> RenderedProject:
    """Render the compiled runtime: straight-line C99, no interpreter. Refuses what `compiled.proofs` do not prove."""
    if compiled.proofs.failures:  # a defect of this compiler, never of the model
        raise AssertionError("; ".join(compiled.proofs.failures))
    graph, plan = compiled.graph, compiled.plan
    values = trace_oracle(graph, golden_frame(graph.input.size_bytes).reshape(graph.input.shape))
    layers = golden_layers(compiled.program, values)
    sources = {**aot_files(compiled), "src/nanou_golden.c": _golden_file(compiled, layers)}
    facts = LibraryFacts(
        "aot",
        plan.arena_bytes,
        plan.rows_arena_bytes,
        plan.working_bytes,
        plan.macs,
        golden_crc32(values[graph.output.index]),
        len(layers),
        compiled.proofs,
        estimate_stack(compiled.program),
    )
    return _library(compiled.model, graph, facts, sources)


def _golden_file(compiled: Compilation, layers: Sequence[GoldenLayer]) -> str:
    context = {
        "generator": f"nanou-deploy {codegen.__version__}",
        "model": compiled.model,
        "golden_layers": [{**asdict(layer), "crc32": f"0x{layer.crc32:08x}u"} for layer in layers],
    }
    return render_template("aot/nanou_golden.c.j2", **context)


def render_tflm(model: QuantizedModel, graph: Graph, budget: ArenaBudget, *, macs: int, crc32: int) -> RenderedProject:
    """Render the interpreter, TensorFlow Lite Micro, behind the same header. `crc32` is of its own golden output."""
    frames = graph.input.size_bytes + graph.output.size_bytes
    facts = LibraryFacts("tflm", budget.total_bytes, budget.total_bytes, budget.total_bytes - frames, macs, crc32)
    sources = {**tflm_files(graph, model, budget), "idf_component.yml": _component_manifest()}
    return _library(model, graph, facts, sources)


def _component_manifest() -> str:
    lines = [f'  {name}: "{version}"' for name, version in sorted(tflm_dependencies().items())]
    return "\n".join(["# Fetched by ESP-IDF's component manager.", "dependencies:", *lines, ""])


def _library(model: QuantizedModel, graph: Graph, facts: LibraryFacts, sources: Mapping[str, str]) -> RenderedProject:
    generator = f"nanou-deploy {codegen.__version__}"
    if model.preprocessing is not None:
        height_px, width_px, channels = image_shape(graph.input.shape)
        contract = replace(model.preprocessing, height_px=height_px, width_px=width_px, channels=channels)
        sources = {**sources, **camera_files(model, contract, generator)}
    context = {
        "generator": generator,
        "model": model,
        "facts": facts,
        "input": _frame(graph, graph.inputs[0]),
        "output": _frame(graph, graph.outputs[0]),
        "alignment_bytes": ALIGNMENT_BYTES,
        "threshold_q": decision_threshold(model, graph) if model.preprocessing else NEVER,
        "classes": _classes(model, graph) if model.preprocessing else None,
        "golden_seed": f"0x{GOLDEN_SEED:08x}u",
        "golden_crc32": f"0x{facts.golden_crc32:08x}u",
        "input_lookup": number_lines(input_lookup(model, graph), 16) if model.preprocessing else [],
        "sources": sorted(path for path in (*sources, "src/nanou_contract.c") if path.endswith((".c", ".cc"))),
        "headers": ["nanou.h", "nanou_model.h"]
        + (["nanou_classes.h"] if model.preprocessing else [])
        + (["nanou_camera.h"] if "include/nanou_camera.h" in sources else []),
        "flags": [OPTIMIZE, NO_SCHEDULING, FLAGS_SET] if facts.runtime == "aot" else [OPTIMIZE],
        "languages": "C CXX" if facts.runtime == "tflm" else "C",
        "requires": ["esp-tflite-micro"] if facts.runtime == "tflm" else [],
    }
    files = dict(sources)
    files["include/nanou.h"] = api_header()
    for name in (*COMMON_FILES, *(SEGMENTATION_FILES if model.preprocessing else ())):
        files[name] = render_template(f"common/{name.rsplit('/', 1)[-1]}.j2", **context)
    about = {"model_sha256": model.sha256, "runtime": facts.runtime, "model": model.name, "camera": str(model.camera)}
    return with_manifest(files, about)


def _classes(model: QuantizedModel, graph: Graph) -> Mapping[str, Any]:
    names, drivable = class_names(model, graph), drivable_classes(model, graph)
    return {
        "names": names,
        "drivable_bits": f"0x{sum(1 << index for index in drivable):08x}u",
        "drivable": [names[index] for index in drivable],
        "rule": "highest" if graph.output.shape[-1] > 1 else "threshold",
    }


def with_manifest(files: Mapping[str, str], about: Mapping[str, str]) -> RenderedProject:
    """Add the manifest: what was generated, by which version, and the hash of every file."""
    hashes = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in sorted(files.items())}
    manifest = {"schema": 1, "generator": f"nanou-deploy {codegen.__version__}", **about, "files": hashes}
    text = json.dumps(manifest, indent=2) + "\n"
    return RenderedProject(dict(sorted({**files, MANIFEST: text}.items())))


def _frame(graph: Graph, index: int) -> Mapping[str, Any]:
    tensor = graph.tensor(index)
    height, width, channels = image_shape(tensor.shape)
    scale = f"{np.float32(tensor.scale):.9g}"
    return {
        "height_px": height,
        "width_px": width,
        "channels": channels,
        "size_bytes": tensor.size_bytes,
        "scale": f"{scale if '.' in scale or 'e' in scale else scale + '.0'}f",
        "zero_point": tensor.zero_point,
    }
