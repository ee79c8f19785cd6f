"""Several teachers in one stage: each method is compared with each of them, and the losses are averaged."""

from pathlib import Path
from typing import Any

import pytest
import torch

from smskd import StageConfig
from smskd.anchors.reference_kl import ReferenceKL
from smskd.config.base import ComponentConfig
from smskd.config.cache import CacheConfig
from smskd.config.models import FurtherTeacherConfig, TeacherConfig
from smskd.errors import UserError
from smskd.interfaces.features import LOGITS
from smskd.methods.fitnet import FitNet
from smskd.methods.ft import FT
from smskd.models import save_weights
from smskd.models.several import SeveralTeachers
from smskd.objective import build_objective
from smskd.recipe import Recipe, parse
from smskd.runs.folder import RunFolder
from smskd.strategies.resolve import resolve
from smskd.strategies.spot_adaptive import SpotAdaptive
from smskd.training.identity import Identity
from tests.support import own_data, tiny
from tests.support.objectives import batch, objective

WIDTHS = ("resnet8_w4", "resnet14_w2")


def both(*weights: float) -> SeveralTeachers:
    return SeveralTeachers([tiny.student(2, WIDTHS[0]), tiny.student(3, WIDTHS[1])], weights or None)


@pytest.mark.parametrize("method", ["kd", "vid", "sp", "rkd", FitNet(3), tiny.SMALL_CRD], ids=str)
def test_the_losses_are_the_weighted_mean_of_those_with_each_teacher(method: Any) -> None:
    several = both(1.0, 3.0)
    made = build_objective(tiny.student(), several, methods=[method], example=tiny.EXAMPLE, data=tiny.loader().info)
    item, name = batch(), made.methods[0].name.partition(".")[0]
    assert [term.name for term in made.methods] == [f"{name}.teacher1", f"{name}.teacher2"]
    parts = made(item).parts
    for number, (member, share) in enumerate(zip(several.members, (0.25, 0.75), strict=True)):
        single = build_objective(
            tiny.student(), member, methods=[method], example=tiny.EXAMPLE, data=tiny.loader().info
        )
        single.term_states.load_state_dict(
            {
                key.removeprefix(f"{number}.").join(("0.", "")): value
                for key, value in made.term_states.state_dict().items()
                if key.startswith(f"{number}.") and not key.endswith("_extra_state")
            },
            strict=False,
        )
        own = sum(value for part, value in parts.items() if part.startswith(f"{name}.teacher{number + 1}"))
        expected = sum(value for part, value in single(item).parts.items() if part.partition(".")[0] == name)
        if name != "crd":  # whose negatives are drawn
            torch.testing.assert_close(own, share * expected, rtol=1e-5, atol=1e-6)
    assert len(made.term_states) == 2


