"""Exported folders build away from this project, by the tools they are for, and give the golden output."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from codegen.errors import WriteError
from codegen.graph.model import QuantizedModel
from codegen.library.golden import golden_frame
from codegen.library.identifier import model_identifier
from codegen.library.render import MANIFEST, RenderedProject
from codegen.library.write import edited_files, write_project
from codegen.tflite.files import inferred
from codegen.tflite.interpreters import run_tflm
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.export import Format, Package, default_package, example_path, render_export
from nanou_deploy.build.library import open_model, render_library
from nanou_deploy.errors import DeployError
from tests.unit.test_evaluate_tensors import classifier

STAND_IN_ARDUINO = Path(__file__).with_name("stand_in_arduino")
PACKAGE = "nano_u_offroad"
COMMAND = ["nanou-deploy", "export", "--model", "my model"]


MISSING_FLAGS = "compile this file with"


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    return open_model(None)


@pytest.fixture(scope="module")
def library(model: QuantizedModel) -> RenderedProject:
    return render_library(model, "aot", find_board("host"))


@pytest.fixture(scope="module")
def golden(model: QuantizedModel) -> str:
    """CRC-32 of TFLM's output for the golden input, as the examples print it."""
    contract = model.preprocessing
    shape = (1, contract.height_px, contract.width_px, contract.channels)
    frame = golden_frame(contract.height_px * contract.width_px * contract.channels).reshape(shape)
    return f"{zlib.crc32(run_tflm(model.flatbuffer, frame).tobytes()):08x}"


@pytest.fixture(scope="module")
def exported(
    model: QuantizedModel, library: RenderedProject, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Format], Path]:
    top = tmp_path_factory.mktemp("exported")

    def export(form: Format) -> Path:
        folder = top / form / PACKAGE
        write_project(render_export(library, model, default_package(model), form, command=COMMAND), folder)
        return folder

    return export


