"""`inspect`: show a model's operators, and what the compiler made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import board_option, json_option, model_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, say
from nanou_deploy.errors import EXIT_OK

if TYPE_CHECKING:
    from codegen.compile import Compilation
    from codegen.graph.graph import Graph, Tensor
    from nanou_deploy.build.runtimes import Examination


@click.command(short_help="What a .tflite file is, which runtimes take it, operators, arena map; proofs.")
@model_option
@board_option("rv32-qemu")
@click.option("--proofs", is_flag=True, help="Prove again what the generated code relies on, and show it.")
@json_option
def inspect(model: Path | None, board: str, proofs: bool, as_json: bool) -> int:
    """Show what a .tflite file is, which runtimes take it, and all that keeps it from the others.

    Of a file that compiles: operators, shapes, quantization, multiply-accumulates and the arena map. With --proofs:
    what holds for every input, layer by layer, of the kernels that the board gets, and the stack that they take; exit
    code 1 if something does not hold.
    """
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.build.compilation import compile_for
    from nanou_deploy.build.library import model_path, open_model
    from nanou_deploy.build.runtimes import examine

    target = find_board(board)
    if proofs:
        from nanou_deploy.cli.proofs import show_proofs

        return show_proofs(compile_for(open_model(model), target), target, as_json)
    examined = examine(model_path(model), target)
    if as_json:
        emit_json("inspect/1", _examined(examined) | (_document(examined.compiled) if examined.compiled else {}))
        return EXIT_OK
    _print_examined(examined)
    if examined.compiled:
        _print(examined.compiled)
    else:
        _print_operators(examined)
    return EXIT_OK


# ---- Any file ----------------------------------------------------------------------------------------------------


def _examined(examined: Examination) -> dict[str, Any]:
    from codegen.tflite.sidecar import contract_document

    graph = examined.graph
    return {
        "sha256": examined.sha256,
        "size_bytes": examined.size_bytes,
        "kind": examined.kind,
        "contract": contract_document(examined.model.contract) if examined.model else None,
        "sidecar_problem": examined.sidecar,
        "runtimes": {
            "aot": {"takes": not examined.aot, "problems": examined.aot},
            "tflm": {"takes": not examined.tflm, "problems": examined.tflm, "arena_bytes": examined.arena_bytes},
        },
        "file_inputs": [_file_tensor(graph.tensor(index)) for index in graph.inputs],
        "file_outputs": [_file_tensor(graph.tensor(index)) for index in graph.outputs],
        "file_operators": [
            {
                "index": operator.index,
                "op": operator.stem.upper(),
                "inputs": [_file_tensor(graph.tensor(i)) if i >= 0 else None for i in operator.inputs],
                "outputs": [_file_tensor(graph.tensor(i)) for i in operator.outputs],
                **dict(zip(("aot", "tflm"), examined.operator_status(operator), strict=True)),
            }
            for operator in graph.operators
        ],
    }


def _file_tensor(tensor: Tensor) -> dict[str, Any]:
    several = len(tensor.scales) > 1
    return {
        "index": tensor.index,
        "name": tensor.name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "scale": None if several or not tensor.scales else tensor.scale,
        "zero_point": None if several or not tensor.zero_points else tensor.zero_point,
        "scales": len(tensor.scales),
    }


def _print_examined(examined: Examination) -> None:
    name = examined.model.name if examined.model else "model"
    say(f"{name}  sha256 {examined.sha256[:16]}  {examined.size_bytes:,} bytes, {examined.kind.description}")
    if examined.sidecar:
        say(f"its sidecar is not used: {examined.sidecar.what}", fg="yellow")
    arena = f"arena {examined.arena_bytes:,} bytes here" if examined.arena_bytes else ""
    for runtime, problems, detail in (("aot", examined.aot, ""), ("tflm", examined.tflm, arena)):
        if not problems:
            say(f"{runtime:<5} takes it{': ' if detail else ''}{detail}")
            continue
        say(f"{runtime:<5} does not take it:", fg="yellow")
        for problem in problems:
            say(f"  - {problem.what}")
            if problem.unblock:
                say(f"    try: {problem.unblock}")


def _print_operators(examined: Examination) -> None:
    graph = examined.graph

    def shape(indices: tuple[int, ...]) -> str:
        tensors = [graph.tensor(index) for index in indices if index >= 0]
        activations = [tensor for tensor in tensors if tensor.data is None] or tensors
        return ", ".join(f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}" for tensor in activations)

    emit_table(
        ("#", "Operator", "Reads", "Gives", "Scale", "Zero", "aot", "tflm"),
        (
            (
                operator.index,
                operator.stem.upper(),
                shape(operator.inputs),
                shape(operator.outputs),
                *_quantization([graph.tensor(index) for index in operator.outputs[:1]]),
                *examined.operator_status(operator),
            )
            for operator in graph.operators
        ),
        right=(0, 4, 5),
    )


def _quantization(tensors: list[Tensor]) -> tuple[str, str]:
    one = bool(tensors) and len(tensors[0].scales) == 1
    return (f"{tensors[0].scale:.5g}", str(tensors[0].zero_point)) if one else ("", "")


# ---- A file that compiles ----------------------------------------------------------------------------------------


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "index": tensor.index,
        "name": tensor.name,
        "shape": tensor.shape,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _made(graph: Graph) -> dict[int, Tensor]:
    """Map what operators of the graph make, by index: the compiler may have used numbers of constants again."""
    return {output: graph.tensor(output) for operator in graph.operators for output in operator.outputs}


def _unstated(compiled: Compilation, tensor: int) -> dict[str, Any]:
    """Describe what the compiler made beside the file's tensors: parts, copies, sums."""
    unknown = dict.fromkeys(("shape", "scale", "zero_point"))
    return {"index": tensor, "name": compiled.program.names[tensor], **unknown}


