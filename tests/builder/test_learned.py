"""Teachers and students among the data of a run: size, normalisation and classes."""

from dataclasses import replace

import pytest
import torch

from smskd.builder.learned import class_order, differences, facts_of_data, fitted_student, fitted_teacher
from smskd.data import Augmentation, StreamedSamples
from smskd.errors import UserError
from smskd.models import Facts, facts, set_facts
from smskd.models.as_learned import AsLearned
from tests.support import tiny
from tests.support.facts_cases import KNOWN, NAMES, halves, known_network, simkd_student
from tests.support.own_data import floats

DATA = replace(KNOWN, model=None)
SHUFFLED = NAMES[::-1]


class TestData:
    def test_images_in_memory(self) -> None:
        digits = tiny.digits()
        known = facts_of_data(digits)
        assert known == Facts(
            classes=10, class_names=tuple("0123456789"), image_shape=(1, 8, 8), mean=digits.mean, std=digits.std
        )

    def test_an_augmentation_of_ones_own(self) -> None:
        known = facts_of_data(tiny.digits(), Augmentation(mean=(0.25,), std=(0.75,)))
        assert (known.mean, known.std) == ((0.25,), (0.75,))

    def test_the_normalisation_of_floats_is_not_known(self) -> None:
        streamed = StreamedSamples(floats("train"), NAMES)
        known = facts_of_data(replace(tiny.digits(), train=streamed, test=streamed))
        assert (known.class_names, known.mean, known.std) == (NAMES, None, None)


class TestClasses:
    @pytest.mark.parametrize(
        ("own", "wanted", "order"),
        [
            (("a", "b", "c"), ("a", "b", "c"), None),
            (("a", "b", "c"), ("c", "a", "b"), (2, 0, 1)),
            (("0", "1", "2"), ("c", "a", "b"), None),
            (("a", "b", "c"), ("0", "1", "2"), None),
            (("1", "10", "2"), ("1", "2", "10"), (0, 2, 1)),
            (("a", "a", "b"), ("a", "a", "b"), None),
            (None, ("a", "b"), None),
        ],
    )
    def test_the_order(
        self, own: tuple[str, ...] | None, wanted: tuple[str, ...], order: tuple[int, ...] | None
    ) -> None:
        assert class_order(Facts(class_names=own), Facts(class_names=wanted)) == order

    @pytest.mark.parametrize(
        ("own", "wanted", "message"),
        [
            (("a", "b"), ("a", "c"), r"it has learned other classes \('a', 'b'\) than .* which have 'c'"),
            (("a", "b", "b"), ("b", "a", "b"), "names occur twice"),
        ],
    )
    def test_other_classes(self, own: tuple[str, ...], wanted: tuple[str, ...], message: str) -> None:
        with pytest.raises(UserError, match=message):
            class_order(Facts(class_names=own), Facts(class_names=wanted))


class TestTeacher:
    def test_the_same_data_change_nothing(self) -> None:
        model = known_network()
        before = tiny.bits(model)
        assert fitted_teacher(model, DATA, tiny.EXAMPLE) is model
        assert tiny.same(tiny.bits(model), before)
        assert not list(differences(KNOWN, DATA))

    def test_nothing_is_known(self) -> None:
        model = known_network()
        set_facts(model, None)
        assert fitted_teacher(model, replace(DATA, class_names=SHUFFLED, mean=(0.5,)), tiny.EXAMPLE) is model

    def test_another_order_and_normalisation(self) -> None:
        model, twin = known_network().eval(), known_network().eval()
        data = replace(DATA, class_names=SHUFFLED, mean=(0.6,), std=(0.9,))
        fitted = fitted_teacher(model, data, tiny.EXAMPLE).eval()
        x = torch.rand(3, 1, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(fitted((x - 0.6) / 0.9), twin((x - 0.3) / 0.4).flip(1), rtol=1e-4, atol=1e-5)
        notes = list(differences(KNOWN, data))
        assert "matched by their names" in notes[0]
        assert notes[1].startswith("it learned from images with mean 0.3 and standard deviation 0.4")

    def test_floats_are_taken_as_they_are_and_told(self) -> None:
        model, data = known_network(), replace(DATA, mean=None, std=None)
        assert fitted_teacher(model, data, tiny.EXAMPLE) is model
        assert list(differences(KNOWN, data)) == [
            "it learned from images with mean 0.3 and standard deviation 0.4; the images of this run are floats, and "
            "were taken as they are."
        ]

    def test_a_classifier_that_has_been_replaced_has_no_class_names(self) -> None:
        model = known_network()
        model.fc = torch.nn.Linear(8, 2)  # type: ignore[assignment]
        data = replace(DATA, classes=2, class_names=("left", "right"))
        assert fitted_teacher(model, data, tiny.EXAMPLE) is model

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"image_shape": (1, 32, 32)}, "from images of 32x32 pixels, these have 8x8: bring them to one size"),
            ({"image_shape": (3, 8, 8)}, "from images of 3 channels, these have 1"),
            ({"class_names": ("z", *NAMES[1:])}, "it has learned other classes"),
        ],
    )
    def test_is_refused(self, changes: dict[str, object], message: str) -> None:
        model = known_network(known=replace(KNOWN, **changes))  # type: ignore[arg-type]
        with pytest.raises(UserError, match=message):
            fitted_teacher(model, DATA, tiny.EXAMPLE)

    def test_another_number_of_classes_is_left_to_the_losses(self) -> None:
        model = known_network()
        data = replace(DATA, classes=2, class_names=("a", "b"))
        fitted = fitted_teacher(model, data, tiny.EXAMPLE)
        assert torch.equal(fitted.eval()(tiny.EXAMPLE), model.eval()(tiny.EXAMPLE))


class TestStudent:
    def test_its_classes_are_put_in_order(self) -> None:
        model, twin = known_network().eval(), known_network().eval()
        data = replace(DATA, class_names=SHUFFLED)
        assert fitted_student(model, data, tiny.EXAMPLE) is model
        x = torch.rand(3, 1, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(model(x), twin(x).flip(1))
        assert facts(model) == replace(KNOWN, class_names=SHUFFLED)
        assert fitted_student(model, data, tiny.EXAMPLE) is model
        with torch.no_grad():
            torch.testing.assert_close(model(x), twin(x).flip(1))

    def test_other_classes_and_normalisations_are_learned(self) -> None:
        model = known_network()
        before = tiny.bits(model)
        data = replace(DATA, class_names=tuple("klmnopqrst"), mean=(0.5,), image_shape=(1, 16, 16))
        assert fitted_student(model, data, tiny.EXAMPLE) is model
        assert tiny.same(tiny.bits(model), before)

    def test_one_that_cannot_be_put_in_order(self) -> None:
        student = simkd_student()
        set_facts(student, KNOWN)
        with pytest.raises(UserError, match=r"bring the data to their order, 'a', 'b', 'c', \.\.\. 10 in all"):
            fitted_student(student, replace(DATA, class_names=SHUFFLED), tiny.EXAMPLE)


def test_a_wrapped_teacher_is_not_a_copy() -> None:
    model = known_network()
    fitted = fitted_teacher(model, replace(DATA, mean=(0.5,)), tiny.EXAMPLE)
    assert isinstance(fitted, AsLearned)
    assert fitted.model is model


def test_halves_are_labelled_by_name() -> None:
    left, right = halves(4), halves(4, ("right", "left"))
    assert left.labels.tolist() == [0, 1, 0, 1]
    assert right.labels.tolist() == [1, 0, 1, 0]
    assert torch.equal(left.pixels, right.pixels)
