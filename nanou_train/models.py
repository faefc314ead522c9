"""The two networks: Nano-U (student, depthwise separable) and BU-Net (teacher, plain convolutions).

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
from typing import TYPE_CHECKING, Any, Literal

from codegen.quantize import import_tensorflow
from nanou_train.errors import ConfigError, TrainError

if TYPE_CHECKING:
    import keras

ARCHITECTURES = ("nano_u", "bu_net")


@dataclass(frozen=True)
class ModelConfig:
    """What `create_model_from_config` builds; `input_shape` is (height, width, channels)."""

    architecture: Literal["nano_u", "bu_net"]
    input_shape: tuple[int, int, int]
    filters: tuple[int, ...]
    bottleneck: int
    skips: bool = True


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
) -> keras.Model:
    """Student of depthwise-separable blocks: float32 (N, H, W, C) -> logits float32 (N, H, W, 1).

    Raises TrainError where the sizes cannot be pooled or a width is not positive.
    """
    return _create(_separable_block, input_shape, filters, bottleneck, name, skips)


def create_bu_net(
    input_shape: Sequence[int] = (48, 64, 3),
    filters: Sequence[int] = (32, 64, 128),
    bottleneck: int = 256,
    name: str = "bu_net",
    *,
    skips: bool = True,
) -> keras.Model:
    """Teacher of 3x3 convolutions: float32 (N, H, W, C) -> logits float32 (N, H, W, 1). Raises as `create_nano_u`."""
    return _create(_plain_block, input_shape, filters, bottleneck, name, skips)


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
    known = ("input_shape", "filters", "bottleneck", "skips")
    for key in fields:
        if key not in known:
            raise ConfigError(f'unknown model key "{key}"', hint=near_names(key, known))
    return create(**fields, name=name or architecture)


def count_parameters(model: keras.Model, *, deployed: bool = False) -> int:
    """Trainable parameters; with `deployed`, the constants of the int8 model, where BatchNorm is folded.

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
    """A hint that suggests the known names most like `name`, or lists all."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"


def _create(
    block: Callable[[Any, int, str], Any],
    input_shape: Sequence[int],
    filters: Sequence[int],
    bottleneck: int,
    name: str,
    skips: bool,
) -> keras.Model:
    import_tensorflow()
    import keras

    if len(input_shape) != 3 or not filters or min(*input_shape, *filters, bottleneck) < 1:
        raise TrainError(
            f"cannot build {name} from input {tuple(input_shape)}, filters {tuple(filters)}, bottleneck {bottleneck}",
            hint="give (height, width, channels), one positive width per stage, and a positive bottleneck",
        )
    inputs = x = keras.Input(tuple(input_shape), name="image")
    encoded = []
    for stage, width in enumerate(filters, start=1):
        x = block(block(x, width, f"encoder{stage}a"), width, f"encoder{stage}b")
        encoded.append(x)
        pool = tuple(_pool_factor(int(side), stage, name) for side in x.shape[1:3])
        x = keras.layers.MaxPooling2D(pool, name=f"encoder{stage}_pool")(x)
    x = block(block(x, bottleneck, "bottleneck_a"), bottleneck, "bottleneck_b")
    for stage in range(len(filters), 0, -1):
        skip, width = encoded[stage - 1], filters[stage - 1]
        # This converts to one RESIZE_NEAREST_NEIGHBOR; UpSampling2D would become RESHAPE and TILE, and the Resizing
        # layer switches the layers after it to training mode where the caller does not say (Keras 3.15).
        x = keras.ops.image.resize(x, skip.shape[1:3], interpolation="nearest")
        if skips:
            x = keras.layers.Concatenate(name=f"decoder{stage}_join")([x, skip])
        x = block(block(x, width, f"decoder{stage}a"), width, f"decoder{stage}b")
    return keras.Model(inputs, keras.layers.Conv2D(1, 1, padding="same", name="logits")(x), name=name)


def _pool_factor(side: int, stage: int, name: str) -> int:
    for factor in (2, 3):
        if side % factor == 0:
            return factor
    raise TrainError(
        f"{name}: stage {stage} gets a side of {side} px, which neither 2 nor 3 divides",
        hint="choose an input size with more factors of 2, or fewer stages",
    )


def _normalized(x: Any, name: str) -> Any:
    """BatchNorm and ReLU6, whose bound keeps the int8 activation range small."""
    import keras

    from nanou_train.layers import FusedBatchNormalization

    x = FusedBatchNormalization(momentum=0.95, name=f"{name}_bn")(x)
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)


def _separable_block(x: Any, width: int, name: str) -> Any:
    import keras

    depthwise = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_dw")(x)
    x = _normalized(depthwise, f"{name}_dw")
    return _normalized(
        keras.layers.Conv2D(width, 1, padding="same", use_bias=False, name=f"{name}_pw")(x), f"{name}_pw"
    )


def _plain_block(x: Any, width: int, name: str) -> Any:
    import keras

    return _normalized(keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv")(x), name)
