"""Export a generated library as a folder for another build system, with README, licence, provenance and an example.

Pure text, as rendering is; `codegen.library.write.write_project` puts it on disk. Layouts follow PlatformIO's
library.json (docs.platformio.org/en/latest/manifests/library-json), Espressif's idf_component.yml
(docs.espressif.com/projects/idf-component-manager), and the Arduino library specification
(docs.arduino.cc/arduino-cli/library-specification), revision 2.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import codegen
from codegen.graph.graph import Tensor
from codegen.graph.model import QuantizedModel
from codegen.library.compile_flags import FLAGS_SET, NO_SCHEDULING, OPTIMIZE
from codegen.library.identifier import CMAKE_TARGETS, model_identifier
from codegen.library.render import MANIFEST, RenderedProject, with_manifest
from codegen.library.render_tflm import tflm_dependencies
from codegen.library.resources import render_template
from codegen.tflite.files import contract_graph
from codegen.tflite.sidecar import sidecar, without_paths
from nanou_deploy.boards.boards import BOARDS
from nanou_deploy.build.platformio import PLATFORM, PLATFORM_VERSION
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import licence_text

Format = Literal["platformio", "esp-idf-component", "arduino", "cmake"]

_TOPICS = {"segment": "segmentation", "classify": "classification", "grid": "detection", "raw": "inference"}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
# Semantic versioning 2.0.0 (semver.org), without its rule about leading zeros in pre-releases.
_VERSION = re.compile(r"((0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*))(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


@dataclass(frozen=True)
class Package:
    """Name, version and addresses for a package manager. `version` is a semantic version; `url` may be empty."""

    name: str
    version: str
    author: str = "the makers of this model"
    url: str = ""

    def __post_init__(self) -> None:
        """Check what package managers would refuse, or what would break their files. Raises DeployError."""
        if not _NAME.fullmatch(self.name):
            hint = "use up to 63 of a-z, 0-9, '_' and '-', and begin with a letter"
            raise DeployError(f"{self.name!r} is no name for a package", hint=hint)
        if self.name in CMAKE_TARGETS | {"self_test"}:  # the example's own
            raise DeployError(f"{self.name!r} is a target of CMake's own", hint="give the package another name")
        if not _VERSION.fullmatch(self.version):
            raise DeployError(f"{self.version!r} is no semantic version", hint="write it as in 1.2.0")
        for what, text in (("author", self.author), ("URL", self.url)):
            if not text.isprintable() or set(text) & set('"\\'):
                raise DeployError(f"{text!r} cannot be the {what}", hint="use plain text without quotes")

    @property
    def release(self) -> str:
        """Return the version's three numbers: all that CMake takes."""
        found = _VERSION.fullmatch(self.version)
        assert found is not None
        return found[1]


def default_package(model: QuantizedModel) -> Package:
    """Name the package by this project's version and the model: 0.1.0+96b40296700e."""
    return Package(model_identifier(model.name), f"{codegen.__version__}+{model.sha256[:12]}")


def render_export(
    library: RenderedProject,
    model: QuantizedModel,
    package: Package,
    form: Format,
    *,
    command: Sequence[str],
    card: Mapping[str, str] | None = None,
) -> RenderedProject:
    """Render the folder for one build system. `command` is what makes it again, word by word; `card`: its files.

    Raises DeployError where the runtime's sources cannot travel in that format.
    """
    runtime = json.loads(library.files[MANIFEST])["runtime"]
    if runtime == "tflm" and form != "esp-idf-component":
        raise DeployError(
            f"the tflm runtime cannot be exported as {form}: it needs TensorFlow Lite Micro's own sources",
            hint="use --format esp-idf-component, whose build fetches them, or --runtime aot",
        )
    sources = {path: text for path, text in library.files.items() if path.startswith(("include/", "src/"))}
    context = _context(sources, model, package, form, runtime, command)
    files = _LAYOUTS[form](sources, library, context)
    files["README.md"] = render_template("export/README.md.j2", **context)
    files["provenance.json"] = json.dumps(without_paths(sidecar(model)), indent=2, sort_keys=True) + "\n"
    files["LICENSE"] = licence_text()
    files |= card or {}
    about = {"model_sha256": model.sha256, "runtime": runtime, "model": model.name}
    return with_manifest(files, {**about, "format": form, "version": package.version})


def example_path(form: Format) -> str:
    """Return where the example's source lies in the exported folder."""
    return {
        "cmake": "example/self_test.c",
        "platformio": "examples/self_test/src/self_test.c",
        "esp-idf-component": "examples/self_test/main/self_test.c",
        "arduino": "examples/SelfTest/SelfTest.ino",
    }[form]


# ---- Layouts ---------------------------------------------------------------------------------------------------

_Files = dict[str, str]
_Layout = Callable[[Mapping[str, str], RenderedProject, Mapping[str, Any]], _Files]


def _cmake(sources: Mapping[str, str], _library: RenderedProject, context: Mapping[str, Any]) -> _Files:
    return {
        **sources,
        "CMakeLists.txt": render_template("export/cmake/CMakeLists.txt.j2", **context),
        example_path("cmake"): _example("self_test.c", context),
    }


