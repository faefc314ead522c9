"""`inspect`: show a model's operators, and what the compiler made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.options import board_option, json_option, model_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table
from nanou_deploy.errors import EXIT_OK

if TYPE_CHECKING:
    from codegen.compile import Compilation
    from codegen.graph.graph import Tensor


@click.command(short_help="Operators, shapes, quantization, MACs, arena map; proofs.")
@model_option
@board_option("rv32-qemu")
@click.option("--proofs", is_flag=True, help="Prove again what the generated code relies on, and show it.")
@json_option
def inspect(model: Path | None, board: str, proofs: bool, as_json: bool) -> int:
    """Show operators, shapes, quantization, multiply-accumulates and the arena map of a model.

    With --proofs: what holds for every input, layer by layer, of the kernels that the board gets, and the stack that
    they take; exit code 1 if something does not hold.
    """
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.build.compilation import compile_for
    from nanou_deploy.build.library import open_model

    target = find_board(board)
    compiled = compile_for(open_model(model), target)
    if proofs:
        from nanou_deploy.cli.proofs import show_proofs

        return show_proofs(compiled, target, as_json)
    if as_json:
        emit_json("inspect/1", _document(compiled))
    else:
        _print(compiled)
    return EXIT_OK


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "index": tensor.index,
        "name": tensor.name,
        "shape": tensor.shape,
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _document(compiled: Compilation) -> dict[str, Any]:
    graph, program, plan = compiled.graph, compiled.program, compiled.plan
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
                "output": _tensor(graph.tensor(stage.output)),
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
    click.echo(f"{compiled.model.name}  sha256 {compiled.model.sha256[:16]}")
    for what, tensor in (("input", graph.input), ("output", graph.output)):
        shape = "x".join(map(str, tensor.shape[1:]))
        click.echo(f"{what:<7} {shape:<10} int8  scale {tensor.scale:.6g}  zero point {tensor.zero_point}")
    emit_table(
        ("#", "Operator", "What", "Scale", "Zero", "MACs", "Tables B", "Accumulator"),
        (
            (
                stage.number,
                stage.stem.upper(),
                stage.summary,
                f"{graph.tensor(stage.output).scale:.5g}",
                graph.tensor(stage.output).zero_point,
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
    click.echo(f"{len(plan.schedule):,} rows in demand order{cuts}")
    click.echo(
        f"{plan.macs:,} MACs, tables {program.table_bytes:,} B, "
        f"arena {plan.arena_bytes:,} B = {plan.working_bytes:,} working + {plan.io_bytes:,} frames"
    )
