"""What trackers are told of a run. Training does not depend on them: one that fails is left out from then on."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smskd.trackers.opening import accelerate_state, open_tracker
from smskd.training.accuracy import transitions
from smskd.training.config import RunConfig
from smskd.training.pretraining import PretrainingReport
from smskd.training.reports import EpochReport

IMAGES = 8
"""Forgotten samples that are shown at the end of a stage."""


class Trackers:
    """The trackers of a run. Nothing is opened before the first report.

    Args:
        config: of the run, whose ``runtime.track`` names them.
        folder: of the run.
        problems: gets a sentence for each tracker that fails.
    """

    def __init__(self, config: RunConfig, folder: Path, problems: list[str]) -> None:
        self._config, self._folder, self._problems = config, folder, problems
        self._open: dict[str, Any] | None = None
        self._previous: Tensor | None = None
        self._last: EpochReport | None = None

    def report(self, found: object) -> None:
        """Logs a report of training; other reports than those of epochs are ignored."""
        if not self._config.recipe.runtime.track:
            return
        if isinstance(found, EpochReport):
            self._epoch(found)
        elif isinstance(found, PretrainingReport):
            values = {f"{found.method}/{name}": loss for name, loss in found.losses.items()}
            values = {f"pretraining/stage {found.stage}/{name}": loss for name, loss in values.items()}
            self._each(found.epoch, lambda tracker: tracker.log(values, step=found.epoch))

    def finish(self) -> None:
        """Closes the trackers."""
        if self._open:
            self._each(0, lambda tracker: tracker.finish())
            self._open = {}

    def _epoch(self, report: EpochReport) -> None:
        if self._last is not None and report.stage != self._last.stage:
            self._previous = self._last.test.correct
        self._last = report
        values = scalars(report, self._previous)
        self._each(report.epoch, lambda tracker: tracker.log(values, step=report.epoch))
        if self._previous is not None and report.epoch == self._config.recipe.stages[report.stage - 1].last:
            images = self._forgotten(self._previous & ~report.test.correct)
            if images is not None:
                shown = {"forgotten samples": images.numpy()}
                self._each(report.epoch, lambda tracker: _log_images(tracker, shown, report.epoch))

    def _forgotten(self, forgotten: Tensor) -> Tensor | None:
        """Some forgotten images, uint8 [n, height, width, channels]; None of texts, or where nothing was forgotten."""
        rows = torch.nonzero(forgotten)[:, 0][:IMAGES]
        found: list[Tensor] = []
        begin = 0
        if not len(rows):
            return None
        for batch in self._config.test.epoch(0):
            if not isinstance(batch.x, Tensor):
                return None
            here = rows[(rows >= begin) & (rows < begin + len(batch.y))] - begin
            found += [_scaled(image) for image in batch.x[here.to(batch.x.device)].float().cpu()]
            begin += len(batch.y)
            if len(found) == len(rows):
                break
        return torch.stack(found).permute(0, 2, 3, 1)

    def _each(self, epoch: int, act: Callable[[Any], None]) -> None:
        if self._open is None:
            self._open = {}
            for name in self._config.recipe.runtime.track:
                self._attempt(name, partial(self._opened, name, epoch))
        for opened, tracker in list(self._open.items()):
            self._attempt(opened, partial(act, tracker))

    def _opened(self, name: str, epoch: int) -> None:
        recipe = self._config.recipe
        assert self._open is not None
        self._open[name] = open_tracker(name, self._folder, f"{recipe.name} seed {recipe.runtime.seed}", epoch)

    def _attempt(self, name: str, act: Callable[[], None]) -> None:
        try:
            with accelerate_state():
                act()
        except Exception as error:  # whatever a tracker fails on, training goes on
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self._problems.append(f"the tracker {name} failed and was left out from then on: {reason}")
            if self._open is not None:
                self._open.pop(name, None)


def scalars(report: EpochReport, previous: Tensor | None) -> dict[str, float]:
    """The numbers of an epoch.

    Args:
        report: of it.
        previous: [N] bool, the test samples that were classified correctly in the last epoch of the stage before; None
            in the first stage, and until the next one where a run has been resumed within a stage.
    """
    values: dict[str, float] = {f"loss/{name}": value for name, value in report.losses.items()}
    accuracies = ("train_top1", "train_top5", "test_top1", "test_top5", "validation_top1", "validation_top5")
    values |= {f"accuracy/{name}": getattr(report, name) for name in accuracies if getattr(report, name) is not None}
    values |= {"learning_rate": report.learning_rate, "stage": report.stage}
    values["images_per_second"] = report.images_per_second
    if previous is not None:
        change = transitions(previous, report.test.correct)
        total = max(1, len(previous))
        values["forgetting/forgotten_percent"] = 100 * change.forgotten / total
        values["forgetting/learned_percent"] = 100 * change.learned / total
    return values


def _scaled(image: Tensor) -> Tensor:
    low, high = image.min(), image.max()
    return ((image - low) / (high - low).clamp_min(1e-12) * 255).to(torch.uint8)


def _log_images(tracker: Any, images: dict[str, Any], epoch: int) -> None:
    if not hasattr(tracker, "log_images"):
        return
    if tracker.name == "tensorboard":
        tracker.log_images(images, step=epoch, dataformats="NHWC")
    elif tracker.name == "aim":  # which takes one image by name
        single = {f"{name} {row}": image for name, rows in images.items() for row, image in enumerate(rows)}
        tracker.log_images(single, step=epoch)
    else:
        tracker.log_images(images, step=epoch)
