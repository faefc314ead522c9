"""Find which runtimes take a model file, whatever it is, and everything that keeps it from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codegen.compile import Compilation, compilable_graph
from codegen.errors import CodegenError, UnsupportedError
from codegen.graph.graph import Graph, Operator
from codegen.graph.model import QuantizedModel
from codegen.library.render_tflm import registration_methods
from codegen.operators import IMPLEMENTATIONS
from codegen.tflite import interpreters as reference
from codegen.tflite.file_kind import FileKind, file_kind
from codegen.tflite.files import load_model, model_without_sidecar, read_model
from codegen.tflite.load import read_graph
from codegen.tflite.verify import file_problems
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.compilation import compile_for


@dataclass(frozen=True)
class Problem:
    """What keeps a file from a runtime, and what would unblock it, where that is known."""

    what: str
    unblock: str


@dataclass(frozen=True, eq=False)
class Examination:
    """A model file as far as it can be read. `model` has the contract, `compiled` is what aot made of it, if it could.

    `arena_bytes` is what TensorFlow Lite Micro took when it ran the file here; None where it did not.
    """

    model: QuantizedModel | None
    sha256: str
    size_bytes: int
    kind: FileKind
    graph: Graph
    canonical: Graph | None
    compiled: Compilation | None
    arena_bytes: int | None
    sidecar: Problem | None
    aot: tuple[Problem, ...]
    tflm: tuple[Problem, ...]

    def operator_status(self, operator: Operator) -> tuple[str, str]:
        """Say what aot and tflm do with an operator of the file: "yes", "no", or "folded" at compile time."""
        if self.canonical is not None and operator.index not in {op.index for op in self.canonical.operators}:
            aot = "folded"
        else:
            is_known = operator.stem in IMPLEMENTATIONS and not self.kind.unblock
            aot = "yes" if is_known and not _names(self.aot, operator) else "no"
        return aot, "yes" if _is_registered(operator) and not _names(self.tflm, operator) else "no"


def _names(problems: Sequence[Problem], operator: Operator) -> bool:
    return any(operator.label in each.what for each in problems)


def _is_registered(operator: Operator) -> bool:
    try:
        registration_methods(Graph((), (operator,), (), ()))
    except UnsupportedError:
        return False
    return True


def examine(path: Path, board: Board) -> Examination:
    """Read, verify, compile for `board` and run a file, as far as each is possible.

    Raises ModelError where the bytes are no intact TFLite file; UnsupportedError where it has too much of anything.
    """
    flatbuffer = read_model(path)
    graph, refused = read_graph(flatbuffer)
    problems = _problems(refused or file_problems(graph))
    model, sidecar = _model(path, flatbuffer, readable=not refused)
    canonical, compiled, arena_bytes, aot, tflm = None, None, None, problems, problems
    if not problems:
        canonical, found = compilable_graph(graph)
        aot, compiled = _compile(model, board) if not found else (_problems(found), None)
        tflm, arena_bytes = _run(graph, flatbuffer)
    kind = file_kind(graph)
    if kind.unblock:
        told = Problem(f"the file is {kind.description}", kind.unblock)
        aot, tflm = (tuple(dict.fromkeys((told, *found))) if found else () for found in (aot, tflm))
    sha256 = QuantizedModel("model", flatbuffer).sha256
    return Examination(
        model, sha256, len(flatbuffer), kind, graph, canonical, compiled, arena_bytes, sidecar, aot, tflm
    )


def _model(path: Path, flatbuffer: bytes, *, readable: bool) -> tuple[QuantizedModel | None, Problem | None]:
    """Return the model with its contract, without its sidecar where that contradicts it."""
    if not readable:
        return None, None
    try:
        return load_model(path), None
    except CodegenError as error:
        return model_without_sidecar(path, flatbuffer), Problem(str(error), error.hint)


def _compile(model: QuantizedModel | None, board: Board) -> tuple[tuple[Problem, ...], Compilation | None]:
    assert model is not None  # readable, or there would be problems
    try:
        return (), compile_for(model, board)
    except CodegenError as error:
        return _problems([error]), None


def _run(graph: Graph, flatbuffer: bytes) -> tuple[tuple[Problem, ...], int | None]:
    """Run the file in TensorFlow Lite Micro; return what it says, and the arena that it took."""
    unknown = {operator.stem: operator for operator in graph.operators if not _is_registered(operator)}
    if unknown:
        unblock = "convert the model without it"
        return tuple(Problem(f"TFLM has no {stem.upper()} ({op.label})", unblock) for stem, op in unknown.items()), None
    try:
        return (), reference.measure_tflm_arena_bytes(flatbuffer)
    except CodegenError as error:
        return _problems([error]), None


def _problems(errors: Sequence[CodegenError]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(Problem(str(error), error.hint) for error in errors))
