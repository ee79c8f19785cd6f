"""Checks before training: every stage's terms find what they read, and their modules can be built."""

from collections.abc import Iterator

from smskd.errors import UserError
from smskd.interfaces.inputs import InputForm, dtype_of
from smskd.interfaces.terms import Term
from smskd.models import describe
from smskd.models.fitness import check_network, check_trainable
from smskd.objective.bound_term import ReadModels, bind, reads_of, with_members
from smskd.strategies.resolved import ResolvedStage
from smskd.training.config import RunConfig


def check_stages(config: RunConfig) -> None:
    """Refuses a run of which a later stage could not begin. The first stage's modules are built at once anyway.

    Raises:
        UserError: a network cannot be trained or learned from; a term finds nothing to read in its stage's networks, or
            cannot be built for their shapes, and the message begins with the stage.
    """
    check_network(config.student.wrapped, "student")
    check_trainable(config.student.wrapped, dtype_of(config.example))
    for frozen in dict.fromkeys(frozen for frozen in config.teachers if frozen is not None):
        check_network(frozen.model.wrapped, "teacher")
    student = describe(config.student, config.input_form)
    for index, (stage, teacher) in enumerate(zip(config.recipe.stages, config.teachers, strict=True)):
        layout = None if teacher is None else describe(teacher.model, config.input_form)
        models = ReadModels(config.student, student, teacher, layout, None)
        for name, term, weight, own in _terms(stage, models, config.input_form):
            try:
                reads = reads_of(name, term, student, own.teacher_layout)
                if index and not reads.reference:
                    bind(name, term, weight, reads, own, config.data_of(index))
            except UserError as error:
                raise UserError(f"stages.{index}: {error}" if index else str(error)) from None


def _terms(
    stage: ResolvedStage, models: ReadModels, input_form: InputForm
) -> Iterator[tuple[str, Term, float, ReadModels]]:
    """Each term by name with its weight, and the models that it reads."""
    for method in stage.methods:
        for item, own in with_members(method, models, input_form):
            yield item.name, item.method, item.weight, own
    if stage.anchor is not None and stage.anchor.weight > 0:
        yield "the anchor", stage.anchor, stage.anchor.weight, models
