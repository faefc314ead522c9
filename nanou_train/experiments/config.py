"""Define an experiment's sections as pydantic models: keys, types, bounds and defaults (docs/API.md has the table)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from nanou_train.data.augment import Strength
from nanou_train.networks.architectures import PRESETS, ModelConfig, near_names
from nanou_train.networks.distribution import Strategy

Schedule = Literal["cosine", "plateau", "constant"]
Role = Literal["student", "teacher"]
Criterion = Literal["taylor", "batch_norm", "redundancy", "random"]  # nanou_train.pruning.importance
Sampler = Literal["nsga2", "tpe", "random"]  # nanou_train.search.study
Dimension = Literal["width", "depth", "kernel", "size", "pool", "skip"]  # nanou_train.search.space


def _preset(name: str) -> str:
    if name not in PRESETS:
        raise PydanticCustomError("preset", "no model preset", {"hint": near_names(name, PRESETS)})
    return name


def _truth(value: Any) -> Any:
    """Read the words that mean true and false in YAML 1.1, as which older files were read."""
    words = {"yes": True, "on": True, "no": False, "off": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


def _strength(value: Any) -> Any:
    """Read true and false, which were the only values once, as strengths of augmentation."""
    known = _truth(value)
    return {True: "light", False: "off"}[known] if isinstance(known, bool) else value


def _name_of_a_file(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no file can have this name")
    return path


def _rising(rungs: tuple[int, ...]) -> tuple[int, ...]:
    if list(rungs) != sorted(set(rungs)):
        raise ValueError("epochs have to rise from rung to rung")
    return rungs


MOST = 1_000_000  # epochs, pictures and whatever else is counted
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Depth = Annotated[int, Field(ge=1, le=26)]  # blocks of a chain, which letters tell apart
Side = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[tuple[Side, Side], Field(strict=False)]  # height, width
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Switch = Annotated[bool, BeforeValidator(_truth)]
Place = Annotated[Path, Field(strict=False), AfterValidator(_name_of_a_file)]
Preset = Annotated[str, AfterValidator(_preset)]
Augmentation = Annotated[Strength, BeforeValidator(_strength)]


class Value(BaseModel):
    """Base of mappings that are one value: a child experiment's replaces its parent's as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Section(BaseModel):
    """Base of groups of keys, of which a child experiment, an override or a sweep changes single ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TerrainCounts(Value):
    """Counts of the terrain scenes to render where no data set folder is given."""

    train: Positive = 1200
    val: Positive = 100
    test: Positive = 200


class NetworkSettings(Value):
    """Describes a network that is no preset (nanou_train.networks.architectures), but for what the data decide."""

    architecture: Literal["nano_u", "bu_net"]
    filters: Annotated[tuple[Channels, ...], Field(strict=False, min_length=1, max_length=12)]
    bottleneck: Channels
    skips: Switch = True
    stem: Annotated[int, Field(ge=0, le=1024)] = 0
    encoder_blocks: Depth = 2
    bottleneck_blocks: Depth = 2
    decoder_blocks: Depth = 2


class Constraints(Value):
    """Limits that a finished run is held to, measured on its int8 model.

    `max_parameters`: int8 weights and int32 biases, as count_parameters(deployed=True); `max_bytes`: the .tflite file;
    `min_miou`: on the test part, 0..1.
    """

    max_parameters: Positive | None = None
    max_bytes: Positive | None = None
    min_miou: Annotated[float, Field(gt=0, le=1)] | None = None


class Plateau(Section):
    """Multiplies the rate by `factor` after `patience` epochs without a better validation mIoU (`plateau`)."""

    patience: Positive = 5
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5


class TverskyLoss(Section):
    """Gives the Tversky loss a `share` in the loss on masks; the rest is cross entropy.

    `alpha` weights false positives in it, `beta` false negatives (nanou_train.training.distillation.tversky_loss).
    """

    share: Share = 0.0
    alpha: Share = 0.3
    beta: Share = 0.7


class Quantization(Section):
    """Makes the student round, with `aware`, as its int8 model will (nanou_train.networks.fake_quant).

    It does so after `start` epochs; the last `freeze_epochs` leave activation ranges and batch statistics alone. With
    `requantization: power_of_two` the scales of hidden layers are such that the device shifts where it would multiply.
    """

    aware: Switch = False
    requantization: Literal["any", "power_of_two"] = "any"
    activation_ranges: Literal["ema", "learned"] = "ema"
    start: Count = 0
    freeze_epochs: Count = 0

    @field_validator("requantization")
    @classmethod
    def _is_trained_for(cls, value: str, info: ValidationInfo) -> str:
        if value != "any" and info.data.get("aware") is False:
            hint = "a network has such scales only if it is trained for them: set quantization.aware as well"
            raise PydanticCustomError("requantization", "without quantization.aware", {"hint": hint})
        return value


class Student(Section):
    """Network and training recipe of the student, which is deployed.

    `preset` is one of nanou_train.networks.architectures; `network` describes another. `start_from` is the folder of a
    completed run whose student to go on with, or a saved one (.keras), as for another place or season; `freeze:
    encoder` then leaves everything before the decoder as it is, ranges and statistics too.

    The learning rate follows `schedule`: from a short warm-up along a cosine to 0, reduced on a `plateau`, or constant.
    `weight_average` is the decay per step of the average of weights that is validated and kept; 0 keeps the weights
    themselves. `keep` says which epoch's weights a run ends with. With `early_stopping`, `patience` epochs without a
    better validation mIoU are the last. From a probability of `threshold` on, a pixel is drivable.
    """

    preset: Preset = "nano_u"
    network: NetworkSettings | None = None
    start_from: Place | None = None
    freeze: Literal["nothing", "encoder"] = "nothing"
    epochs: Positive = 40
    batch_size: Positive = 16
    learning_rate: Rate = 0.01
    weight_decay: Share = 1e-4
    schedule: Schedule = "cosine"
    plateau: Plateau = Plateau()
    tversky: TverskyLoss = TverskyLoss()
    weight_average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    keep: Literal["best", "last"] = "best"
    early_stopping: Switch = False
    patience: Positive = 10
    quantization: Quantization = Quantization()
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Teacher(Section):
    """Network and training recipe of the teacher, which is trained first or read from `weights`.

    `soft_masks` is a folder of what any program says of the training pictures (nanou_train.data.soft_masks), in place
    of a teacher. With several `members` it is the average of as many networks, each trained from a seed of its own
    (nanou_train.training.ensemble). Its recipe is the student's but for these keys; without `augment`, its pictures are
    changed as the student's.
    """

    preset: Preset = "bu_net"
    network: NetworkSettings | None = None
    weights: Place | None = None
    soft_masks: Place | None = None
    members: Annotated[int, Field(ge=1, le=64)] = 1
    epochs: Positive = 12
    learning_rate: Rate = 0.003
    augment: Augmentation | None = None

    @field_validator("soft_masks")
    @classmethod
    def _one_teacher(cls, soft_masks: Path | None, info: ValidationInfo) -> Path | None:
        if soft_masks is not None and info.data.get("weights") is not None:
            raise PydanticCustomError(
                "soft_masks", "beside teacher.weights", {"hint": "a student has one teacher; leave one of the two out"}
            )
        return soft_masks


class Distillation(Section):
    """Weighs what the student learns from the teacher, and says how the teacher is asked.

    `alpha` weights the distillation term in the loss, `temperature` softens both outputs. With `cache`, the teacher
    sees each training image once, as it is and mirrored, and its logits move along with augmentation; with `views`
    above 1 it sees so many augmented views of each, a share `blend` of them two pictures in one, and epochs draw from
    these (nanou_train.training.teacher_views). Without `cache` it sees each augmented batch.
    """

    enabled: Switch = True
    alpha: Share = 0.3
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    cache: Switch = False
    views: Annotated[int, Field(ge=1, le=1000)] = 1
    blend: Share = 0.0


class Data(Section):
    """Size, source and augmentation of the pictures.

    `input_size` (height, width) and `input_channels` (3: colour, 1: grey) are by default those of the student's preset.
    How many classes a network tells apart follows from the data. A share `appearance` of the pictures gets other
    colours (nanou_train.data.appearance): views, which a teacher then answers so; otherwise each batch's, after a
    cached teacher has answered them as they were. `unlabelled` is a folder of pictures without masks, of which the
    student learns what the teacher says (nanou_train.training.unlabelled). With `train_on_validation`, the validation
    part's pictures are trained on as well, and nothing is chosen by validation: for the last run of a recipe.
    """

    terrain: TerrainCounts = TerrainCounts()
    input_size: Size | None = None
    input_channels: Literal[1, 3] | None = None
    augment: Augmentation = "light"
    appearance: Share = 0.0
    unlabelled: Place | None = None
    train_on_validation: Switch = False


class Logs(Section):
    """Logs of a run that is under way, in `folder` (by default RUN/logs).

    `folder` alone gets epochs.csv, `batches` adds batches.csv, `tensorboard` event files.
    """

    folder: Place | None = None
    batches: Switch = False
    tensorboard: Switch = False


class Redundancy(Section):
    """Logs into RUN/nas_logs, with `enabled`, how much the channels of `layers` repeat each other.

    No layers: all convolutions. Measured every `frequency` batches (0: never) and after every epoch.
    """

    enabled: Switch = False
    layers: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    frequency: Count = 10


class Run(Section):
    """Seed, devices, places, logs and limits of a run.

    Everything random follows from `seed`. `strategy` trains on one device ("none"), all GPUs of this computer
    ("mirrored") or the hosts of TF_CONFIG ("multi_worker"). With `restarts` above 1 the student is trained from so many
    seeds, of which the best is kept (nanou_train.training.restarts). `output_dir` holds the run folders.
    `checkpoint_path` is a folder for the best student so far and for what an interrupted run goes on from, by default
    the run folder. `debug_mode` runs every step eagerly and names the first layer that is not finite. `constraints` are
    checked when a run has finished.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    strategy: Strategy = "none"
    restarts: Annotated[int, Field(ge=1, le=100)] = 1
    debug_mode: Switch = False
    output_dir: Place = Path("runs")
    checkpoint_path: Place | None = None
    logs: Logs = Logs()
    nas: Redundancy = Redundancy()
    constraints: Constraints | None = None

    @field_validator("restarts")
    @classmethod
    def _one_computer(cls, restarts: int, info: ValidationInfo) -> int:
        if restarts > 1 and info.data.get("strategy", "none") != "none":
            raise PydanticCustomError(
                "restarts",
                "with strategy {strategy}",
                {
                    "strategy": info.data["strategy"],
                    "hint": "restarts are processes of one computer; leave one of the two out",
                },
            )
        return restarts


