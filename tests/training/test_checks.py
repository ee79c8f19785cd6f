"""A later stage that could not begin is refused before the first is trained."""

from pathlib import Path

import pytest

from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.stage import StageConfig
from smskd.errors import UserError
from smskd.methods.kdsvd import KDSVD
from smskd.runs.folder import METRICS
from tests.support import tiny


def refused(made: object, folder: Path) -> str:
    with pytest.raises(UserError) as error:
        tiny.trained(made, folder)  # type: ignore[arg-type]
    assert not (folder / METRICS).exists()
    return str(error.value)


def test_shapes_that_do_not_fit_in_the_second_stage(tmp_path: Path) -> None:
    recipe = tiny.recipe([(StageConfig(ends_after=1), ["kd"]), (StageConfig(), [KDSVD()])], epochs=2)
    assert refused(tiny.built(recipe), tmp_path).startswith("stages.1: kdsvd: ")


def test_an_anchor_that_needs_a_teacher(tmp_path: Path) -> None:
    stages = [(StageConfig(ends_after=1), []), (StageConfig(), [])]
    recipe = tiny.recipe(stages, epochs=2, anchor=ReferenceKL(tcp_from="teacher"))
    made = tiny.built(recipe)
    without = type(made)(**{**vars(made), "teachers": (None, None)})
    assert "teacher" in refused(without, tmp_path)
