"""Distribute one training over devices or hosts (tf.distribute), with the result of one device up to rounding.

Every step's batch is cut into equal parts, one for each replica. Batch statistics and the extremes that activation
ranges follow are those of the whole batch, and gradients are averaged, so the number of replicas changes no more than
the order in which floats are added. On several hosts each prepares every batch and uses its part; only the chief
(the first of TF_CONFIG) writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from codegen.start_tensorflow import import_tensorflow
from nanou_train.errors import ConfigError, TrainError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Tensor = Any
Strategy = Literal["none", "mirrored", "multi_worker"]


@cache
def find_strategy(name: Strategy) -> tf.distribute.Strategy | None:
    """Return the strategy, made once per process; None for "none".

    "mirrored": all GPUs of this computer, or all logical CPUs where it has none. "multi_worker": the hosts of the
    environment's TF_CONFIG; TensorFlow takes that only before its first operation. Raises TrainError.
    """
    tf = import_tensorflow()
    if name == "none":
        return None
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        # One implementation of all-reduce that works for both kinds and adds in one order.
        return tf.distribute.MirroredStrategy(
            [device.name for device in devices], cross_device_ops=tf.distribute.ReductionToOneDevice()
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError) as error:
        raise TrainError(
            f"cannot join the workers: {str(error)[:200]}",
            hint="set TF_CONFIG alike on every host, and start training before anything else uses TensorFlow",
        ) from error


def replica_count(strategy: tf.distribute.Strategy | None) -> int:
    return 1 if strategy is None else int(strategy.num_replicas_in_sync)


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Say whether this process is the one that writes."""
    resolver = None if strategy is None else strategy.cluster_resolver
    return resolver is None or not resolver.task_type or resolver.task_type == "chief" or _is_first_worker(resolver)


def _is_first_worker(resolver: Any) -> bool:
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return resolver.task_type == "worker" and resolver.task_id == 0 and not has_chief


def replicated(model: keras.Model, strategy: tf.distribute.Strategy | None) -> keras.Model:
    """Copy a model, weights too, so that every replica has its variables; without a strategy return it as it is."""
    if strategy is None:
        return model
    tf = import_tensorflow()
    import keras

    def creator(create: Callable[..., Any], **options: Any) -> Any:
        # Statistics are computed alike on all replicas; without a rule, assigning to them there is an error.
        return create(**{**options, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA})

    with strategy.scope(), tf.variable_creator_scope(creator):
        copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer, original in zip(copy.layers, model.layers, strict=True):
        layer.trainable = original.trainable
    return copy


def shares(part: Any, strategy: tf.distribute.Strategy) -> Any:
    """Cut a batch into one equal part for each replica; None stays None."""
    import tensorflow as tf

    if part is None:
        return None
    size = len(part) // replica_count(strategy)

    def share(context: Any) -> Any:
        start = context.replica_id_in_sync_group * size
        return tf.constant(part[start : start + size])

    return strategy.experimental_distribute_values_from_function(share)


def check_batch(batch_size: int, strategy: tf.distribute.Strategy | None) -> None:
    """Raise ConfigError where a batch cannot be cut into equal parts."""
    count = replica_count(strategy)
    if batch_size % count:
        raise ConfigError(
            f"batch_size {batch_size} cannot be divided among {count} replicas", hint=f"use a multiple of {count}"
        )


def check_agreement(strategy: tf.distribute.Strategy | None, epoch: int) -> None:
    """Raise TrainError where replicas would go on from different epochs, as hosts without a common run folder do."""
    if strategy is None:
        return
    import tensorflow as tf

    def gather() -> Any:
        return tf.distribute.get_replica_context().all_gather(tf.constant([epoch]), axis=0)

    found = strategy.experimental_local_results(strategy.run(tf.function(gather)))[0].numpy()
    if len(set(found.tolist())) > 1:
        raise TrainError(
            f"workers would go on from epochs {sorted(set(found.tolist()))}",
            hint="give all the same run folder, on a file system that they share",
        )


# ---- Within a replica ------------------------------------------------------------------------------------------


def total(value: Tensor) -> Tensor:
    """Sum over replicas; without a strategy return the value itself."""
    context = _context()
    return value if context is None else context.all_reduce("SUM", value)


def largest(value: Tensor) -> Tensor:
    """Take the largest of the replicas' scalars; without a strategy return the value itself."""
    import tensorflow as tf

    context = _context()
    return value if context is None else tf.reduce_max(context.all_gather(tf.reshape(value, [1]), axis=0))


def replicas_here() -> int:
    context = _context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def _context() -> Any:
    """Return the replica context, if it is of more than one replica."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def mean_losses(strategy: tf.distribute.Strategy, losses: Mapping[str, Any]) -> dict[str, Any]:
    """Average each loss over the replicas."""
    return {name: strategy.reduce("MEAN", value, axis=None) for name, value in losses.items()}