class Prune(Section):
    """Recipe by which `prune` narrows a run of this experiment, where its options do not say otherwise.

    `to` is the share of the run's cost that is left, `criterion` how channels are scored. `layers` says which layers
    give channels: "greedy" where the least importance is lost for what is saved, "uniform" all alike. With `absorb`,
    channels that stay take over what depends on them linearly (nanou_train.pruning.evidence). `epochs` are those of
    each of the `rounds` but the last, by default a tenth of the run's; `final_epochs` those of the last, by default
    half of the run's.
    """

    to: Annotated[float, Field(gt=0, lt=1)] = 0.5
    criterion: Criterion = "taylor"
    layers: Literal["greedy", "uniform"] = "greedy"
    absorb: Switch = True
    rounds: Annotated[int, Field(ge=1, le=100)] = 3
    epochs: Positive | None = None
    final_epochs: Positive | None = None


class Search(Section):
    """Recipe by which `search` varies a run of this experiment, where its options do not say otherwise.

    `vary` names what differs among candidates, `sizes` (height, width) the picture sizes that are tried beside the
    run's, `narrowest` the least width as a share of the run's. `sampler` proposes `trials` candidates; each is trained
    in `rungs` of epochs, and one in `eta` goes on from each. `finish` candidates of the front are then trained to the
    end, for `finish_epochs`, by default half of the run's.
    """

    trials: Positive = 60
    sampler: Sampler = "nsga2"
    vary: Annotated[tuple[Dimension, ...], Field(strict=False, min_length=1)] = get_args(Dimension)
    sizes: Annotated[tuple[Size, ...], Field(strict=False)] = ()
    narrowest: Rate = 0.25
    rungs: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1), AfterValidator(_rising)] = (2, 6, 18)
    eta: Annotated[int, Field(ge=2, le=100)] = 2
    finish: Count = 6
    finish_epochs: Positive | None = None


