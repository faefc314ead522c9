"""Render a library folder from a compilation. No file I/O beyond templates; the same input gives the same bytes.

The folder is at once a PlatformIO library, an ESP-IDF component and a plain CMake target.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import codegen
from codegen.compile import Compilation
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, image_shape
from codegen.graph.model import QuantizedModel
from codegen.library.c_text import c_type, float_literal
from codegen.library.camera_resize import camera_files
from codegen.library.compile_flags import FLAGS_SET, NO_SCHEDULING, OPTIMIZE
from codegen.library.golden import golden_crc32, golden_frame, golden_layers
from codegen.library.identifier import model_identifier
from codegen.library.render_aot import aot_files
from codegen.library.render_border import border_conversions
from codegen.library.render_contract import describe_decision, describe_picture
from codegen.library.render_tflm import tflm_dependencies, tflm_files
from codegen.library.resources import api_header, render_template
from codegen.library.stack_estimate import StackEstimate, estimate_stack
from codegen.library.tflm_arena import ArenaBudget
from codegen.plan.place import ALIGNMENT_BYTES
from codegen.proof.proof import Proofs
from codegen.tflite.oracle import trace_oracle

Runtime = Literal["aot", "tflm"]
MANIFEST = "nanou-manifest.json"
APP_HEADER = "app/app_model.h"  # of the one model that an application serves; no part of the library itself
MAX_RANK = 8  # NANOU_MAX_RANK
_TASK_HEADERS = {"segment": "classes.h", "classify": "classify.h", "grid": "grid.h"}
_DTYPES = {name: f"NANOU_{name.upper()}" for name in ("int8", "int32", "int64", "uint8", "float32", "int16", "bool")}


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
    state_bytes: int
    macs: int  # 0: unknown
    golden_crc32: int
    golden_layers: int = 0  # listed in ID_golden.c
    cores: int = 1
    proofs: Proofs | None = None  # None for the interpreter, of which nothing is proven
    stack: tuple[StackEstimate, ...] = ()


def render_aot(compiled: Compilation) -> RenderedProject:
    """Render the compiled runtime: straight-line C99, no interpreter. Refuses what `compiled.proofs` do not prove."""
    if compiled.proofs.failures:  # a defect of this compiler, never of the model
        raise AssertionError("; ".join(compiled.proofs.failures))
    graph, plan = compiled.graph, compiled.plan
    frames = graph.split_inputs(golden_frame(graph.input_bytes)[None])
    values = trace_oracle(graph, [frame[0] for frame in frames])
    layers = golden_layers(compiled.program, values)
    facts = LibraryFacts(
        "aot",
        plan.arena_bytes,
        plan.rows_arena_bytes,
        plan.working_bytes,
        plan.state_bytes,
        plan.macs,
        golden_crc32(*(values[index] for index in graph.outputs)),
        len(layers),
        2 if plan.cores else 1,
        compiled.proofs,
        estimate_stack(compiled.program),
    )
    about = _about(compiled.model, graph, facts)
    sources = aot_files(compiled, about["id"], about)
    lines = [{**asdict(layer), "crc32": f"0x{layer.crc32:08x}u"} for layer in layers]
    sources[f"src/{about['id']}_golden.c"] = render_template("aot/golden.c.j2", **about, golden_layers=lines)
    return _library(about, sources)


def render_tflm(model: QuantizedModel, graph: Graph, budget: ArenaBudget, *, macs: int, crc32: int) -> RenderedProject:
    """Render the interpreter, TensorFlow Lite Micro, behind the same header. `crc32` is of its own golden outputs."""
    working_bytes = budget.total_bytes - graph.input_bytes - graph.output_bytes
    facts = LibraryFacts("tflm", budget.total_bytes, budget.total_bytes, working_bytes, 0, macs, crc32)
    about = _about(model, graph, facts)
    sources = tflm_files(graph, model, budget, about)
    return _library(about, {**sources, "idf_component.yml": _component_manifest()})


def _component_manifest() -> str:
    lines = [f'  {name}: "{version}"' for name, version in sorted(tflm_dependencies().items())]
    return "\n".join(["# Fetched by ESP-IDF's component manager.", "dependencies:", *lines, ""])


def _about(model: QuantizedModel, graph: Graph, facts: LibraryFacts) -> dict[str, Any]:
    """Collect what every template of a library may say: names, tensors, figures, the contract."""
    identifier = model_identifier(model.name)
    return {
        "generator": f"nanou-deploy {codegen.__version__}",
        "model": model,
        "id": identifier,
        "ID": identifier.upper(),
        "facts": facts,
        "inputs": [_tensor(graph, identifier, "input", i) for i in range(len(graph.inputs))],
        "outputs": [_tensor(graph, identifier, "output", i) for i in range(len(graph.outputs))],
        "borders": border_conversions(graph) if facts.runtime == "aot" else (),
        "alignment_bytes": ALIGNMENT_BYTES,
        **describe_decision(model, graph),
        **describe_picture(model, graph),
        "golden_crc32": f"0x{facts.golden_crc32:08x}u",
    }


def _languages(facts: LibraryFacts, sources: Mapping[str, str]) -> str:
    """CMake's names of the languages that the sources are in."""
    if facts.runtime == "tflm":
        return "C CXX"
    return "C ASM" if any(path.endswith(".S") for path in sources) else "C"


