"""Check that a SavedModel only computes: its graph is a program, which TensorFlow runs when it loads and calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codegen.untrusted import read_bounded, shown
from nanou_train.errors import TrainError

GRAPH_BYTES = 64 << 20  # weights are in files of their own

# Operations with a state that is the model's own: its variables, and calls of its own functions.
_OWN_STATE = {
    "AssignVariableOp", "DisableCopyOnRead", "If", "Placeholder", "ReadVariableOp", "StatefulPartitionedCall",
    "VarHandleOp", "VarIsInitializedOp", "While",
}  # fmt: skip
# Stateless to TensorFlow, and yet not confined to the model.
_OUTSIDE = re.compile(r"File|Dataset|PyFunc|Print|Debug|Summary|Checkpoint|Save|Restore|Record|Remote|Http", re.I)


def check_saved_model(folder: Path) -> None:
    """Raise TrainError for a SavedModel with an operation that reads or writes files, prints, or runs Python.

    Those that save and restore its weights are left out: TensorFlow's loader calls neither, and nothing else may.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString(read_bounded(folder / "saved_model.pb", GRAPH_BYTES))
    except Exception as error:  # protobuf's DecodeError is a class of whichever implementation is installed
        raise TrainError(
            f"{folder}/saved_model.pb cannot be read: {shown(str(error))}", hint="export the model again"
        ) from error
    if len(document.meta_graphs) != 1 or not document.meta_graphs[0].object_graph_def.nodes:
        raise TrainError(f"{folder} is no SavedModel of TensorFlow 2", hint="export it with TensorFlow 2 or Keras 3")
    for place, operation in _refused(document.meta_graphs[0]):
        raise TrainError(
            f"{folder}: {shown(place)} has the operation {shown(operation)}, which does more than compute",
            hint="a model may only compute: export it without, or save it as .keras",
        )


def _refused(graph: Any) -> Iterator[tuple[str, str]]:
    saver = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
    savers = {name for node in graph.graph_def.node if node.name in saver for name in _called(node)}
    objects = graph.object_graph_def
    named = {name for node in objects.nodes for name in node.function.concrete_functions}
    own = [node for node in graph.graph_def.node if node.name not in saver]
    functions = [one for one in graph.graph_def.library.function if one.signature.name not in savers]
    parts: list[tuple[str, Iterable[Any]]] = [("the graph", own), *((f.signature.name, f.node_def) for f in functions)]
    for place, nodes in parts:
        for node in nodes:
            if not _computes(node.op):
                yield place, node.op
            named.update(_called(node))
    for name in savers & named:
        yield name, "SaveV2"


def _called(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _computes(operation: str) -> bool:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(operation)
    if definition is None or _OUTSIDE.search(operation):
        return False
    return not definition.is_stateful or operation in _OWN_STATE
