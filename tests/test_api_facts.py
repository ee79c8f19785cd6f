"""What networks learned from is compared wherever they are used again: by `distill`, from file or object."""

from pathlib import Path
from typing import Any

import pytest
import torch

import smskd
from smskd import UserError
from smskd import session as training
from smskd.builder.learned import facts_of_data, fitted_teacher
from smskd.data import Augmentation, Dataset, Images
from smskd.models import Facts, create, facts, load_weights, set_facts
from smskd.models.frozen import Frozen
from smskd.objective.student_head import StudentWithHead
from smskd.report.page import Page
from tests.support import tiny
from tests.support.facts_cases import halves, metadata_of, trained_on
from tests.support.own_data import distilled, images, network

NORMALISED = Augmentation(mean=(0.4,), std=(0.3,), padding=0, flip=False)


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts of the page take more time than the runs."""
    monkeypatch.setattr(training, "write_run_report", Page)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has learned the halves, normalised, without an error."""
    folder = tmp_path_factory.mktemp("halves") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "write_run_report", Page)
        result = trained_on(halves(96), augmentation=NORMALISED, out=folder)
    assert result.summary["student"]["top1"] == 100
    return folder


def taught(teacher: torch.nn.Module, data: Any, **changes: Any) -> dict[str, Any]:
    """The summary of a student of one epoch with this teacher."""
    made = create("resnet8_w2", classes=2, channels=1, image_size=(8, 8))
    return trained_on(data, student=made, teacher=teacher, stages=["kd"], epochs=1, **changes).summary


class TestTeachers:
    def test_on_the_data_it_learned_from(self, teacher: Path) -> None:
        summary = taught(smskd.load(teacher), halves(96), augmentation=NORMALISED)
        assert summary["teacher"]["top1_last"] == 100
        assert not [note for note in summary["notes"] if "learned" in note]

    @pytest.mark.parametrize("cache", ["off", "memory"])
    def test_in_another_normalisation(self, teacher: Path, cache: Any) -> None:
        """As the README shows it: `distill(teacher=smskd.load(run), train=data.train)`, without an augmentation."""
        summary = taught(smskd.load(teacher), halves(96), teacher_cache=cache)
        assert summary["teacher"]["top1_last"] == 100
        assert any("and is given images in that normalisation" in note for note in summary["notes"])

    def test_its_outputs_are_those_in_its_own_normalisation(self, teacher: Path) -> None:
        data, other = halves(8), Augmentation(mean=(0.1,), std=(2.0,), padding=0, flip=False)
        outputs = []
        for augmentation in (NORMALISED, other):
            found = Dataset(name="x", train=data, test=data, mean=augmentation.mean, std=augmentation.std)
            model = fitted_teacher(smskd.load(teacher), facts_of_data(found), tiny.EXAMPLE)  # type: ignore[arg-type]
            outputs.append(Frozen(model, tiny.EXAMPLE)(augmentation.apply(data.pixels)))
        assert torch.allclose(*outputs, rtol=1e-3, atol=1e-3)

    def test_with_classes_in_another_order(self, teacher: Path) -> None:
        data = halves(96, ("right", "left"))
        summary = taught(smskd.load(teacher), data, augmentation=NORMALISED)
        assert summary["teacher"]["top1_last"] == 100
        assert any("matched by their names" in note for note in summary["notes"])

    def test_with_other_classes(self, teacher: Path) -> None:
        with pytest.raises(UserError, match=r"^teacher: it has learned other classes \('left', 'right'\)"):
            taught(smskd.load(teacher), Images(halves(96).pixels, halves(96).labels, ("up", "down")))

    def test_the_result_of_distill_is_a_teacher_too(self) -> None:
        result = trained_on(halves(96), augmentation=NORMALISED)
        summary = taught(result.student, halves(96, ("right", "left")))
        assert summary["teacher"]["top1_last"] == 100

    def test_the_given_network_is_left_as_it_is(self, teacher: Path) -> None:
        model = smskd.load(teacher).train()
        before, known = tiny.bits(model), facts(model)
        taught(model, halves(96, ("right", "left")))
        assert tiny.same(tiny.bits(model), before)
        assert facts(model) == known
        assert model.training
        assert all(weight.requires_grad for weight in model.parameters())

    def test_a_network_of_which_nothing_is_known(self, teacher: Path) -> None:
        """It is taken as it is, and fails in another normalisation."""
        model = smskd.load(teacher)
        set_facts(model, None)
        assert taught(model, halves(96, ("right", "left")), augmentation=NORMALISED)["teacher"]["top1_last"] == 0

    def test_resume_compares_the_facts(self, teacher: Path, tmp_path: Path) -> None:
        """A teacher that numbers its classes otherwise has other outputs."""
        model = smskd.load(teacher)
        taught(model, halves(96), augmentation=NORMALISED, out=tmp_path / "run")
        known = facts(model)
        assert known is not None
        set_facts(model, Facts(**{**vars(known), "class_names": ("right", "left")}))
        with pytest.raises(UserError, match=r"was begun with other weights, normalisation or classes of the teacher;"):
            taught(model, halves(96), augmentation=NORMALISED, out=tmp_path / "run", resume=True)