def output_of(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("form", get_args(Format))
def test_every_folder_is_complete(form: Format, exported: Callable[[Format], Path], model: QuantizedModel) -> None:
    folder = exported(form)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert (manifest["format"], manifest["model_sha256"]) == (form, model.sha256)
    assert edited_files(folder) == ()
    assert {"README.md", "LICENSE", "provenance.json", example_path(form)} <= manifest["files"].keys()
    readme = (folder / "README.md").read_text()
    assert model.sha256 in readme
    assert shlex.join(COMMAND) in readme
    assert example_path(form).rsplit("/", 1)[-1].partition(".")[0] in readme
    assert max(map(len, readme.splitlines())) <= 120
    assert json.loads((folder / "provenance.json").read_text())["provenance"]["metrics"] == model.provenance["metrics"]


def test_the_maker_s_folders_stay_private(model: QuantizedModel, library: RenderedProject) -> None:
    provenance = {"data": {"root": "/home/ann/fields"}, "runs": ["/home/ann/runs/7", "relative/path", 3]}
    private = dataclasses.replace(model, provenance=provenance)
    text = render_export(library, private, default_package(model), "cmake", command="").files["provenance.json"]
    assert json.loads(text)["provenance"] == {"data": {"root": "fields"}, "runs": ["7", "relative/path", 3]}


def test_plain_gcc(
    exported: Callable[[Format], Path], golden: str, require_tool: Callable[..., str], tmp_path: Path
) -> None:
    """The README's own line, with every warning an error."""
    gcc, folder = require_tool("gcc"), shutil.copytree(exported("cmake"), tmp_path / "copy")
    line = next(line for line in (folder / "README.md").read_text().splitlines() if line.startswith("gcc "))
    strict = "-std=c99 -pedantic -Wall -Wextra -Wconversion -Wshadow -Werror"
    said = output_of("sh", "-c", line.replace("gcc ", f"{gcc} {strict} ", 1), cwd=folder)
    assert f"output CRC-32 {golden}, expected {golden}: equal" in said
    assert MISSING_FLAGS not in said


def test_cmake_builds_tests_installs_and_is_found(
    exported: Callable[[Format], Path], golden: str, require_tool: Callable[..., str], tmp_path: Path
) -> None:
    cmake, folder = require_tool("cmake"), exported("cmake")
    require_tool("gcc", "clang")
    output_of(cmake, "-S", folder, "-B", tmp_path / "build", "-Werror=dev")
    assert MISSING_FLAGS not in output_of(cmake, "--build", tmp_path / "build")
    assert "100% tests passed" in output_of("ctest", "--test-dir", tmp_path / "build")
    assert f"{golden}: equal" in output_of(tmp_path / "build" / "self_test")
    output_of(cmake, "--install", tmp_path / "build", "--prefix", tmp_path / "installed")
    consumer = tmp_path / "consumer"
    consumer.mkdir()
    shutil.copy(folder / example_path("cmake"), consumer)
    (consumer / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.16)\nproject(consumer C)\nfind_package({PACKAGE} 0.1 CONFIG REQUIRED)\n"
        f"add_executable(app self_test.c)\ntarget_link_libraries(app PRIVATE nanou::{PACKAGE})\n"
    )
    output_of(cmake, "-S", consumer, "-B", consumer / "b", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
    output_of(cmake, "--build", consumer / "b")
    assert f"{golden}: equal" in output_of(consumer / "b" / "app")


def test_arduino_library_by_the_specification(exported: Callable[[Format], Path]) -> None:
    """Required fields and layout of revision 2.2; `url` is for the maker to state before publishing."""
    folder = exported("arduino")
    lines = (folder / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= properties.keys()
    assert all(properties[field] for field in required - {"url"})
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", properties["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?", properties["version"])
    assert properties["category"] in {"Data Processing", "Other"}
    assert (folder / "src" / properties["includes"]).is_file()
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"src", "examples"}
    sketch = folder / example_path("arduino")
    assert sketch.stem == sketch.parent.name


def test_the_arduino_builder_compiles_the_library(
    exported: Callable[[Format], Path], golden: str, require_tool: Callable[..., str], tmp_path: Path
) -> None:
    """The real builder, on a platform whose board is this computer."""
    builder, folder = require_tool("arduino-builder"), exported("arduino")
    require_tool("g++")
    (tmp_path / "tools").mkdir()
    (tmp_path / "build").mkdir()
    said = output_of(
        *(builder, "-compile", "-hardware", STAND_IN_ARDUINO, "-tools", tmp_path / "tools"),
        *("-libraries", folder.parent, "-fqbn", "nanou:host:computer", "-build-path", tmp_path / "build"),
        *("-warnings", "all", folder / example_path("arduino")),
    )
    assert "warning" not in said.lower().replace("-warnings", "")
    assert MISSING_FLAGS in said  # which Arduino's libraries have no way to set
    upper = golden.upper().lstrip("0")
    assert f"CRC-32 {upper}, expected {upper}: equal" in output_of(tmp_path / "build" / "SelfTest.ino.elf")


def test_the_component_is_packed_by_espressif_s_tool(
    exported: Callable[[Format], Path], require_module: Callable[[str], None], tmp_path: Path
) -> None:
    require_module("idf_component_manager")
    folder = exported("esp-idf-component")
    compote = Path(sys.executable).with_name("compote")
    arguments = ("--name", PACKAGE, "--project-dir", folder, "--dest-dir", tmp_path)
    output_of(compote, "-W", "component", "pack", *arguments)
    assert len(list(tmp_path.glob(f"{PACKAGE}_*.tgz"))) == 1
    (folder / "examples" / "unlisted").mkdir()  # packing wrote nothing into the folder
    assert edited_files(folder) == ()
    (folder / "examples" / "unlisted").rmdir()


def test_the_component_s_cmake_files(
    exported: Callable[[Format], Path], require_tool: Callable[..., str], tmp_path: Path
) -> None:
    """CMake reads them with ESP-IDF's commands replaced by ones that record what they were given."""
    cmake, folder = require_tool("cmake"), exported("esp-idf-component")
    script = tmp_path / "read.cmake"
    script.write_text(
        "set(ESP_PLATFORM 1)\nset(COMPONENT_LIB nanou)\n"
        'function(idf_component_register)\n  cmake_parse_arguments(a "" "" "SRCS;INCLUDE_DIRS;REQUIRES" ${ARGN})\n'
        "  if(a_UNPARSED_ARGUMENTS)\n    message(FATAL_ERROR ${a_UNPARSED_ARGUMENTS})\n  endif()\n"
        "  foreach(file IN LISTS a_SRCS a_INCLUDE_DIRS)\n"
        "    if(NOT EXISTS ${CMAKE_CURRENT_LIST_DIR}/${file})\n      message(FATAL_ERROR ${file})\n    endif()\n"
        "    message(STATUS ${file})\n  endforeach()\nendfunction()\n"
        "function(target_compile_options)\n  message(STATUS ${ARGN})\nendfunction()\n"
        "function(target_compile_definitions)\n  message(STATUS ${ARGN})\nendfunction()\n"
        f"include({folder}/CMakeLists.txt)\ninclude({folder}/examples/self_test/main/CMakeLists.txt)\n"
    )
    said = output_of(cmake, "-P", script)
    assert f"src/{PACKAGE}.c" in said
    assert "self_test.c" in said
    assert "-O2" in said
    assert "-fno-schedule-insns" in said
    assert "NANOU_FLAGS_SET" in said
    project = (folder / "examples" / "self_test" / "CMakeLists.txt").read_text()
    assert (folder / "examples" / "self_test" / "../..").resolve() == folder
    assert '"${CMAKE_CURRENT_LIST_DIR}/../.."' in project


def test_platformio_s_own_schema(exported: Callable[[Format], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """`pio pkg pack` does the same, but fetches the list of licences first."""
    from platformio.package.manifest.parser import ManifestParserFactory
    from platformio.package.manifest.schema import ManifestSchema

    monkeypatch.setattr(ManifestSchema, "load_spdx_licenses", lambda *_: {"licenses": [{"licenseId": "Apache-2.0"}]})
    folder = exported("platformio")
    manifest = ManifestParserFactory.new_from_file(str(folder / "library.json")).as_dict()
    checked = ManifestSchema().load_manifest(manifest)
    assert checked["name"] == PACKAGE
    build = json.loads((folder / "library.json").read_text())["build"]
    assert build["flags"] == ["-O2", "-fno-schedule-insns", "-DNANOU_FLAGS_SET"]
    for example in checked["examples"]:
        assert all((folder / example["base"] / file).is_file() for file in example["files"])


def test_platformio_lints_the_example(exported: Callable[[Format], Path]) -> None:
    from nanou_deploy.build.platformio import lint_project

    assert lint_project(exported("platformio") / "examples" / "self_test").clean


def test_a_url_and_an_author_reach_every_manifest(model: QuantizedModel, library: RenderedProject) -> None:
    package = Package("fields", "2.0.1", author="Ann Example", url="https://example.org/fields")

    def files(form: Format) -> dict[str, str]:
        return dict(render_export(library, model, package, form, command="").files)

    assert json.loads(files("platformio")["library.json"])["homepage"] == package.url
    assert YAML(typ="safe").load(files("esp-idf-component")["idf_component.yml"])["url"] == package.url
    assert "url=https://example.org/fields\n" in files("arduino")["library.properties"]
    assert "maintainer=Ann Example\n" in files("arduino")["library.properties"]
    assert "project(fields VERSION 2.0.1 " in files("cmake")["CMakeLists.txt"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"name": name} for name in ("My Model", "", "test", "install", "self_test")),
        {"version": "1.2"},
        {"author": 'a "b"'},
        {"url": "x\ny"},
    ],
)
def test_what_package_managers_refuse(wrong: dict[str, str]) -> None:
    with pytest.raises(DeployError) as raised:
        Package(**{"name": PACKAGE, "version": "1.2.0", **wrong})
    assert raised.value.hint
    assert model_identifier("test") == "m_test"  # which is a target's name in every library