def _document(compiled: Compilation) -> dict[str, Any]:
    graph, program, plan = compiled.graph, compiled.program, compiled.plan
    made = {index: _tensor(tensor) for index, tensor in _made(graph).items()}
    return {
        "name": compiled.model.name,
        "sha256": compiled.model.sha256,
        "input": _tensor(graph.input),
        "output": _tensor(graph.output),
        "preprocessing": compiled.model.preprocessing,
        "macs": plan.macs,
        "table_bytes": program.table_bytes,
        "working_bytes": plan.working_bytes,
        "io_bytes": plan.io_bytes,
        "arena_bytes": plan.arena_bytes,
        "operators": [
            {
                "index": stage.operator_index,
                "part": stage.part,
                "again": stage.is_again,
                "op": stage.stem.upper(),
                "summary": stage.summary,
                "inputs": stage.inputs,
                "output": made.get(stage.output) or _unstated(compiled, stage.output),
                "macs": stage.macs,
                "table_bytes": sum(table.size_bytes for table in stage.tables),
                "accumulator": stage.accumulator,
            }
            for stage in program.stages
        ],
        "cuts": plan.cuts,
        "schedule": plan.schedule,
        "arena": [{**as_dict(p), "depth_rows": p.depth_rows, "size_bytes": p.size_bytes} for p in plan.placements],
    }


def _print(compiled: Compilation) -> None:
    graph, program, plan = compiled.graph, compiled.program, compiled.plan
    quantization = {index: (f"{tensor.scale:.5g}", tensor.zero_point) for index, tensor in _made(graph).items()}
    for what, tensor in (("input", graph.input), ("output", graph.output)):
        shape = "x".join(map(str, tensor.shape[1:]))
        say(f"{what:<7} {shape:<10} int8  scale {tensor.scale:.6g}  zero point {tensor.zero_point}")
    emit_table(
        ("#", "Operator", "What", "Scale", "Zero", "MACs", "Tables B", "Accumulator"),
        (
            (
                stage.number,
                stage.stem.upper(),
                stage.summary,
                *quantization.get(stage.output, ("", "")),
                f"{stage.macs:,}" if stage.macs else "",
                sum(table.size_bytes for table in stage.tables) or "",
                f"{stage.accumulator.low} .. {stage.accumulator.high}" if stage.accumulator else "",
            )
            for stage in program.stages
        ),
        right=(0, 3, 4, 5, 6, 7),
    )
    emit_table(
        ("Bytes of the arena", "Size", "Rows", "of", "Steps", "Region", "Tensor"),
        (
            (
                f"{p.offset_bytes:>7} .. {p.offset_bytes + p.size_bytes:>7}",
                p.size_bytes,
                f"{p.depth_rows} x {p.row_bytes}",
                p.rows,
                f"{max(p.first_step, 0)} .. {p.last_step}",
                p.region,
                p.tensor,
            )
            for p in plan.placements
        ),
        right=(1, 2, 3),
    )
    cuts = f", completed first: tensor {', '.join(map(str, plan.cuts))}" if plan.cuts else ""
    say(f"{len(plan.schedule):,} rows in demand order{cuts}")
    say(
        f"{plan.macs:,} MACs, tables {program.table_bytes:,} B, "
        f"arena {plan.arena_bytes:,} B = {plan.working_bytes:,} working + {plan.io_bytes:,} frames"
    )
