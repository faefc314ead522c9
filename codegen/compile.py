"""Compile a model from end to end: QuantizedModel -> Graph -> Program -> Plan -> Proofs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen.canonicalize.canonicalize import canonicalize
from codegen.errors import CodegenError, UnsupportedError
from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.lower.lower import lower_graph
from codegen.plan.choose_plan import best_plan
from codegen.plan.cores import share_plan
from codegen.plan.plan import Plan
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.program.program import Program
from codegen.program.target import REGISTERS_32, Target
from codegen.proof.proof import Proofs, prove
from codegen.tflite.file_kind import file_kind
from codegen.tflite.load import load_graph
from codegen.tflite.verify import graph_problems, raise_together, verify_file


@dataclass(frozen=True, eq=False)
class Compilation:
    """Holds a model compiled for one target: what each stage made of it. Rendering, reports, benchmarks take it.

    `proofs` are of this `program` and `plan`. They may have failures, which `inspect --proofs` shows; such a
    compilation is not rendered.
    """

    model: QuantizedModel
    graph: Graph
    program: Program
    plan: Plan
    proofs: Proofs

    def with_plan(self, plan: Plan) -> Compilation:
        """Exchange the plan, and prove the new one."""
        return replace(self, plan=plan, proofs=prove(self.program, plan))


def compilable_graph(graph: Graph) -> tuple[Graph, tuple[CodegenError, ...]]:
    """Return the canonical form of a verified file's graph, and everything that keeps it from being compiled."""
    refused: list[UnsupportedError] = []
    canonical, kind = canonicalize(graph, refused), file_kind(graph)
    problems = (*refused, *graph_problems(canonical))
    if problems and kind.unblock:  # most else that could be said follows from it
        told = UnsupportedError(f"the file is {kind.description}", hint=kind.unblock)
        problems = (told, *refused, *graph_problems(canonical, of_types=False))
    return canonical, problems


def compile_model(
    model: QuantizedModel, target: Target = REGISTERS_32, objective: Objective = DEFAULT_OBJECTIVE
) -> Compilation:
    """Load, canonicalize, verify, lower, plan and prove. Raises CodegenError, which names the operator or tensor."""
    graph, problems = compilable_graph(verify_file(load_graph(model.flatbuffer)))
    raise_together(problems)
    program, plan = best_plan(lower_graph(graph, target), objective)
    if objective.cores > 1:
        plan = share_plan(program, plan, objective.max_ram_bytes)
    return Compilation(model, graph, program, plan, prove(program, plan))