class TestStudents:
    def test_a_student_of_the_zoo_can_be_loaded(self, tmp_path: Path) -> None:
        result = distilled(
            made=tiny.student(), stages=["kd"], epochs=1, train=images("train"), test=images("test"),
            augmentation=NORMALISED, out=tmp_path / "run",
        )  # fmt: skip
        assert metadata_of(tmp_path / "run") == {
            "model": "resnet8_w2",
            "options": {},
            "classes": 10,
            "class_names": list("0123456789"),
            "image_shape": [1, 8, 8],
            "mean": [0.4],
            "std": [0.3],
        }
        loaded = smskd.load(tmp_path / "run")
        assert tiny.same(tiny.bits(loaded), tiny.bits(result.student))
        assert facts(loaded) == facts(result.student)

    def test_a_network_of_ones_own_is_described(self, tmp_path: Path) -> None:
        result = distilled(stages=["kd"], epochs=1, out=tmp_path / "run")
        assert metadata_of(tmp_path / "run") == {
            "network": "torch.nn.modules.container:Sequential",
            "classes": 10,
            "class_names": list("0123456789"),
            "image_shape": [1, 8, 8],
        }
        with pytest.raises(UserError, match=r"a network of your own \(torch.nn.modules.container:Sequential\)"):
            smskd.load(tmp_path / "run")
        loaded = smskd.load(tmp_path / "run", model=network(2, seed=9))
        assert tiny.same(tiny.bits(loaded), tiny.bits(result.student))

    def test_with_the_head_of_simkd(self, tmp_path: Path) -> None:
        given = tiny.student()
        result = distilled(
            made=given, teacher=tiny.teacher(), stages=["simkd"], epochs=1, train=images("train"), test=images("test"),
            out=tmp_path / "run",
        )  # fmt: skip
        assert isinstance(result.student, StudentWithHead)
        assert result.student.backbone is given
        found = facts(result.student)
        assert found is not None
        assert len(found.heads) == 1
        loaded = smskd.load(tmp_path / "run")
        x = torch.rand(3, 1, 8, 8)
        assert torch.allclose(loaded(x), result.student(x), rtol=1e-4, atol=1e-5)
        assert facts(loaded) == found
        summary = distilled(
            made=network(2, seed=1), teacher=loaded, stages=["kd"], epochs=1, train=images("train"),
            test=images("test"),
        ).summary  # fmt: skip
        assert summary["teacher"]["top1_last"] == result.summary["student"]["top1"]

    def test_a_student_that_learns_on_forgets_what_it_was_given(self, teacher: Path) -> None:
        student = smskd.load(teacher)
        result = trained_on(halves(96, ("right", "left")), student=student, epochs=1)
        assert result.student is student
        found = facts(student)
        assert found is not None
        assert (found.class_names, found.mean, found.std) == (("right", "left"), (0.0,), (1.0,))

    def test_its_classes_are_put_in_the_order_of_the_data(self, teacher: Path) -> None:
        student = smskd.load(teacher)
        frozen = {"optimizer": smskd.OptimizerConfig(learning_rate=1e-12), "augmentation": NORMALISED}
        result = trained_on(halves(96, ("right", "left")), student=student, epochs=1, **frozen)
        assert result.summary["student"]["top1"] == 100

    def test_load_weights_is_as_before(self, teacher: Path) -> None:
        model = create("resnet8_w4", classes=2, channels=1, image_size=(8, 8))
        load_weights(model, teacher)
        assert tiny.same(tiny.bits(model), tiny.bits(smskd.load(teacher)))
