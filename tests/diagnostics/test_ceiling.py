"""The capacity ceiling: within a run and over runs of several lengths."""

from pathlib import Path

import pytest
import torch

from smskd.diagnostics import PartAnalysis, RunAnalysis, StageAnalysis, ceilings_over_runs
from smskd.diagnostics.agreement import Agreement
from smskd.diagnostics.calibration import calibration
from smskd.diagnostics.ceilings import ceiling_of_stages
from smskd.diagnostics.confidence import true_class_probabilities
from smskd.diagnostics.cost import cost_of
from smskd.runs.reader import load_run
from tests.support.run_folders import write_run

LOGITS, Y = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)


def stage(number: int, methods: tuple[str, ...], train: float, validation: float | None, test: float) -> StageAnalysis:
    accuracies = {"train": train, "validation": validation, "test": test}
    parts = {
        part: PartAnalysis(
            1, top1, calibration(LOGITS, Y), Agreement(top1 - 1, 0.0), None, true_class_probabilities(LOGITS, Y)
        )
        for part, top1 in accuracies.items()
        if top1 is not None
    }
    return StageAnalysis(number, methods, parts, {}, {}, None)


def right(*counts: int) -> list[torch.Tensor]:
    """Of 100 images the first ones are classified correctly."""
    return [torch.arange(100) < count for count in counts]


STAGES = [stage(number, (name,), 80.0 + number, None, 70.0) for number, name in enumerate(("at", "sp", "kd"), start=1)]


@pytest.mark.parametrize(
    ("counts", "stages"),
    [
        ((50, 60, 62), 2),  # 2 more images are learned and none forgotten: p = 0.5
        ((50, 60, 75), 3),
        ((50, 53, 52), 1),  # 3 images: p = 0.25
        ((50, 40, 57), 3),  # 7 images: p = 2 * 2^-7 = 0.016
        ((50, 56, 56), 1),  # 6 images: p = 2 * 2^-6 = 0.031, of two tests by Holm 0.063
    ],
)
def test_the_ceiling_of_a_run_is_where_no_later_stage_gains_beyond_the_noise(
    counts: tuple[int, ...], stages: int
) -> None:
    found = ceiling_of_stages(0, STAGES, right(*counts))
    assert found is not None
    assert found.stages == stages
    assert (found.part, found.noise, [point.train_top1 for point in found.points]) == ("test", "images", [81, 82, 83])


def test_what_it_means_in_a_sentence() -> None:
    found = ceiling_of_stages(0, STAGES, right(50, 60, 62))
    assert found is not None
    assert found.sentence == (
        "Capacity: nothing is gained beyond stage 2, beyond the noise of images (test top-1 70.00 %, after stage 3 "
        "70.00 %); training top-1 goes from 82.00 to 83.00 %, agreement with the teacher on training images from 81.00 "
        "to 82.00 %."
    )
    reached = ceiling_of_stages(0, STAGES, right(50, 60, 75))
    assert reached is not None
    assert reached.sentence.startswith("Capacity: no ceiling within 3 stages; the last one still gains")
    assert ceiling_of_stages(0, STAGES[:1], right(50)) is None


def runs(folder: Path, lengths: dict[tuple[str, ...], dict[int, float]], **facts: str) -> list[RunAnalysis]:
    """A run for each sequence and seed, with this accuracy on the validation split."""
    found = []
    for methods, seeds in lengths.items():
        for seed, accuracy in seeds.items():
            path = folder / f"{'-'.join(methods)}{facts.get('fingerprints.train', '')}-{seed}"
            write_run(path, name="-".join(methods), seed=seed, stages=[(name,) for name in methods], facts=facts)
            stages = [stage(number, (name,), 90.0, accuracy, 60.0) for number, name in enumerate(methods, start=1)]
            run = load_run(path)
            found.append(RunAnalysis(str(path), run.name, seed, {}, {}, tuple(stages), None, cost_of(run)))
    return found


CHAIN = {("at",): {0: 70.0, 1: 71.0, 2: 70.5}, ("at", "sp"): {0: 75.0, 1: 75.9, 2: 75.2},
         ("at", "sp", "kd"): {0: 75.5, 1: 75.5, 2: 75.3}}  # fmt: skip


def test_the_ceiling_over_runs_pairs_seeds(tmp_path: Path) -> None:
    (found,) = ceilings_over_runs(runs(tmp_path, CHAIN))
    assert (found.over, found.part, found.noise, found.stages) == ("runs", "validation", "seeds", 2)
    assert [point.judged_top1 for point in found.points] == pytest.approx([70.5, 75.3667, 75.4333], abs=1e-4)
    assert [point.methods for point in found.points] == [("at",), ("sp",), ("kd",)]
    assert found.points[0].seeds == (0, 1, 2)


def test_runs_that_do_not_belong_together_are_not_compared(tmp_path: Path) -> None:
    assert ceilings_over_runs(runs(tmp_path, {("at",): {0: 1.0}, ("sp", "kd"): {0: 2.0}})) == ()
    alone = runs(tmp_path / "one", {("at",): {0: 1.0, 1: 1.5}})
    others = runs(tmp_path / "two", {("at", "sp"): {0: 2.0, 1: 2.5}}, **{"fingerprints.train": "other"})
    assert ceilings_over_runs([*alone, *others]) == ()


def test_one_seed_does_not_tell_the_noise(tmp_path: Path) -> None:
    (found,) = ceilings_over_runs(runs(tmp_path, {("at",): {0: 1.0}, ("at", "sp"): {0: 2.0, 1: 3.0}}))
    assert (found.stages, found.noise) == (None, None)
    assert "a single seed does not tell the noise" in found.sentence
