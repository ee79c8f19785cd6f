"""The capacity ceiling of a run over its stages, and of runs with different numbers of stages."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from torch import Tensor

from smskd.analysis.configurations import configuration
from smskd.diagnostics.ceiling import Ceiling, CeilingPoint, ceiling_of_seeds, fewest_sufficient
from smskd.diagnostics.result import PartAnalysis, RunAnalysis, StageAnalysis
from smskd.diagnostics.transfer import mcnemar
from smskd.runs.reader import load_run
from smskd.training.accuracy import transitions

_SAME = ("fingerprints.train", "fingerprints.test", "fingerprints.validation", "fingerprints.student_structure",
         "fingerprints.teacher")  # fmt: skip
"""Of runs that are compared."""

Sequences = tuple[tuple[str, ...], ...]
"""The methods of each stage."""


def ceiling_of_stages(seed: int, stages: Sequence[StageAnalysis], correct: Sequence[Tensor]) -> Ceiling | None:
    """The ceiling within a run; None with a single stage.

    Args:
        seed: of the run.
        stages: first to last.
        correct: for the end of each stage, which images it classifies correctly of the part that it is judged by, [N]
            bool: of the validation split, or of the test images where there is none.
    """
    if len(stages) < 2:
        return None
    gains = [[_p_of_gain(before, after) for after in correct[place + 1 :]] for place, before in enumerate(correct)]
    points = tuple(_point([stage], [seed]) for stage in stages)
    return Ceiling("stages", judged_by(stages[0].parts), "images", points, points[fewest_sufficient(gains)].stages)


def ceilings_over_runs(found: Sequence[RunAnalysis]) -> tuple[Ceiling, ...]:
    """The ceilings over runs with different numbers of stages, the stages of each beginning with those of the next
    shorter one; on the same images, with the same student and teacher.

    Args:
        found: analyses of finished runs, whose folders are there.
    """
    groups: dict[tuple[Any, ...], dict[Sequences, dict[str, list[RunAnalysis]]]] = {}
    for each in found:
        run = load_run(each.run)
        facts = configuration(run)
        settings = str(dict(facts))
        alike = (*(facts.get(key) for key in _SAME), judged_by(each.stages[-1].parts))
        methods = tuple(stage.methods for stage in each.stages)
        groups.setdefault(alike, {}).setdefault(methods, {}).setdefault(settings, []).append(each)
    return tuple(ceiling for own in groups.values() for ceiling in _chains(own))


def judged_by(parts: Mapping[str, PartAnalysis]) -> str:
    """The part of the data by which students are judged: the validation split where there is one."""
    return "validation" if "validation" in parts else "test"


def _chains(groups: Mapping[Sequences, Mapping[str, list[RunAnalysis]]]) -> Iterator[Ceiling]:
    """A ceiling for each longest sequence of which a shorter run is there too.

    Sequences that were trained with several settings are left out: it is not clear which of them belong together.
    """
    single = {methods: next(iter(own.values())) for methods, own in groups.items() if len(own) == 1}
    for longest in single:
        if any(len(other) > len(longest) and other[: len(longest)] == longest for other in single):
            continue
        chain = [single[methods] for methods in sorted(single, key=len) if longest[: len(methods)] == methods]
        by_seed = [{run.seed: run for run in runs} for runs in chain]
        seeds = sorted(set.intersection(*(set(own) for own in by_seed)))
        if len(chain) < 2 or not seeds:
            continue
        ends = [[own[seed].stages[-1] for seed in seeds] for own in by_seed]
        part = judged_by(ends[0][0].parts)
        values = [[stage.parts[part].top1 for stage in stages] for stages in ends]
        yield ceiling_of_seeds(part, [_point(stages, seeds) for stages in ends], values)


def _point(stages: Sequence[StageAnalysis], seeds: Sequence[int]) -> CeilingPoint:
    part = judged_by(stages[0].parts)
    agreements = [stage.parts["train"].agreement for stage in stages]
    return CeilingPoint(
        stages=stages[0].stage,
        methods=stages[0].methods,
        train_top1=fmean(stage.parts["train"].top1 for stage in stages),
        test_top1=fmean(stage.parts["test"].top1 for stage in stages),
        judged_top1=fmean(stage.parts[part].top1 for stage in stages),
        train_agreement=None if None in agreements else fmean(each.top1 for each in agreements if each is not None),
        seeds=tuple(seeds),
    )


def _p_of_gain(before: Tensor, after: Tensor) -> float | None:
    """McNemar's exact test; None where no more is learned than forgotten."""
    found = transitions(before, after)
    return mcnemar(found) if found.learned > found.forgotten else None
