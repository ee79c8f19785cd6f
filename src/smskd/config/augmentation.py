"""The augmentation of training images."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from smskd.config.base import Config, SettingError
from smskd.config.numbers import NonNegativeFloat, Real, Whole

LARGEST_PADDING, MOST_REPEATS = 1024, 64

Share = Annotated[Real, Field(gt=0, le=1)]
Probability = Annotated[Real, Field(ge=0, le=1)]
Concentration = Annotated[Real, Field(gt=0, le=1000)]
"""The parameter alpha of the distribution Beta(alpha, alpha)."""
Ratio = Annotated[Real, Field(gt=0, le=1000)]


@dataclass(frozen=True)
class RandomResizedCropConfig(Config):
    """A random part of the image, resized to the size of the images (Szegedy et al. 2014, arXiv 1409.4842).

    Attributes:
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest ratio of width to height.
    """

    scale: tuple[Share, Share] = (0.08, 1.0)
    ratio: tuple[Ratio, Ratio] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ordered(self, "scale", "ratio")


@dataclass(frozen=True)
class ColorJitterConfig(Config):
    """Random brightness, contrast, saturation and hue, in random order, as ``ColorJitter`` of torchvision.

    A factor is drawn uniformly between 1 - value (0 at least) and 1 + value.

    Attributes:
        brightness: largest deviation of the factor.
        contrast: likewise.
        saturation: likewise.
        hue: largest shift in either direction; 0.5 is half of the colour circle.
    """

    brightness: NonNegativeFloat = 0.0
    contrast: NonNegativeFloat = 0.0
    saturation: NonNegativeFloat = 0.0
    hue: Annotated[Real, Field(ge=0, le=0.5)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise SettingError("give one of brightness, contrast, saturation and hue a value above 0")


@dataclass(frozen=True)
class PolicyConfig(Config):
    """An automatic augmentation, as the transforms of torchvision with their default operations and ranges.

    ``trivial_augment``: one operation of random strength, in the wide ranges (Müller and Hutter 2021, arXiv
    2103.10158). ``rand_augment``: several operations of one strength (Cubuk et al. 2020, arXiv 1909.13719).
    ``auto_augment``: one of 25 learned pairs of operations (Cubuk et al. 2019, arXiv 1805.09501).

    Attributes:
        name: of the three.
        operations: number of operations, of ``rand_augment``; null: 2.
        magnitude: their strength, from 0 to 30, of ``rand_augment``; null: 9.
        learned_on: data set of the pairs, of ``auto_augment``; null: ``imagenet``.
    """

    name: Literal["trivial_augment", "rand_augment", "auto_augment"]
    operations: Annotated[Whole, Field(ge=1, le=32)] | None = None
    magnitude: Annotated[Whole, Field(ge=0, le=30)] | None = None
    learned_on: Literal["imagenet", "cifar10", "svhn"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, owner in (
            ("operations", "rand_augment"),
            ("magnitude", "rand_augment"),
            ("learned_on", "auto_augment"),
        ):
            if getattr(self, key) is not None and self.name != owner:
                raise SettingError(f"is a setting of {owner}, not of {self.name}", key)

    @staticmethod
    def of(value: Any) -> Any:
        """The settings of a name that stands alone; anything else is returned as it is."""
        return {"name": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class RandomErasingConfig(Config):
    """A random rectangle of the normalised image is overwritten (Zhong et al. 2017, arXiv 1708.04896).

    Attributes:
        probability: that an image has one.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest ratio of height to width.
        value: ``zero``, the mean colour, or ``noise``: normally distributed in each pixel and channel.
    """

    probability: Probability = 0.5
    scale: tuple[Share, Share] = (0.02, 0.33)
    ratio: tuple[Ratio, Ratio] = (0.3, 3.3)
    value: Literal["zero", "noise"] = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_ordered(self, "scale", "ratio")


@dataclass(frozen=True)
class AugmentationConfig(Config):
    """Random changes of training images.

    Their order: crop, flip, rotation, policy, colour jitter; then images are normalised; random erasing; mixup or
    CutMix.

    Attributes:
        padding: pixels of zero padding for the random crop, 0 for no crop; None: the usual one of the data set (CIFAR
            4, digits 1), and 0 with ``random_resized_crop``.
        flip: horizontal flips with probability one half; None: the usual choice (CIFAR yes, digits no).
        random_resized_crop: see :class:`RandomResizedCropConfig`; None: none.
        rotation: largest angle of a random rotation in degrees, in either direction, with black corners; None: none.
        policy: see :class:`PolicyConfig`, by its name alone or with options; None: none.
        color_jitter: see :class:`ColorJitterConfig`; None: none.
        random_erasing: see :class:`RandomErasingConfig`; None: none.
        mixup: alpha of mixup: images and labels are mixed in pairs, with a share drawn from Beta(alpha, alpha) for each
            batch; None: none.
        cutmix: alpha of CutMix: a rectangle of another image is pasted, and labels are mixed by area; with ``mixup``
            too, one of them is drawn for each batch; None: none.
        repeats: times that an image occurs in a batch, each time augmented anew; an epoch stays as long, so that it
            has only one in so many of the images.
        consistent: whether teacher and student are given the same augmented images; false: the teacher's are drawn
            independently, from the same distribution.
    """

    padding: Annotated[Whole, Field(ge=0, le=LARGEST_PADDING)] | None = None
    flip: bool | None = None
    random_resized_crop: RandomResizedCropConfig | None = None
    rotation: Annotated[Real, Field(gt=0, le=180)] | None = None
    policy: Annotated[PolicyConfig, BeforeValidator(PolicyConfig.of)] | None = None
    color_jitter: ColorJitterConfig | None = None
    random_erasing: RandomErasingConfig | None = None
    mixup: Concentration | None = None
    cutmix: Concentration | None = None
    repeats: Annotated[Whole, Field(ge=1, le=MOST_REPEATS)] = 1
    consistent: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.random_resized_crop is not None and self.padding:
            raise SettingError("must be 0 or null with random_resized_crop, which crops already", "padding")

    @property
    def mixes(self) -> bool:
        """Whether images and labels are mixed."""
        return self.mixup is not None or self.cutmix is not None

    @property
    def countable(self) -> bool:
        """Whether an image has a finite number of outcomes: crops by whole pixels and flips alone."""
        return not (self.mixes or self.random_erasing or self.changes_bytes)

    @property
    def changes_bytes(self) -> bool:
        """Whether images are changed before they are normalised, otherwise than by padding, crop and flip."""
        return bool(self.random_resized_crop or self.rotation or self.policy or self.color_jitter)

    def settings(self) -> Mapping[str, Any]:
        """The keys that differ from their defaults, beside ``padding`` and ``flip``; empty for crop and flip alone."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {
            name: value
            for name, (value, default) in values.items()
            if name not in ("padding", "flip") and value != default
        }


def _check_ordered(config: Config, *names: str) -> None:
    for name in names:
        low, high = getattr(config, name)
        if low > high:
            raise SettingError(f"the smallest value comes first, not {low:g} before {high:g}", name)
