"""Experiments: from a configuration and data to a run folder with the trained student, and teacher if any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from codegen.model import Preprocessing
from codegen.quantize import import_tensorflow
from nanou_train import run
from nanou_train.config import DEFAULT_CONFIG, ExperimentConfig, load_experiment
from nanou_train.data import Dataset, DatasetSpec, load_dataset, read_card, terrain_dataset
from nanou_train.distill import train_step
from nanou_train.distribution import find_strategy, is_chief
from nanou_train.errors import ConfigError, TrainError
from nanou_train.evaluate import Metrics, constant_mask, evaluate_model
from nanou_train.fit import FitResult, Progress, train_single_model, train_with_distillation
from nanou_train.loop import preprocessing_of
from nanou_train.models import check_size, class_count, create_model_from_config

if TYPE_CHECKING:
    import keras

__all__ = ["TrainResult", "train_model", "train_single_model", "train_step", "train_with_distillation"]


class TrainResult(TypedDict):
    """What `train_model` returns. `status` is "completed" or "failed"; `error` is empty unless it failed.

    `final_metrics` are test metrics of `student`, `teacher` (with distillation) and `constant_mask`.
    """

    status: str
    model_path: Path | None
    final_metrics: dict[str, Metrics]
    experiment_dir: Path
    error: str


def train_model(
    config_path: str | Path = DEFAULT_CONFIG,
    experiment_name: str = "default",
    *,
    data_root: str | Path | None = None,
    dataset: Dataset | None = None,
    output_dir: str | Path = "runs",
    run_name: str = "",
    seed: int = 0,
    progress: Progress | None = None,
    **overrides: Any,
) -> TrainResult:
    """Run one experiment into OUTPUT_DIR/RUN_NAME (default: the experiment's name); see nanou_train.run for the files.

    Data are the folder `data_root`, or else the embedded terrain; `dataset` gives them already loaded.
    `overrides` replace keys of the experiment. A folder with an interrupted run of just this configuration, data, seed
    and versions is continued, to the same weights as without the interruption. An intended error (configuration,
    data, folder) does not raise: it comes back as status "failed" with `error`, and in the manifest if the run had
    begun. Raises CodegenError where TensorFlow is not installed; anything else is a bug and propagates.
    """
    folder = Path(output_dir) / (run_name or experiment_name)
    try:
        config = load_experiment(Path(config_path), experiment_name, overrides)
        return _train_experiment(
            config, experiment_name, Path(data_root) if data_root else None, dataset, folder, seed, progress or _silent
        )
    except TrainError as error:
        message = f"{error}; {error.hint}" if error.hint else str(error)
        return TrainResult(status="failed", model_path=None, final_metrics={}, experiment_dir=folder, error=message)


def _train_experiment(
    config: ExperimentConfig,
    name: str,
    data_root: Path | None,
    dataset: Dataset | None,
    folder: Path,
    seed: int,
    progress: Progress,
) -> TrainResult:
    import_tensorflow()
    import keras
    import tensorflow as tf

    grow_gpu_memory()
    chief = is_chief(find_strategy(config.strategy))  # before TensorFlow's first operation
    height, width, channels = config.input_shape
    for role in config.created:  # before anything is read, rendered or written
        check_size(height, width, len(config.network(role, 2).filters), f"the {role}")
    prepared_filter = read_card(data_root).resize_filter if data_root else ""
    contract = Preprocessing(height, width, channels, resize_filter=prepared_filter or "box")
    if dataset is None:
        progress("loading the data set" if data_root else "rendering terrain", 0.0)
        dataset = (
            load_dataset(DatasetSpec.of(data_root, contract))
            if data_root
            else terrain_dataset(
                config.terrain.model_dump(), seed=seed, height_px=height, width_px=width, channels=channels
            )
        )
    facts = run.describe_run(config, dataset, contract, seed) | {"experiment": name}
    if chief:
        run.start_run(folder, facts)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        models, histories = _train_models(config, dataset, folder, seed, progress)
    except (TrainError, KeyboardInterrupt) as error:
        status = "failed" if isinstance(error, TrainError) else "interrupted"
        if chief:
            run.write_manifest(folder, {**facts, "status": status, "error": str(error)})
        raise
    metrics = _measure(config, dataset, models)
    if chief:
        _finish(folder, facts, models, histories, metrics)
    return TrainResult(
        status="completed", model_path=folder / "student.keras", final_metrics=metrics, experiment_dir=folder, error=""
    )


def _measure(config: ExperimentConfig, dataset: Dataset, models: Mapping[str, keras.Model]) -> dict[str, Metrics]:
    """Metrics on the test part, of each model and of the constant mask."""
    test, classes = dataset.test, dataset.classes
    metrics = {"constant_mask": constant_mask(dataset.train.masks, test.masks, classes)}
    for role, model in models.items():
        metrics[role] = evaluate_model(
            model, test.images, test.masks, preprocessing_of(model), threshold=config.threshold, classes=classes
        )
    return metrics


def _finish(
    folder: Path,
    facts: Mapping[str, Any],
    models: Mapping[str, keras.Model],
    histories: Mapping[str, FitResult],
    metrics: Mapping[str, Metrics],
) -> None:
    """Write everything; the manifest last, because it declares the run complete."""
    for role, model in models.items():
        run.save_model_file(model, folder / f"{role}.keras")
    rows = [{"model": role, **row} for role, result in histories.items() for row in result.history]
    run.write_csv(folder / "metrics.csv", rows)
    best = {role: result.best_epoch for role, result in histories.items()}
    run.write_json(folder / "metrics.json", {"test": metrics, "best_epoch": best, "history": rows})
    weights = {role: run.weights_sha256(model) for role, model in models.items()}
    run.write_manifest(folder, {**facts, "status": "completed", "weights": weights, "metrics": metrics})
    for role in models:
        (folder / f"{role}.npz").unlink(missing_ok=True)


def _train_models(
    config: ExperimentConfig, dataset: Dataset, folder: Path, seed: int, progress: Progress
) -> tuple[dict[str, keras.Model], dict[str, FitResult]]:
    """Teacher (if any) and student, trained; progress runs from 0 to 1 over both."""
    models: dict[str, keras.Model] = {}
    histories: dict[str, FitResult] = {}
    classes = len(dataset.classes)
    student = _initial_student(config, classes)
    teacher, share = None, 0.0
    if config.use_distillation and config.teacher_weights is not None:
        teacher = models["teacher"] = run.load_model_file(config.teacher_weights)
    elif config.use_distillation:
        share = config.teacher_epochs / (config.teacher_epochs + config.epochs)
        teacher = models["teacher"] = create_model_from_config(
            config.network("teacher", classes), name=config.teacher_name
        )
        teacher_config = config.model_copy(
            update={
                "epochs": config.teacher_epochs,
                "learning_rate": config.teacher_learning_rate,
                "quantization_start": 0,
                "freeze_epochs": 0,
            }
        )
        histories["teacher"] = train_single_model(
            teacher,
            teacher_config,
            dataset.train,
            dataset.val,
            seed=seed + 1,
            checkpoint=folder / "teacher.keras",
            state_path=folder / "teacher.npz",
            progress=lambda message, done: progress(message, share * done),
        )
    histories["student"] = train_with_distillation(
        student,
        teacher,
        config,
        dataset.train,
        dataset.val,
        seed=seed,
        checkpoint=folder / "student.keras",
        state_path=folder / "student.npz",
        progress=lambda message, done: progress(message, share + (1 - share) * done),
    )
    models["student"] = student
    return models, histories


def _initial_student(config: ExperimentConfig, classes: int) -> keras.Model:
    """A new student, or the one of an earlier run, rounding and frozen as the configuration says."""
    from nanou_train.fake_quant import is_quantization_aware, quantization_aware

    wanted = config.input_shape
    student = (
        create_model_from_config(config.network("student", classes), name=config.model_name)
        if config.start_from is None
        else run.load_student(config.start_from)
    )
    found = tuple(student.inputs[0].shape[1:])
    if found != wanted:
        raise ConfigError(
            f"the student of {config.start_from} takes {found}, {config.model_name} takes {wanted}",
            hint="name the model_name and input_size of that run",
        )
    if config.quantization_aware and not is_quantization_aware(student):
        student = quantization_aware(student, ranges=config.activation_ranges)
    if class_count(student) != classes:
        raise ConfigError(
            f"the student of {config.start_from} tells {class_count(student)} classes apart, the data have {classes}",
            hint="train a new one, or use a data set of the same classes",
        )
    if config.freeze == "encoder":
        for layer in student.layers:
            layer.trainable = not layer.name.startswith(("encoder", "bottleneck"))
    return student


def grow_gpu_memory() -> None:
    """Let TensorFlow take GPU memory as it needs it instead of all at once; without a GPU, nothing."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the GPU is in use already, and its setting can no longer change
            return


def _silent(message: str, done: float) -> None:
    """Progress that nobody asked for."""
