"""Accuracies of epochs that follow a script instead of the student."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from smskd.training import epoch as epoch_module
from smskd.training.accuracy import Accuracy


def script_accuracies(monkeypatch: pytest.MonkeyPatch, *, test: Sequence[float], validation: Sequence[float]) -> None:
    """Replaces the top-1 accuracies of each epoch, on the test set and on the validation split, in percent."""
    left = iter([value for pair in zip(test, validation, strict=True) for value in pair])
    evaluate = epoch_module.evaluate

    def scripted(*arguments: Any, **options: Any) -> Accuracy:
        return replace(evaluate(*arguments, **options), top1=next(left))

    monkeypatch.setattr(epoch_module, "evaluate", scripted)