def test_the_interpreter_travels_where_its_sources_are_fetched(model: QuantizedModel) -> None:
    library = render_library(model, "tflm", find_board("host"))
    package = default_package(model)
    manifest = render_export(library, model, package, "esp-idf-component", command="").files["idf_component.yml"]
    assert "espressif/esp-tflite-micro" in YAML(typ="safe").load(manifest)["dependencies"]
    for form in ("cmake", "arduino", "platformio"):
        with pytest.raises(DeployError, match="own sources"):
            render_export(library, model, package, form, command="")


def test_an_edited_folder_is_kept(exported: Callable[[Format], Path], model: QuantizedModel, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(exported("cmake"), folder)
    (folder / "README.md").write_text("my own words")
    project = RenderedProject({"README.md": "new", MANIFEST: "{}"})
    with pytest.raises(WriteError, match=r"README\.md"):
        write_project(project, folder)
    assert (folder / "README.md").read_text() == "my own words"


@pytest.mark.parametrize("task", ["classify", "raw"])
def test_what_segments_nothing_is_exported_too(task: str, tmp_path: Path) -> None:
    """The README's program compiles, and says what the model is."""
    network = QuantizedModel("letters", classifier("SOFTMAX" if task == "classify" else "", picture=False))
    network = dataclasses.replace(network, contract=inferred(network.flatbuffer).contract)
    library = render_library(network, "aot", find_board("host"))
    write_project(render_export(library, network, default_package(network), "cmake", command=COMMAND), tmp_path / "out")
    readme = (tmp_path / "out/README.md").read_text()
    assert "int8 1 x 3" in readme
    assert ("nobody has said of what" in readme) == (task == "raw")
    (tmp_path / "use.c").write_text(readme.split("```c\n")[1].split("```")[0])
    flags = ["-std=c99", "-Wall", "-Wno-unused", "-Werror", "-DNANOU_FLAGS_SET", "-Iout/include"]
    subprocess.run(["gcc", *flags, "-c", "use.c"], cwd=tmp_path, check=True)
