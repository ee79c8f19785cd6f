"""A sweep: many runs of one recipe, and a search for the best sequence of methods."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from smskd.config.base import Config, SettingError
from smskd.config.numbers import Count, Epochs, Whole

Key = Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True)
class OrdersConfig(Config):
    """All sequences of different methods, one method a stage.

    Attributes:
        of: names of methods.
        stages: number of stages, or a list of numbers; null: a stage for each method.
        epochs: of each stage, in the order of the stages; the last number is that of all further ones. Null: a stage
            ends with the next learning-rate decay, and the last one with the run.
    """

    of: Names
    stages: tuple[Count, ...] | Count | None = None
    epochs: tuple[Epochs, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.of)) < len(self.of):
            raise SettingError("has a method twice", "of")
        if max(self.counts) > len(self.of):
            raise SettingError(
                f"must be at most {len(self.of)}, the number of methods, not {max(self.counts)}", "stages"
            )
        if self.epochs is not None and not self.epochs:
            raise SettingError("must have an entry", "epochs")

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of stages."""
        if self.stages is None:
            return (len(self.of),)
        return (self.stages,) if isinstance(self.stages, int) else self.stages or (len(self.of),)


@dataclass(frozen=True)
class SearchConfig(Config):
    """A search for the sequence of methods with the best accuracy on the validation split.

    Attributes:
        of: names of methods, each used at most once in a sequence.
        epochs: that all runs together may train; stages that are shared are counted once.
        stages: the least and the greatest number of stages; null: 1, and 3 or as many as there are methods.
        stage_epochs: of each stage, in the order of the stages; the last number is that of all further ones. Null: a
            stage ends with the next learning-rate decay, and the last one with the run.
        sampler: ``tpe``: tree-structured Parzen estimator; ``random``.
        pruner: ``median``: a run whose validation accuracy is below the median of the runs before it, at the same
            epoch, is not trained to its end; ``none``.
        seed: of the sampler.
    """

    of: Names
    epochs: Epochs
    stages: Annotated[tuple[Count, ...], Field(min_length=2, max_length=2)] | None = None
    stage_epochs: tuple[Epochs, ...] | None = None
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "none"] = "median"
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        least, greatest = self.span
        if len(set(self.of)) < len(self.of):
            raise SettingError("has a method twice", "of")
        if not least <= greatest <= len(self.of):
            raise SettingError(f"must be two numbers, the first not above the second, up to {len(self.of)}", "stages")

    @property
    def span(self) -> tuple[int, int]:
        """The least and the greatest number of stages."""
        least, greatest = self.stages or (1, min(3, len(self.of)))
        return least, greatest


@dataclass(frozen=True)
class SweepConfig(Config):
    """Many runs of one recipe: the product of ``orders``, ``pairs``, ``values`` and ``seeds``, or ``search``.

    Attributes:
        recipe: a file, relative to that of the sweep, or the name of a recipe of the package.
        name: of the sweep; in a file by default the name of the file.
        set: values of keys of the recipe in every run: ``training.epochs: 60``.
        values: lists of values by key; all combinations are trained.
        orders: all orders of some methods.
        pairs: mappings of keys to values that belong together, such as a teacher and a student; each is trained.
        seeds: of the runs.
        search: a search instead of a product, with ``set`` alone.
        baseline: name of the runs, without their seeds, from which the page and ``--table`` take differences, such as
            ``fitnet-kd``; null: there are none.
    """

    recipe: str
    name: str = "sweep"
    set: dict[Key, Any] = field(default_factory=dict)
    values: dict[Key, Annotated[tuple[Any, ...], Field(min_length=1)]] = field(default_factory=dict)
    orders: OrdersConfig | None = None
    pairs: tuple[dict[Key, Any], ...] = ()
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    search: SearchConfig | None = None
    baseline: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(dict.fromkeys(self.seeds)) < len(self.seeds):
            raise SettingError("has a seed twice", "seeds")
        if self.search is not None and (self.values or self.orders or self.pairs or len(self.seeds) > 1):
            raise SettingError("a search takes set and one seed; leave out values, orders and pairs", "search")
        if self.search is not None and self.baseline is not None:
            raise SettingError("a search has one seed, so that no runs can be paired; leave it out", "baseline")
