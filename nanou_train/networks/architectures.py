"""Create the networks: Nano-U (student, depthwise separable), BU-Net (teacher, plain convolutions), and a third.

The first two are encoder-decoder networks that give logits of the input's height and width. Each stage of `filters` has
two blocks and a max pooling; two blocks of `bottleneck` channels follow; each decoder stage resizes (nearest), joins
the encoder stage of the same size where `skips` is set, and has two blocks. Pooling divides each side by 2, or by 3
where the side is odd, so no padding or cropping is needed (60x80 pools by 2x2, 2x2 and 3x2, as in the Nano-U paper,
arXiv 2605.10210). A `stem` of some channels halves the picture first (nanou_train.networks.structure): half of Nano-U's
work is at full size, with four channels each. The third, a teacher that begins with weights of ImageNet, is
nanou_train.networks.efficientnet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from codegen.graph.model import Preprocessing
from nanou_train.errors import ConfigError, TrainError
from nanou_train.networks.efficientnet import ARCHITECTURE as EFFICIENTNET
from nanou_train.networks.efficientnet import create_efficientnet_u_net
from nanou_train.networks.structure import STEM_STRIDE, Architecture, Block, Level, Structure, build_model

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ModelConfig:
    """Settings of `create_model_from_config`; `input_shape` is (height, width, channels).

    Two `classes` share one logit per pixel, of the second; more have one each. `stem` are the channels of the
    convolution that halves the picture before the first stage, 0 for none. `encoder_blocks` and `decoder_blocks` are
    those of each stage.
    """

    architecture: Architecture | Literal["efficientnet"]
    input_shape: tuple[int, int, int]
    filters: tuple[int, ...]
    bottleneck: int
    skips: bool = True
    classes: int = 2
    stem: int = 0
    encoder_blocks: int = 2
    bottleneck_blocks: int = 2
    decoder_blocks: int = 2

    @property
    def stride(self) -> int:
        """By how much the first stage's sides are less than the picture's."""
        return STEM_STRIDE if self.stem else 1


MODEL_KEYS = tuple(field.name for field in fields(ModelConfig))
PRESETS: Mapping[str, ModelConfig] = {
    "nano_u": ModelConfig("nano_u", (60, 80, 3), (4, 8, 16), 16, skips=False),
    "nano_u_half": ModelConfig(
        "nano_u", (60, 80, 3), (8, 24), 40, stem=8, bottleneck_blocks=3, decoder_blocks=1
    ),  # counts about as many instructions as nano_u
    "nano_u_wide": ModelConfig(
        "nano_u", (60, 80, 3), (16, 32), 80, stem=16, bottleneck_blocks=3, decoder_blocks=1
    ),  # 2.2 times as many, 1.4 on the ESP32-S3's vector unit, which takes 16 channels at once
    "nano_u_skips": ModelConfig("nano_u", (48, 64, 3), (16, 32), 64),
    "bu_net": ModelConfig("bu_net", (60, 80, 3), (16, 32, 64), 96),
    "bu_net_small": ModelConfig("bu_net", (60, 80, 3), (8, 16, 32), 48),
    "efficientnet_lite0": ModelConfig(EFFICIENTNET, (60, 80, 3), (32, 48, 64), 96),
}


def create_nano_u(
    input_shape: Sequence[int] = (48, 64, 3),
    filters: Sequence[int] = (16, 32),
    bottleneck: int = 64,
    name: str = "nano_u",
    **settings: Any,
) -> keras.Model:
    """Create a student of depthwise-separable blocks: float32 (N, H, W, C) -> logits float32 (N, H, W, K).

    K is 1 for two classes, else their number. `settings` are further fields of ModelConfig, such as `skips`. Raises
    TrainError where the sizes cannot be pooled or a width is not positive.
    """
    return _create(_config("nano_u", input_shape, filters, bottleneck, settings), name)


def create_bu_net(
    input_shape: Sequence[int] = (48, 64, 3),
    filters: Sequence[int] = (32, 64, 128),
    bottleneck: int = 256,
    name: str = "bu_net",
    **settings: Any,
) -> keras.Model:
    """Create a teacher of 3x3 convolutions: float32 (N, H, W, C) -> logits float32 (N, H, W, K), as `create_nano_u`."""
    return _create(_config("bu_net", input_shape, filters, bottleneck, settings), name)


def create_efficientnet(
    input_shape: Sequence[int] = (60, 80, 3),
    filters: Sequence[int] = (32, 48, 64),
    bottleneck: int = 96,
    name: str = EFFICIENTNET,
    **settings: Any,
) -> keras.Model:
    """Create a teacher whose encoder comes from ImageNet (nanou_train.networks.efficientnet), as `create_nano_u`."""
    return _create(_config(EFFICIENTNET, input_shape, filters, bottleneck, settings), name)


_CREATE: Mapping[str, Callable[..., keras.Model]] = {
    "nano_u": create_nano_u,
    "bu_net": create_bu_net,
    EFFICIENTNET: create_efficientnet,
}
ARCHITECTURES = tuple(_CREATE)


def create_model_from_config(config: ModelConfig | Mapping[str, Any] | str, *, name: str = "") -> keras.Model:
    """Build a model from a ModelConfig, a mapping with its fields, or the name of a preset. Raises ConfigError.

    A mapping may name a preset by `model_name` and change some of its fields.
    """
    given: dict[str, Any]
    if isinstance(config, ModelConfig):
        given = asdict(config)
    else:
        given = {"model_name": config} if isinstance(config, str) else dict(config)
    if preset := given.pop("model_name", ""):
        if preset not in PRESETS:
            raise ConfigError(f'no model preset "{preset}"', hint=near_names(preset, PRESETS))
        name, given = name or preset, asdict(PRESETS[preset]) | given
    architecture = given.pop("architecture", None)
    if architecture not in ARCHITECTURES:
        raise ConfigError(f'no architecture "{architecture}"', hint=near_names(str(architecture), ARCHITECTURES))
    for key in given:
        if key not in MODEL_KEYS:
            raise ConfigError(f'unknown model key "{key}"', hint=near_names(key, MODEL_KEYS))
    return _CREATE[architecture](**given, name=name or architecture)


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


def _config(
    architecture: Architecture | Literal["efficientnet"],
    input_shape: Sequence[int],
    filters: Sequence[int],
    bottleneck: int,
    more: dict[str, Any],
) -> ModelConfig:
    if len(input_shape) != 3:
        raise TrainError(f"an input of {tuple(input_shape)}", hint="give (height, width, channels)")
    height, width, channels = input_shape
    return ModelConfig(architecture, (height, width, channels), tuple(filters), bottleneck, **more)


def _create(config: ModelConfig, name: str) -> keras.Model:
    blocks = (config.encoder_blocks, config.bottleneck_blocks, config.decoder_blocks)
    sizes = (*config.input_shape, *config.filters, config.bottleneck, config.classes - 1, *blocks, config.stem + 1)
    if not config.filters or min(sizes) < 1:
        raise TrainError(
            f"cannot build {name} from input {config.input_shape}, filters {config.filters}, bottleneck "
            f"{config.bottleneck}, stem {config.stem}, {blocks} blocks, {config.classes} classes",
            hint="give (height, width, channels), a positive width per stage and for the bottleneck, 2 or more classes",
        )
    if config.architecture == EFFICIENTNET:
        return create_efficientnet_u_net(config.input_shape, config.filters, config.bottleneck, config.classes, name)
    height, width, _ = config.input_shape
    check_size(config, name)
    height, width, levels = height // config.stride, width // config.stride, []
    for filters_here in config.filters:
        pool = _pool_factor(height), _pool_factor(width)
        encoder, decoder = ((Block(filters_here),) * count for count in (config.encoder_blocks, config.decoder_blocks))
        levels.append(Level(encoder, pool, decoder, config.skips))
        height, width = height // pool[0], width // pool[1]
    bottleneck = (Block(config.bottleneck),) * config.bottleneck_blocks
    stem = Block(config.stem) if config.stem else None
    structure = Structure(config.architecture, config.input_shape, tuple(levels), bottleneck, config.classes, stem)
    return build_model(structure, name)


def check_size(config: ModelConfig, name: str) -> None:
    """Raise TrainError, with near sizes that work, where a side cannot be divided once per stage by 2 or 3.

    With a stem, half of it has to be. The network with ImageNet weights takes any.
    """
    if config.architecture == EFFICIENTNET:
        return
    sides = dict(zip(("height", "width"), config.input_shape, strict=False))
    wrong = [f"{what} {side}" for what, side in sides.items() if not _can_pool(side, config)]
    if wrong:
        sizes = " or ".join(f"{height}x{width}" for height, width in _near_sizes(config))
        does = f"{'halves its picture and ' if config.stem else ''}pools {len(config.filters)} times by 2 or 3"
        raise TrainError(
            f"{name} {does}, and {' and '.join(wrong)} cannot be divided so without padding",
            hint=f"use {sizes}, or fewer stages",
        )


def _near_sizes(config: ModelConfig) -> list[tuple[int, int]]:
    """Return the next workable size below, if there is one, and the next one above."""

    def near(side: int, step: int) -> int:
        while side > 0 and not _can_pool(side, config):
            side += step
        return side

    height, width, _ = config.input_shape
    found = [(near(height, step), near(width, step)) for step in (-1, 1)]
    return [size for size in found if min(size) > 0]


def _can_pool(side: int, config: ModelConfig) -> bool:
    if side % config.stride:
        return False
    side //= config.stride
    for _ in config.filters:
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
