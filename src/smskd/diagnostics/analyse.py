"""The analysis of a finished run, from the students that its stages left in its folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from smskd.build import Provided
from smskd.builder.networks import load_model
from smskd.data import Dataset, Loader, TextDataset, Texts
from smskd.data.loaders.make import make_loader
from smskd.data.samples import Split
from smskd.data.stratified import stratified_mask
from smskd.diagnostics.agreement import agreement
from smskd.diagnostics.calibration import calibration
from smskd.diagnostics.ceilings import ceiling_of_stages, judged_by
from smskd.diagnostics.confidence import true_class_probabilities
from smskd.diagnostics.cost import cost_of
from smskd.diagnostics.gradients import GradientConflict
from smskd.diagnostics.predictions import Predictions, predict
from smskd.diagnostics.result import PartAnalysis, RunAnalysis, StageAnalysis
from smskd.diagnostics.similarity import linear_cka
from smskd.diagnostics.stage_objectives import conflict, stage_objectives
from smskd.diagnostics.transfer import transfer
from smskd.errors import UserError
from smskd.interfaces.features import FeatureLayout, FeatureModel
from smskd.models import describe
from smskd.runs.file_names import STAGES, STUDENT
from smskd.runs.reader import Run, load_run
from smskd.session import reopen_folder
from smskd.training.config import RunConfig
from smskd.training.globals import computing, preserved_globals
from smskd.training.reports import Track, untracked
from smskd.training.teacher_test import knows_the_classes, last_teacher

TRAIN_IMAGES = 5_000
CKA_IMAGES = 2_000
GRADIENT_BATCHES = 8

Predicted = dict[str, Predictions]
"""By part of the data."""


def analyse(
    run: str | Path,
    *,
    train_images: int = TRAIN_IMAGES,
    gradient_batches: int = GRADIENT_BATCHES,
    trust: bool = False,
    track: Track = untracked,
) -> RunAnalysis:
    """Measures what each stage of a finished run did to its student.

    The student of every stage and the teacher predict the training images without augmentation, the validation split
    and the test images. Nothing is trained, and nothing is written.

    Args:
        run: folder of the run.
        train_images: how many training images are predicted at most, of each class its share; the same ones for every
            run on the same data.
        gradient_batches: on how many augmented training batches the gradients of the parts of each stage's objective
            are compared; 0: they are not.
        trust: import the Python objects that the run's recipe names.
        track: shows progress; called as ``track(batches, number, text)``.

    Raises:
        UserError: the run is not finished, its data, teacher or students cannot be had, or the data are others than
            those that it was trained on.
    """
    if train_images < 1:
        raise UserError(f"train_images is {train_images}; it has to be 1 or more")
    if gradient_batches < 0:
        raise UserError(f"gradient_batches is {gradient_batches}; it has to be 0 or more")
    finished = load_run(run)
    opened = reopen_folder(Path(run), trust=trust)
    dataset = opened.load()
    config = opened.build(Provided(dataset=dataset))
    _check_data(finished, dataset)
    work = _Work(finished, config, dataset, train_images, gradient_batches, track)
    with preserved_globals(), computing(config.recipe.runtime):
        return work.analysed()


@dataclass(frozen=True)
class _Work:
    run: Run
    config: RunConfig
    dataset: Dataset | TextDataset
    train_images: int
    gradient_batches: int
    track: Track

    def analysed(self) -> RunAnalysis:
        loaders = self._loaders()
        teacher, teacher_layout = self._teacher()
        taught = {} if teacher is None else self._predicted(teacher, teacher_layout, loaders, "the teacher")
        comparable = taught if self._knows_the_classes() else {}
        stages: list[StageAnalysis] = []
        correct: list[Tensor] = []
        previous: Predicted = {}
        for number, about in enumerate(self.run.stages, start=1):
            student = self._student(number)
            layout = describe(student, self.config.input_form)
            found = self._predicted(student, layout, loaders, f"the student of stage {number}")
            stages.append(self._stage(number, tuple(about["methods"]), found, previous, comparable, taught))
            previous = found
            correct.append(found[judged_by(stages[-1].parts)].correct)
        stages = [replace(stage, conflict=found) for stage, found in zip(stages, self._conflicts(), strict=True)]
        return RunAnalysis(
            run=str(self.run.path),
            name=self.run.name,
            seed=self.run.seed,
            teacher_top1={part: each.top1 for part, each in comparable.items()},
            teacher_tcp={part: true_class_probabilities(each.logits, each.y) for part, each in comparable.items()},
            stages=tuple(stages),
            ceiling=ceiling_of_stages(self.run.seed, stages, correct),
            cost=cost_of(self.run),
        )

    def _conflicts(self) -> Iterator[GradientConflict | None]:
        """Of the parts of each stage's objective."""
        if not self.gradient_batches:
            yield from (None for _ in self.run.stages)
            return
        objectives = self.track(stage_objectives(self.run, self.config), len(self.run.stages), "comparing gradients")
        for number, found in enumerate(objectives, start=1):
            yield conflict(found, self.config, number, self.gradient_batches)

    def _stage(
        self,
        number: int,
        methods: tuple[str, ...],
        found: Predicted,
        previous: Predicted,
        comparable: Predicted,
        taught: Predicted,
    ) -> StageAnalysis:
        parts = {part: self._part(each, previous.get(part), comparable.get(part)) for part, each in found.items()}
        judged = parts[judged_by(parts)].transfer
        before = previous["test"].features if previous else {}
        features = found["test"].features
        teachers = taught["test"].features if taught else {}
        return StageAnalysis(
            stage=number,
            methods=methods,
            parts=parts,
            cka_previous={
                name: linear_cka(feature, before[name]) for name, feature in features.items() if name in before
            },
            cka_teacher={
                name: {other: linear_cka(feature, theirs) for other, theirs in teachers.items()}
                for name, feature in features.items()
                if teachers
            },
            negative_transfer=None if judged is None else judged.negative,
        )

    def _part(self, found: Predictions, previous: Predictions | None, taught: Predictions | None) -> PartAnalysis:
        return PartAnalysis(
            images=len(found.y),
            top1=found.top1,
            calibration=calibration(found.logits, found.y),
            agreement=None if taught is None else agreement(found.logits, taught.logits),
            transfer=None
            if previous is None
            else transfer(previous.correct, found.predicted, found.y, self.dataset.class_names),
            tcp=true_class_probabilities(found.logits, found.y),
        )

    def _loaders(self) -> dict[str, Loader]:
        recipe = self.config.recipe
        loaders: dict[str, Loader] = {
            "train": make_loader(
                _chosen(self.dataset.train, self.train_images),
                recipe.training.test_batch_size,
                None if isinstance(self.dataset, TextDataset) else self.dataset.normalisation(torch.channels_last),
                config=recipe.data.loader,
                device=self.config.device,
                shuffle=False,
            )
        }
        if self.config.validation is not None:
            loaders["validation"] = self.config.validation
        return loaders | {"test": self.config.test}

    def _teacher(self) -> tuple[FeatureModel | None, FeatureLayout | None]:
        found = last_teacher(self.config)
        if found is None:
            return None, None
        model = found[0].model.to(self.config.device)
        return model, describe(model, self.config.input_form)

    def _knows_the_classes(self) -> bool:
        found = last_teacher(self.config)
        return found is not None and knows_the_classes(found[0], self.config)

    def _student(self, number: int) -> FeatureModel:
        weights = self.run.path / STAGES / str(number) / STUDENT
        if not weights.is_file():
            raise UserError(f"{weights} is missing: the student at the end of stage {number} cannot be analysed")
        config = replace(self.config.recipe.student, weights=str(weights))
        return load_model(config, self.dataset, "student").to(self.config.device)

    def _predicted(
        self, model: FeatureModel, layout: FeatureLayout | None, loaders: Mapping[str, Loader], text: str
    ) -> Predicted:
        names = _compared(layout)
        return {
            part: predict(
                model,
                self.track(loader.epoch(0), len(loader), f"{text}, {part}"),
                self.config.recipe.runtime,
                names if part == "test" else (),
                CKA_IMAGES,
            )
            for part, loader in loaders.items()
        }


def _compared(layout: FeatureLayout | None) -> tuple[str, ...]:
    """The features whose similarity is measured: of the stages, and the one that the classifier reads."""
    if layout is None:
        return ()
    pooled = [layout.pooled] if any(len(shape) == 1 for shape in layout.features.values()) else []
    return tuple(dict.fromkeys([*layout.stages, *pooled]))


def _chosen(split: Split | Texts, wanted: int) -> Split | Texts:
    """At most so many samples, of each class its share; without known labels those of equal distance."""
    if len(split) <= wanted:
        return split
    labels = split.known_labels()
    if labels is None:
        return split.take(torch.linspace(0, len(split) - 1, wanted).long())
    return split.take(torch.nonzero(stratified_mask(labels.cpu(), split.classes, wanted))[:, 0])


def _check_data(run: Run, dataset: Dataset | TextDataset) -> None:
    known = run.identity
    for part, fingerprint in dataset.fingerprints().items():
        if known.get(f"fingerprints.{part}") != fingerprint:
            raise UserError(f"{run.path}: the {part} images are not those that the run was trained with")
