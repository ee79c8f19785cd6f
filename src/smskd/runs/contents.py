"""The shape of the JSON objects in the files of a run, against which a reader checks them."""

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from smskd.config.messages import mistake, place_of

_LONGEST = 10_000
"""Characters of a name."""

_OPEN = ConfigDict(strict=True, extra="allow")
"""No conversions; keys of newer versions are kept."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Ordinal = Annotated[int, Field(ge=1, lt=2**63)]
Text = Annotated[str, Field(max_length=_LONGEST)]


@with_config(_OPEN)
class Data(TypedDict):
    name: Text
    train_samples: Ordinal
    test_samples: Ordinal
    validation_samples: NotRequired[Ordinal]
    classes: Ordinal


@with_config(_OPEN)
class Network(TypedDict):
    """What teacher and student have in common."""

    model: Text
    parameters: Count | None
    macs: Count | None
    latency_milliseconds: NotRequired[dict[str, NotNegative | None] | None]
    top1_last: Percent
    top5_last: Percent | None


@with_config(_OPEN)
class Student(Network):
    top1_best: Percent | None
    best_epoch: Ordinal | None
    top1: Percent
    top5: Percent | None


@with_config(_OPEN)
class Cost(TypedDict):
    milliseconds: dict[str, NotNegative]
    step_milliseconds: NotNegative
    images_per_second: NotNegative
    peak_memory_bytes: Count | None


@with_config(_OPEN)
class Stored(TypedDict):
    digest: Text
    seconds: NotNegative


@with_config(_OPEN)
class Stage(TypedDict):
    index: Ordinal
    methods: list[Text]
    epochs: Annotated[list[Ordinal], Field(min_length=2, max_length=2)]
    anchor: Text | None
    top1_last: Percent
    top1_best: Percent | None
    retained: Count | None
    forgotten: Count | None
    learned: Count | None
    never_known: Count | None
    cost: NotRequired[Cost | None]
    stored: NotRequired[Stored | None]


@with_config(_OPEN)
class Summary(TypedDict):
    """``summary.json``."""

    name: Text
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)]
    seconds: NotNegative
    epochs: Ordinal
    data: Data
    student: Student
    teacher: Network | None
    stages: Annotated[list[Stage], Field(min_length=1)]
    identity: dict[str, Any]
    notes: NotRequired[list[Text]]


@with_config(_OPEN)
class Transitions(TypedDict):
    retained: Count
    forgotten: Count
    learned: Count
    never_known: Count


@with_config(_OPEN)
class Metrics(TypedDict):
    """A line of ``metrics.jsonl``."""

    epoch: Ordinal
    stage: Ordinal
    losses: Annotated[dict[str, Number], Field(min_length=1)]
    train_top1: Percent
    test_top1: Percent
    test_top5: NotRequired[Percent | None]
    validation_top1: NotRequired[Percent | None]
    learning_rate: NotRequired[NotNegative | None]
    transitions: NotRequired[Transitions | None]


@with_config(_OPEN)
class Pretraining(TypedDict):
    """A line of ``pretraining.jsonl``."""

    stage: Ordinal
    method: Text
    epoch: Ordinal
    epochs: Ordinal
    losses: dict[str, Number]


SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)
METRICS: TypeAdapter[Metrics] = TypeAdapter(Metrics)
PRETRAINING: TypeAdapter[Pretraining] = TypeAdapter(Pretraining)


def problem(shape: TypeAdapter[Any], value: Any) -> str | None:
    """What is wrong with an object, in words: ``student.top1_last must be a number, not 'x'``; None if nothing is.

    Keys that are missing are named all at once.

    Args:
        shape: one of this module.
        value: as it was read from JSON.
    """
    try:
        shape.validate_python(value)
    except ValidationError as error:
        return _words(error)
    return None


def _words(error: ValidationError) -> str:
    details = error.errors(include_url=False)
    missing = [place_of(each) for each in details if each["type"] == "missing"]
    if missing:
        return f"{', '.join(missing)} missing"
    first = details[0]
    limit = {key: first["ctx"][key] for key in ("min_length", "max_length") if key in first.get("ctx", {})}
    if "max_length" in limit and first["type"].startswith("string"):
        return f"{place_of(first)} must have at most {limit['max_length']:,} characters"
    if limit:
        least = "at most" if "max_length" in limit else "at least"
        return f"{place_of(first)} must have {least} {next(iter(limit.values()))} entries"
    return f"{place_of(first)} {mistake(first)}".strip()
