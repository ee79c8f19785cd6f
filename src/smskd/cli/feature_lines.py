"""The features that a run reads of networks outside the zoo, printed at its start."""

from collections.abc import Iterator

from smskd.interfaces.features import FeatureModel
from smskd.models import describe
from smskd.models.feature_report import layer_line, role_names, stage_line
from smskd.training.config import RunConfig


def feature_lines(config: RunConfig) -> Iterator[str]:
    """A line for the student, and for each teacher, whose features have been found in a network of somebody else's."""
    yield from _lines("student", config.student, config)
    teachers = dict.fromkeys(frozen for frozen in config.teachers if frozen is not None)
    for teacher in teachers:
        yield from _lines("teacher", teacher.model, config)


def _lines(role: str, model: FeatureModel, config: RunConfig) -> Iterator[str]:
    if not model.sources:
        return
    layout = describe(model, config.input_form)
    names = role_names(layout)
    pooled = f"pooled vector {names['pooled'] or 'none'}"
    if isinstance(config.input_form, tuple):
        yield f"{role}  stages {stage_line(model, layout)}; last map {names['last_map'] or 'none'}, {pooled}"
    else:
        yield f"{role}  layers {layer_line(model, layout)}; {pooled}"