def _library(about: Mapping[str, Any], sources: Mapping[str, str]) -> RenderedProject:
    """Add to a runtime's sources what both runtimes have. `about`: of `_about`."""
    model: QuantizedModel = about["model"]
    facts: LibraryFacts = about["facts"]
    identifier: str = about["id"]
    templates = {name: name for name in ("CMakeLists.txt", "library.json")}
    templates |= {f"include/{identifier}.h": "model.h", APP_HEADER: "app_model.h"}
    if about["picture"]:
        sources = {**sources, **camera_files(model, about["picture"], about)}
        templates[f"src/{identifier}_input.c"] = "input.c"
    if about["decision"]:
        header = _TASK_HEADERS[about["decision"].task]
        templates[f"include/{identifier}_{header}"] = header
    if about["borders"]:
        templates |= {f"src/{identifier}_border.c": "border.c", f"include/{identifier}_border.h": "border.h"}
    headers = sorted(path for path in (*sources, *templates) if path.startswith("include/"))
    about = {
        **about,
        "sources": sorted(path for path in (*sources, *templates) if path.endswith((".c", ".cc", ".S"))),
        "headers": [path.removeprefix("include/") for path in ("include/nanou.h", *headers)],
        "has_camera": f"include/{identifier}_camera.h" in sources,
        "flags": [OPTIMIZE, NO_SCHEDULING, FLAGS_SET] if facts.runtime == "aot" else [OPTIMIZE],
        "languages": _languages(facts, sources),
        "requires": ["esp-tflite-micro"] if facts.runtime == "tflm" else [],
    }
    files = {**sources, "include/nanou.h": api_header()}
    files |= {path: render_template(f"common/{template}.j2", **about) for path, template in templates.items()}
    made = {"model_sha256": model.sha256, "runtime": facts.runtime, "model": model.name, "identifier": identifier}
    return with_manifest(files, {**made, "camera": str(model.camera)})


def with_manifest(files: Mapping[str, str], about: Mapping[str, str]) -> RenderedProject:
    """Add the manifest: what was generated, by which version, and the hash of every file."""
    hashes = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in sorted(files.items())}
    manifest = {"schema": 1, "generator": f"nanou-deploy {codegen.__version__}", **about, "files": hashes}
    text = json.dumps(manifest, indent=2) + "\n"
    return RenderedProject(dict(sorted({**files, MANIFEST: text}.items())))


def _tensor(graph: Graph, identifier: str, kind: str, position: int) -> Mapping[str, Any]:
    indices = graph.inputs if kind == "input" else graph.outputs
    tensor = graph.tensor(indices[position])
    if tensor.dtype not in _DTYPES or len(tensor.shape) > MAX_RANK:
        raise UnsupportedError(
            f"{kind} '{tensor.name}' is {tensor.dtype} of {len(tensor.shape)} dimensions",
            hint=f"nanou.h knows {', '.join(_DTYPES)}, of up to {MAX_RANK} dimensions",
        )
    number = "" if len(indices) == 1 else f"_{position}"
    return {
        "kind": kind,
        "position": position,
        "name": tensor.name,
        "macro": f"{identifier}_{kind}{number}".upper(),
        "dtype": _DTYPES[tensor.dtype],
        "c_type": c_type(tensor.dtype),
        "dims": tensor.shape or (1,),
        "image": image_shape(tensor.shape) if len(tensor.shape) == 4 and tensor.shape[0] == 1 else None,
        "rows": image_shape(tensor.shape)[0],
        "size_bytes": tensor.size_bytes,
        "scale": float_literal(tensor.scale if tensor.scales else 0.0),
        "zero_point": tensor.zero_point if tensor.zero_points else 0,
    }
