"""A network among images of another normalisation and classes in another order."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from smskd.interfaces.features import LOGITS, FeatureModel
from smskd.models import adapt, parameters
from smskd.models.as_learned import AsLearned, with_class_order, with_normalisation
from smskd.models.frozen import Frozen
from smskd.models.probe import readable_names
from smskd.teacher_cache.key import structure, weights
from tests.support import tiny
from tests.support.facts_cases import simkd_student
from tests.support.own_data import network

BYTES = torch.randint(0, 256, (4, 1, 8, 8), generator=torch.Generator().manual_seed(1)).float() / 255
LEARNED, GIVEN = ((0.3,), (0.4,)), ((0.05,), (0.07,))
ORDER = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]


def normalised(statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    return (BYTES - statistics[0][0]) / statistics[1][0]


def own_network() -> FeatureModel:
    return adapt(network(4, seed=3), tiny.EXAMPLE).eval()


class Scaled(nn.Module):
    """Its last linear layer is not what gives the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.bias = network(2, seed=4), nn.Parameter(torch.arange(10.0))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x) + self.bias
        return logits


def scaled() -> FeatureModel:
    return adapt(Scaled(), tiny.EXAMPLE).eval()


NETWORKS: list[Callable[[], FeatureModel]] = [tiny.teacher, own_network, simkd_student, scaled]


@pytest.mark.parametrize("make", NETWORKS)
def test_images_in_another_normalisation(make: Callable[[], FeatureModel]) -> None:
    model = make().eval()
    names = readable_names(model)
    with torch.no_grad():
        expected = model.extract(normalised(LEARNED), names)
        fitted = with_normalisation(model, LEARNED, GIVEN).eval()
        found = fitted.extract(normalised(GIVEN), names)
        assert readable_names(fitted) == names
        assert fitted.classifier is model.classifier
        for name in names:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fitted(normalised(GIVEN)), expected[LOGITS], rtol=1e-4, atol=1e-4)
        # Folded, and in channels-last format:
        frozen = Frozen(fitted, tiny.EXAMPLE).extract(normalised(GIVEN), names)
        for name in names:
            torch.testing.assert_close(frozen[name], expected[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("make", NETWORKS)
def test_classes_in_another_order(make: Callable[[], FeatureModel]) -> None:
    model = make().eval()
    with torch.no_grad():
        expected = model(BYTES)[:, ORDER]
        features = model.extract(BYTES, model.feature_names)
        fitted = with_class_order(model, ORDER, tiny.EXAMPLE).eval()
        assert torch.allclose(fitted(BYTES), expected, rtol=1e-5, atol=1e-5)
        found = fitted.extract(BYTES, (*fitted.feature_names, LOGITS))
        assert torch.allclose(found.pop(LOGITS), expected, rtol=1e-5, atol=1e-5)
        assert all(torch.equal(value, features[name]) for name, value in found.items())


def test_a_linear_classifier_is_permuted_so_that_methods_which_reuse_it_have_the_order() -> None:
    model = tiny.teacher()
    assert model.classifier is not None
    rows = model.classifier.weight.detach().clone()
    assert with_class_order(model, ORDER, tiny.EXAMPLE) is model
    assert torch.equal(model.classifier.weight, rows[ORDER])


@pytest.mark.parametrize("make", [simkd_student, scaled])
def test_any_other_network_is_left_as_it_is(make: Callable[[], FeatureModel]) -> None:
    model = make().eval()
    before = tiny.bits(model)
    fitted = with_class_order(model, ORDER, tiny.EXAMPLE)
    assert isinstance(fitted, AsLearned)
    assert fitted.classifier is None
    assert tiny.same(tiny.bits(model), before)


def test_hashes_cover_the_map_and_the_order() -> None:
    model = simkd_student()
    fitted = [
        model,
        with_normalisation(model, LEARNED, GIVEN),
        with_normalisation(model, LEARNED, ((0.05,), (0.08,))),
        AsLearned(model, order=ORDER),
        AsLearned(model, order=ORDER[::-1]),
    ]
    assert len({weights(each.wrapped) for each in fitted}) == len(fitted)
    assert len({structure(each) for each in fitted}) == 2
    assert len({parameters(each.wrapped) for each in fitted}) == 1


def test_hashes_cover_where_the_features_of_an_inner_network_are_read() -> None:
    def behind(module: str) -> FeatureModel:
        return AsLearned(adapt(network(2, seed=1), tiny.EXAMPLE, {"stage1": module}), (1.0,), (0.0,))

    assert structure(behind("2")) == structure(behind("2")) != structure(behind("5"))
