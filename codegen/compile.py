"""The compiler from end to end: QuantizedModel -> Graph -> Program -> Plan."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.ir import Graph
from codegen.load import load_graph
from codegen.lower import lower_graph
from codegen.model import QuantizedModel
from codegen.objective import DEFAULT_OBJECTIVE, Objective
from codegen.plan import Plan
from codegen.program import Program
from codegen.search import best_plan
from codegen.target import REGISTERS_32, Target
from codegen.verify import verify_graph


@dataclass(frozen=True, eq=False)
class Compiled:
    """A model and everything the compiler knows of it."""

    model: QuantizedModel
    graph: Graph
    program: Program
    plan: Plan


def compile_model(
    model: QuantizedModel, target: Target = REGISTERS_32, objective: Objective = DEFAULT_OBJECTIVE
) -> Compiled:
    """Load, verify, lower and plan. Raises CodegenError, which names the operator or tensor."""
    graph = verify_graph(load_graph(model.flatbuffer))
    program, plan = best_plan(lower_graph(graph, target), objective)
    return Compiled(model, graph, program, plan)
