"""Create the two networks: Nano-U (student, depthwise separable) and BU-Net (teacher, plain convolutions).

Both are encoder-decoder networks that give logits of the input's height and width. Each stage of `filters` has two
blocks and a max pooling; two blocks of `bottleneck` channels follow; each decoder stage resizes (nearest), joins the
encoder stage of the same size where `skips` is set, and has two blocks. Pooling divides each side by 2, or by 3
where the side is odd, so no padding or cropping is needed (60x80 pools by 2x2, 2x2 and 3x2, as in the Nano-U paper,
arXiv 2605.10210).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from codegen.graph.model import Preprocessing
from nanou_train.errors import ConfigError, TrainError
from nanou_train.networks.structure import Architecture, Block, Level, Structure, build_model

if TYPE_CHECKING:
    import keras

ARCHITECTURES = ("nano_u", "bu_net")
MODEL_KEYS = ("architecture", "input_shape", "filters", "bottleneck", "skips", "classes")


@dataclass(frozen=True)
class ModelConfig:
    """Settings of `create_model_from_config`; `input_shape` is (height, width, channels).

    Two `classes` share one logit per pixel, of the second; more have one each.
    """

    architecture: Architecture
    input_shape: tuple[int, int, int]
    filters: tuple[int, ...]
    bottleneck: int
    skips: bool = True
    classes: int = 2


PRESETS: Mapping[str, ModelConfig] = {
    "nano_u": ModelConfig("nano_u", (60, 80, 3), (4, 8, 16), 16, skips=False),
    "nano_u_skips": ModelConfig("nano_u", (48, 64, 3), (16, 32), 64),
    "bu_net": ModelConfig("bu_net", (60, 80, 3), (16, 32, 64), 96),
    "bu_net_small": ModelConfig("bu_net", (60, 80, 3), (8, 16, 32), 48),
}


def create_nano_u(
    input_shape: Sequence[int] = (48, 64, 3),
    filters: Sequence[int] = (16, 32),
    bottleneck: int = 64,
    name: str = "nano_u",
    *,
    skips: bool = True,
    classes: int = 2,
) -> keras.Model:
    """Create a student of depthwise-separable blocks: float32 (N, H, W, C) -> logits float32 (N, H, W, K).

    K is 1 for two classes, else their number. Raises TrainError where the sizes cannot be pooled or a width is not
    positive.
    """
    return _create("nano_u", input_shape, filters, bottleneck, name, skips, classes)


def create_bu_net(
    input_shape: Sequence[int] = (48, 64, 3),
    filters: Sequence[int] = (32, 64, 128),
    bottleneck: int = 256,
    name: str = "bu_net",
    *,
    skips: bool = True,
    classes: int = 2,
) -> keras.Model:
    """Create a teacher of 3x3 convolutions: float32 (N, H, W, C) -> logits float32 (N, H, W, K), as `create_nano_u`."""
    return _create("bu_net", input_shape, filters, bottleneck, name, skips, classes)


def create_model_from_config(config: ModelConfig | Mapping[str, Any] | str, *, name: str = "") -> keras.Model:
    """Build a model from a ModelConfig, a mapping with its fields, or the name of a preset. Raises ConfigError.

    A mapping may name a preset by `model_name` and change some of its fields.
    """
    fields: dict[str, Any]
    if isinstance(config, ModelConfig):
        fields = asdict(config)
    else:
        fields = {"model_name": config} if isinstance(config, str) else dict(config)
    if preset := fields.pop("model_name", ""):
        if preset not in PRESETS:
            raise ConfigError(f'no model preset "{preset}"', hint=near_names(preset, PRESETS))
        name, fields = name or preset, asdict(PRESETS[preset]) | fields
    architecture = fields.pop("architecture", None)
    if architecture not in ARCHITECTURES:
        raise ConfigError(f'no architecture "{architecture}"', hint=near_names(str(architecture), ARCHITECTURES))
    create: Callable[..., keras.Model] = create_nano_u if architecture == "nano_u" else create_bu_net
    for key in fields:
        if key not in MODEL_KEYS:
            raise ConfigError(f'unknown model key "{key}"', hint=near_names(key, MODEL_KEYS))
    return create(**fields, name=name or architecture)


def class_count(model: keras.Model) -> int:
    """Count the classes that a model that gives logits tells apart."""
    logits = int(model.outputs[0].shape[-1])
    return 2 if logits == 1 else logits


def count_parameters(model: keras.Model, *, deployed: bool = False) -> int:
    """Count trainable parameters; with `deployed`, the constants of the int8 model, where BatchNorm is folded.

    Deployed are the kernels (int8 each), one bias per output channel of each convolution and two sizes per resize
    (int32 each). The nano_u preset has 3,357: 3,063 + 288 + 6.
    """
    import keras

    if not deployed:
        return int(sum(weight.shape.num_elements() for weight in model.trainable_weights))
    total = 0
    for layer in model.operations:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            total += layer.kernel.shape.num_elements() + layer.output.shape[-1]
        elif type(layer).__name__ == "Resize":
            total += 2
    return int(total)


def near_names(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Write a hint that suggests the known names most like `name`, or lists all."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"


def _create(
    architecture: Architecture,
    input_shape: Sequence[int],
    filters: Sequence[int],
    bottleneck: int,
    name: str,
    skips: bool,
    classes: int,
) -> keras.Model:
    if len(input_shape) != 3 or not filters or min(*input_shape, *filters, bottleneck, classes - 1) < 1:
        raise TrainError(
            f"cannot build {name} from input {tuple(input_shape)}, filters {tuple(filters)}, bottleneck {bottleneck}, "
            f"{classes} classes",
            hint="give (height, width, channels), a positive width per stage and for the bottleneck, 2 or more classes",
        )
    check_size(input_shape[0], input_shape[1], len(filters), name)
    height, width, channels = input_shape
    levels = []
    for filters_here in filters:
        pool, blocks = (_pool_factor(height), _pool_factor(width)), (Block(filters_here),) * 2
        levels.append(Level(blocks, pool, blocks, skips))
        height, width = height // pool[0], width // pool[1]
    shape = (input_shape[0], input_shape[1], channels)
    return build_model(Structure(architecture, shape, tuple(levels), (Block(bottleneck),) * 2, classes), name)


def check_size(height_px: int, width_px: int, stages: int, name: str) -> None:
    """Raise TrainError, with near sizes that work, where a side cannot be divided by 2 or 3 once per stage."""
    wrong = [
        f"{what} {side}" for what, side in (("height", height_px), ("width", width_px)) if not _can_pool(side, stages)
    ]
    if wrong:
        sizes = " or ".join(f"{height}x{width}" for height, width in _near_sizes(height_px, width_px, stages))
        raise TrainError(
            f"{name} pools {stages} times by 2 or 3, and {' and '.join(wrong)} cannot be divided so without padding",
            hint=f"use {sizes}, or fewer stages",
        )


def _near_sizes(height_px: int, width_px: int, stages: int) -> list[tuple[int, int]]:
    """Return the next workable size below, if there is one, and the next one above."""

    def near(side: int, step: int) -> int:
        while side > 0 and not _can_pool(side, stages):
            side += step
        return side

    found = [(near(height_px, step), near(width_px, step)) for step in (-1, 1)]
    return [size for size in found if min(size) > 0]


def _can_pool(side: int, stages: int) -> bool:
    for _ in range(stages):
        factor = _pool_factor(side)
        if not factor:
            return False
        side //= factor
    return side > 0


def _pool_factor(side: int) -> int:
    """2, or 3 where 2 does not divide the side; 0 where neither does."""
    return next((factor for factor in (2, 3) if side % factor == 0), 0)


def preprocessing_of(model: keras.Model) -> Preprocessing:
    """Make the preprocessing contract of a model's input, which training, quantization and firmware share."""
    height, width, channels = model.inputs[0].shape[1:]
    return Preprocessing(height_px=height, width_px=width, channels=channels)