def _platformio(sources: Mapping[str, str], _library: RenderedProject, context: Mapping[str, Any]) -> _Files:
    return {
        **sources,
        "library.json": render_template("export/platformio/library.json.j2", **context),
        "examples/self_test/platformio.ini": render_template("export/platformio/platformio.ini.j2", **context),
        example_path("platformio"): _example("self_test.c", context),
    }


def _esp_idf_component(sources: Mapping[str, str], library: RenderedProject, context: Mapping[str, Any]) -> _Files:
    example = "examples/self_test"
    return {
        **sources,
        "CMakeLists.txt": library.files["CMakeLists.txt"],
        "idf_component.yml": render_template("export/esp-idf-component/idf_component.yml.j2", **context),
        f"{example}/CMakeLists.txt": render_template("export/esp-idf-component/project.cmake.j2", **context),
        f"{example}/main/CMakeLists.txt": render_template("export/esp-idf-component/main.cmake.j2", **context),
        f"{example}/sdkconfig.defaults": render_template("export/esp-idf-component/sdkconfig.defaults.j2", **context),
        example_path("esp-idf-component"): _example("self_test.c", context),
    }


def _arduino(sources: Mapping[str, str], _library: RenderedProject, context: Mapping[str, Any]) -> _Files:
    """Arduino's builder looks for headers in src/ alone, so they lie beside the sources."""
    return {
        **{re.sub(r"^include/", "src/", path): text for path, text in sources.items()},
        "library.properties": render_template("export/arduino/library.properties.j2", **context),
        example_path("arduino"): _example("SelfTest.ino", context),
    }


_LAYOUTS: Mapping[Format, _Layout] = {
    "platformio": _platformio,
    "esp-idf-component": _esp_idf_component,
    "arduino": _arduino,
    "cmake": _cmake,
}


# ---- Content ---------------------------------------------------------------------------------------------------


def _context(
    sources: Mapping[str, str],
    model: QuantizedModel,
    package: Package,
    form: Format,
    runtime: str,
    command: Sequence[str],
) -> dict[str, Any]:
    identifier = model_identifier(model.name)
    header = _constants(sources[f"include/{identifier}.h"], identifier.upper())
    graph, task = contract_graph(model.flatbuffer), model.decision.task
    is_aot = runtime == "aot"  # whose tensors are int8; the interpreter's are the file's
    inputs, outputs = (graph.inputs, graph.outputs) if is_aot else (graph.file_inputs, graph.file_outputs)
    frame = ", ".join(_tensor_text(graph.tensor(index)) for index in inputs)
    source_list = sorted(path for path in sources if path.endswith((".c", ".cc")))
    hardware = [board for board in BOARDS.values() if board.kind == "hardware"]
    return {
        "package": package,
        "id": identifier,
        "ID": identifier.upper(),
        "classes": f"include/{identifier}_classes.h" in sources,
        "classify": f"include/{identifier}_classify.h" in sources,
        "picture": model.picture,
        "topic": _TOPICS[task],
        "model": model,
        "format": form,
        "generator": f"nanou-deploy {codegen.__version__}",
        "command": command,
        "summary": f"Model {model.name}, {frame} ({runtime} runtime)",
        "frame": frame,
        "facts": _facts(header, frame, [_tensor_text(graph.tensor(index)) for index in outputs], model, runtime),
        "arena_bytes": header["ARENA_BYTES"].removesuffix("u"),
        "golden_crc32": header["GOLDEN_CRC32"].removesuffix("u"),
        "proofs": " and what is proven" if runtime == "aot" else "",
        "source_list": source_list,
        "example": example_path(form),
        "dependencies": sorted(tflm_dependencies().items()) if runtime == "tflm" else [],
        "boards": hardware,
        "default_board": hardware[0].name,
        "platform": f"{PLATFORM}@{PLATFORM_VERSION}",
        "flags": [OPTIMIZE, NO_SCHEDULING, FLAGS_SET],
    }


def _tensor_text(tensor: Tensor) -> str:
    """Describe a tensor as "int8 1 x 60 x 80 x 3"."""
    return f"{tensor.dtype} {' x '.join(map(str, tensor.shape))}"


def _facts(
    header: Mapping[str, str], frame: str, outputs: Sequence[str], model: QuantizedModel, runtime: str
) -> list[tuple[str, str]]:
    def size(name: str) -> str:
        return f"{int(header[name].removesuffix('u')):,} bytes"

    decides = f"; {model.decision.task}" if model.decision.task != "raw" else "; nobody has said of what"
    if model.drivable:
        decides += f", drivable: {', '.join(model.drivable)}"
    return [
        ("runtime", "compiled C, no interpreter" if runtime == "aot" else "TensorFlow Lite Micro"),
        ("input", frame + (", pixels by table" if model.picture else "")),
        ("output", ", ".join(outputs) + decides),
        ("RAM with both frames", size("ARENA_BYTES")),
        ("RAM with row callbacks", size("ROWS_ARENA_BYTES")),
        ("multiply-accumulates", f"{int(header['MACS'].removesuffix('u')):,}"),
    ]


def _constants(header: str, prefix: str) -> dict[str, str]:
    """NAME -> value of each `#define PREFIX_NAME value`."""
    return dict(re.findall(rf"^#define {prefix}_(\w+) +(\S+)", header, re.MULTILINE))


def _example(name: str, context: Mapping[str, Any]) -> str:
    return render_template(f"export/example/{name}.j2", **context)
