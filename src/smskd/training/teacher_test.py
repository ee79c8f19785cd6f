"""The test accuracy of the teacher, measured once, before training."""

import math
import time
from collections.abc import Iterator

from smskd.config.models import TeacherConfig
from smskd.data import mix
from smskd.models import describe
from smskd.models.frozen import Frozen
from smskd.training.accuracy import Accuracy, evaluate
from smskd.training.config import RunConfig
from smskd.training.reports import TeacherReport, Track
from smskd.training.rng import seed_everything

_TEST = 0x54455354
"""Sets the draws of a teacher that draws random numbers apart from those of the stages."""


def last_teacher(config: RunConfig) -> tuple[Frozen, TeacherConfig] | None:
    """The teacher of the last stage that has one, and its settings."""
    pairs = zip(config.teachers, config.recipe.stages, strict=True)
    found = [(frozen, stage.teacher) for frozen, stage in pairs if frozen is not None and stage.teacher is not None]
    return found[-1] if found else None


def knows_the_classes(teacher: Frozen, config: RunConfig) -> bool:
    """Whether a teacher's logits are those of the classes of the data, so that it has an accuracy."""
    return describe(teacher.model, config.input_form).classes == config.classes


def test_of_teacher(config: RunConfig, track: Track) -> TeacherReport | None:
    """The accuracy of :func:`last_teacher`; None where there is none, or one whose classes are not those of the data.

    Args:
        config: of the run.
        track: shows progress.
    """
    found = last_teacher(config)
    if found is None or not knows_the_classes(found[0], config):
        return None
    started = time.perf_counter()
    seed_everything(mix(config.recipe.runtime.seed, _TEST))
    accuracy = _accuracy(found[0], config, track)
    seconds = round(time.perf_counter() - started, 3)
    near = near_chance(accuracy.top1, config.classes, len(accuracy.correct))
    return TeacherReport(accuracy.top1, accuracy.top5, seconds, 100 / config.classes if near else None)


def _accuracy(teacher: Frozen, config: RunConfig, track: Track) -> Accuracy:
    """Its test accuracy. A network that is spread runs in all processes at once: each evaluates all images."""
    compute, classes, what = config.recipe.runtime, config.classes, "testing the teacher"
    if teacher.spreads:
        batches = track(config.test.epoch(0), len(config.test), what)
        return evaluate(teacher, batches, classes=classes, compute=compute)
    own, count = config.batches.tested(config.test)
    return evaluate(
        teacher, track(own, count, what), classes=classes, compute=compute, with_others=config.batches.all_tested
    )


def near_chance(top1: float, classes: int, samples: int) -> bool:
    """Whether an accuracy is hardly better than guessing.

    That is at most twice the accuracy of guessing and a tenth of the way from there to 100 percent, or within three
    standard deviations of guessing on so many samples.

    Args:
        top1: in percent.
        classes: number of classes.
        samples: that the accuracy was measured on.
    """
    chance = 1 / classes
    noise = 3 * math.sqrt(chance * (1 - chance) / max(samples, 1))
    return top1 / 100 <= chance + max(noise, min(chance, 0.1 * (1 - chance)))


def teacher_notes(report: TeacherReport) -> Iterator[str]:
    """A warning that follows from the accuracy of the teacher."""
    if report.chance is not None:
        yield (
            f"The teacher classifies {report.top1:.2f}% of the test images correctly, guessing {report.chance:.2f}%: "
            "the student learns from it nearly at random. Check its weights (teacher.weights), the order of its "
            "classes, and how its images were normalised."
        )
