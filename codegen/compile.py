"""The compiler from end to end: QuantizedModel -> Graph -> Program -> Plan."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.lower.lower import lower_graph
from codegen.plan.choose_plan import best_plan
from codegen.plan.plan import Plan
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from codegen.program.program import Program
from codegen.program.target import REGISTERS_32, Target
from codegen.tflite.load import load_graph
from codegen.tflite.verify import verify_graph


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
