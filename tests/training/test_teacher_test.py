"""The accuracy of the teacher, and the warning of one that guesses."""

import pytest
import torch

from smskd.runs.folder import RunFolder
from smskd.training.reports import TeacherReport
from smskd.training.run import run
from smskd.training.teacher_test import near_chance
from tests.support import tiny


@pytest.mark.parametrize(
    ("top1", "classes", "samples", "near"),
    [
        (10.0, 10, 10_000, True),
        (18.9, 10, 10_000, True),
        (19.2, 10, 10_000, False),
        (1.9, 100, 10_000, True),
        (2.1, 100, 10_000, False),
        (9.0, 1000, 50_000, False),
        (54.0, 2, 10_000, True),
        (56.0, 2, 10_000, False),
        (60.0, 2, 20, True),  # a third of a standard deviation more than 12 of 20
        (0.0, 10, 100, True),
    ],
)
def test_near_chance(top1, classes, samples, near):
    assert near_chance(top1, classes, samples) is near


@pytest.mark.parametrize("top1", [8.0, 90.0])
def test_a_note_and_a_line_of_a_teacher_that_guesses(tmp_path, monkeypatch, top1):
    import smskd.training.teacher_test as module

    made = tiny.built(tiny.recipe([(tiny.StageConfig(), ["kd"])], epochs=1))
    correct = torch.zeros(1000, dtype=torch.bool)
    monkeypatch.setattr(module, "evaluate", lambda *_, **__: module_accuracy(top1, correct))
    reports = list(run(made, RunFolder(tmp_path)))
    line = str(next(report for report in reports if isinstance(report, TeacherReport)))
    notes = [note for note in tiny.summary(tmp_path)["notes"] if note.startswith("The teacher classifies")]
    if top1 < 50:
        chance = 100 / made.classes
        assert line == f"teacher  test 8.00% is hardly better than guessing ({chance:.2f}%): check its weights"
        assert len(notes) == 1
        assert notes[0].startswith(
            f"The teacher classifies 8.00% of the test images correctly, guessing {chance:.2f}%: "
        )
    else:
        assert line == "teacher  test 90.00%"
        assert notes == []


def module_accuracy(top1, correct):
    from smskd.training.accuracy import Accuracy

    return Accuracy(top1, None, correct)