# Where a run writes is no part of what it is, a manifest has a seed of its own, and watching changes nothing.
_PLACES: Mapping[str, Any] = {
    "run": {"seed": True, "output_dir": True, "checkpoint_path": True, "logs": {"folder": True}}
}
_WATCHING: Mapping[str, Any] = {
    "run": {"output_dir": True, "checkpoint_path": True, "logs": True, "nas": True, "constraints": True},
    "prune": True,
    "search": True,
    "sweep": True,
}


class ExperimentConfig(Section):
    """One checked experiment; nanou_train.experiments.keys reads it from nested or flat keys.

    `sweep` makes it a series of runs: a mapping of keys (as `student.epochs`) to values is one for each combination, a
    list one for each of its items.
    """

    student: Student = Student()
    teacher: Teacher = Teacher()
    distillation: Distillation = Distillation()
    data: Data = Data()
    run: Run = Run()
    prune: Prune = Prune()
    search: Search = Search()
    sweep: dict[str, tuple[Any, ...]] | tuple[dict[str, Any], ...] | None = None

    def recorded(self) -> dict[str, Any]:
        """Dump what a manifest keeps; JSON types only."""
        return self.model_dump(mode="json", exclude=dict(_PLACES))

    def deciding(self) -> dict[str, Any]:
        """Dump what decides the weights; JSON types only."""
        return self.model_dump(mode="json", exclude=dict(_WATCHING))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of student and teacher."""
        height, width, channels = PRESETS[self.student.preset].input_shape
        height, width = self.data.input_size or (height, width)
        return height, width, self.data.input_channels or channels

    @property
    def trains_teacher(self) -> bool:
        """Whether a teacher is to be trained, as opposed to none or a given one."""
        given = self.teacher.weights is not None or self.teacher.soft_masks is not None
        return self.distillation.enabled and not given

    @property
    def created(self) -> tuple[Role, ...]:
        """The networks that a run makes, as opposed to those that it is given."""
        made: dict[Role, bool] = {"student": self.student.start_from is None, "teacher": self.trains_teacher}
        return tuple(role for role, new in made.items() if new)

    def network(self, role: Role, classes: int) -> ModelConfig:
        """Describe student or teacher to `create_model_from_config`."""
        stated = self.student if role == "student" else self.teacher
        own = stated.network
        base = PRESETS[stated.preset] if own is None else ModelConfig(input_shape=self.input_shape, **dict(own))
        return replace(base, input_shape=self.input_shape, classes=classes)