def test_the_gradient_of_kd_is_that_of_the_ensemble() -> None:
    """KL is linear in the target's probabilities but for a constant."""
    logits = [teacher(batch().x) for teacher in (member.eval() for member in both().members)]
    z = torch.randn(tiny.BATCH, tiny.CLASSES, requires_grad=True)
    several = both()
    made = build_objective(tiny.student(), several, methods=["kd"], example=tiny.EXAMPLE)
    from smskd.interfaces.features import TappedOutputs
    from smskd.interfaces.terms import TermInputs

    total = torch.zeros(())
    for term, own in zip(made.methods, logits, strict=True):
        inputs = TermInputs(batch(), TappedOutputs(z), TappedOutputs(own.detach()))
        total = total + term.weight * term.term.loss(inputs, term.state)["kd"].mean()
    total.backward()
    mean = torch.stack([(own.detach() / 4).softmax(1) for own in logits]).mean(0)
    other = z.detach().clone().requires_grad_()
    (0.9 * 16 * torch.nn.functional.kl_div((other / 4).log_softmax(1), mean, reduction="batchmean")).backward()
    torch.testing.assert_close(z.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_the_logits_are_those_of_the_ensemble() -> None:
    several, x = both(1.0, 3.0).eval(), batch().x
    found = several.extract(x, (LOGITS, "teacher1.logits", "teacher2.stage1", "teacher1.stage2.preact"))
    first, second = (member(x).softmax(1) for member in several.members)
    torch.testing.assert_close(found[LOGITS].softmax(1), 0.25 * first + 0.75 * second)
    assert torch.equal(found["teacher1.logits"], several.members[0](x))
    assert found["teacher2.stage1"].shape[1] == 2
    with pytest.raises(KeyError):
        several.extract(x, ("teacher3.stage1",))


def test_a_phase_before_the_stage_is_trained_for_each() -> None:
    made = objective([FT(init_epochs=1)])
    assert len(made.pretraining_phases()) == 1
    made = build_objective(tiny.student(), both(), methods=[FT(init_epochs=1)], example=tiny.EXAMPLE)
    phases = made.pretraining_phases()
    assert [phase.name for phase in phases] == ["ft.teacher1", "ft.teacher2"]
    assert all(bool(phase.loss(batch())["reconstruction"] > 0) for phase in phases)


def saved(folder: Path) -> TeacherConfig:
    files = []
    for number, name in enumerate(WIDTHS):
        files.append(folder / f"{name}.safetensors")
        save_weights(tiny.student(2 + number, name), files[-1])
    return TeacherConfig(WIDTHS[0], str(files[0]), others=(FurtherTeacherConfig(WIDTHS[1], str(files[1]), weight=0.5),))


def recipe(folder: Path, *, cache: str = "off", methods: tuple[str, ...] = ("kd", "rkd"), **changes: Any) -> Recipe:
    from dataclasses import replace

    mapping = {
        "data": {"source": "digits", "subset": {"train": tiny.TRAIN, "test": tiny.TEST}},
        "student": "resnet8_w2",
        "teacher": {"name": WIDTHS[0], "weights": str(folder / f"{WIDTHS[0]}.safetensors")},
        "training": {"epochs": 2, "batch_size": tiny.BATCH},
        "runtime": {"device": "cpu"},
        "stages": [{"methods": list(methods), "ends_after": 1}, {"methods": list(methods)}],
    }
    teacher = replace(saved(folder), cache=CacheConfig(mode=cache))  # type: ignore[arg-type]
    return replace(parse(mapping), teacher=teacher, **changes)


@pytest.mark.parametrize("cache", ["off", "memory"])
def test_trains_from_a_recipe_and_goes_on_bit_by_bit(cache: str, tmp_path: Path) -> None:
    from smskd.build import build
    from smskd.training.globals import preserved_globals

    def made() -> Any:
        with preserved_globals():
            return build(resolve(recipe(tmp_path, cache=cache, anchor=ReferenceKL(tcp_from="teacher"))))

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    cut.mkdir()
    reports = tiny.trained(made(), whole)
    assert {"kd.teacher1", "kd.teacher2"} <= set(reports[0].losses)
    assert (reports[0].cache_hits is not None) == (cache != "off")
    begun = tiny.epochs_of(made(), cut)
    next(begun)
    begun.close()
    tiny.trained(made(), cut)
    assert tiny.outcome(cut) == tiny.outcome(whole)
    checkpoint = RunFolder(whole).load_checkpoint()
    assert checkpoint is not None


def test_one_teacher_a_stage(tmp_path: Path) -> None:
    config = saved(tmp_path)
    first = TeacherConfig(config.name, config.weights)
    second = TeacherConfig(config.others[0].name, config.others[0].weights)
    stages = (
        StageConfig(methods=(ComponentConfig("kd", {}),), ends_after=1, teacher=first),
        StageConfig(methods=(ComponentConfig("fitnet", {}),), teacher=second),
    )
    from smskd.build import build
    from smskd.training.globals import preserved_globals

    with preserved_globals():
        made = build(resolve(recipe(tmp_path, stages=stages)))
    assert [type(frozen.model).__name__ for frozen in made.teachers if frozen] == ["ResNet", "ResNet"]
    assert made.teachers[0] is not made.teachers[1]
    assert [list(report.losses)[2] for report in tiny.trained(made, tmp_path / "run")] == ["kd", "fitnet"]


def test_through_distill() -> None:
    reports: list[Any] = []
    own_data.distilled(
        made=tiny.student(), teacher=both(), methods=["at"], strategy="sequential", epochs=1, on_epoch=reports.append
    )
    assert "at.teacher2.level0" in reports[0].losses


def test_a_single_teacher_has_the_identity_that_it_had(tmp_path: Path) -> None:
    facts = Identity.of(resolve(recipe(tmp_path)).as_mapping(), {}).facts
    assert any(key.startswith("teacher.others") for key in facts)
    alone = Identity.of({"teacher": {"name": "resnet14", "others": []}}, {}).facts
    assert set(alone) == {"semantics", "teacher.name"}


class TestRefusal:
    def test_of_teachers_of_other_classes(self) -> None:
        teachers = SeveralTeachers([tiny.student(2), own_classes()])
        with pytest.raises(UserError, match="must have the same classes, and they have 10, 7"):
            build_objective(tiny.student(), teachers, methods=["kd"], example=tiny.EXAMPLE)

    def test_of_two_heads(self) -> None:
        teachers = SeveralTeachers([tiny.teacher(), tiny.teacher(4)])
        with pytest.raises(UserError, match=r"simkd\.teacher1 and simkd\.teacher2 both replace"):
            build_objective(tiny.student(), teachers, methods=["simkd"], example=tiny.EXAMPLE)

    def test_of_spot_adaptive_distillation(self) -> None:
        wanted = tiny.recipe([(StageConfig(), ["kd"])], epochs=1, strategy=SpotAdaptive())
        from smskd.training.state import TrainingState

        with pytest.raises(UserError, match="spot_adaptive has one teacher a stage, and there are 2"):
            TrainingState(tiny.built(wanted, source=both())).begin_stage(0)

    @pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0)])
    def test_of_weights(self, weights: tuple[float, ...]) -> None:
        with pytest.raises(UserError, match="each with a positive weight"):
            both(*weights)


def own_classes() -> Any:
    from smskd import models

    return models.create("resnet8_w2", classes=7, channels=1, image_size=(8, 8))
