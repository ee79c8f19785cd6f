"""The student and the teacher of a run."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

from smskd.config.base import Config, SettingError
from smskd.config.cache import CacheConfig
from smskd.config.numbers import PositiveFloat

_OF_THE_DATA = ("classes", "channels", "image_size")
_OWN_KEYS = ("name", "features")
"""Arguments of the models' factories that are no options."""


@dataclass(frozen=True)
class ModelConfig(Config):
    """A network.

    Attributes:
        name: of the zoo, of an installed entry point, or ``package.module:factory``.
        weights: a ``.safetensors`` or ``.pth`` file, or the folder of a run; None: freshly initialised.
        options: further arguments of the model's factory.
        features: feature names and the modules whose outputs they are, for a network of your own; found automatically
            if not given.
    """

    name: str
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    features: dict[str, str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in self.options:
            if key in _OF_THE_DATA:
                raise SettingError("follows from the data; leave it out", f"options.{key}")
            if key in _OWN_KEYS:
                raise SettingError("belongs beside options, not in them", f"options.{key}")

    @classmethod
    def of(cls, value: Any) -> Any:
        """The network of a name alone; anything else is returned as it is."""
        return {"name": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class FurtherTeacherConfig(ModelConfig):
    """A further network to learn from at the same time.

    Attributes:
        name, weights, options, features: see :class:`ModelConfig`.
        weight: of its losses relative to those of the first teacher, which has 1.
    """

    weight: PositiveFloat = 1.0


@dataclass(frozen=True)
class TeacherConfig(ModelConfig):
    """The network to learn from.

    Attributes:
        name, weights, options, features: see :class:`ModelConfig`.
        cache: of its outputs.
        others: further teachers of the same stage. Each method compares the student with each of the teachers, and the
            losses are averaged, weighted by ``weight``.
        shard: whether the weights are spread over the processes that train together (FSDP2), of which each then holds
            its share: for a teacher that does not fit one GPU.
    """

    cache: CacheConfig = field(default_factory=CacheConfig)
    others: tuple[Annotated[FurtherTeacherConfig, BeforeValidator(ModelConfig.of)], ...] = ()
    shard: bool = False

    def same_network(self, other: "Self | None") -> bool:
        """Whether another configuration stands for the same network with the same weights."""
        return other is not None and (self.name, self.weights, self.options, self.features, self.others) == (
            other.name,
            other.weights,
            other.options,
            other.features,
            other.others,
        )
