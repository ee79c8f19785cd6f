"""EWC against its formula, and its state from stage to stage."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from smskd.anchors._fisher import diagonal_fisher
from smskd.anchors.ewc import EWC, ewc_loss
from smskd.errors import UserError
from smskd.interfaces.batch import Batch
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads, TappedOutputs
from smskd.interfaces.terms import DataInfo, TermInputs


def network(seed: int, classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = (nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, classes))
        return nn.Sequential(*layers).double().eval()


def batch(seed: int) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(6, 1, 2, 2, generator=draws, dtype=torch.float64), torch.arange(6) % 3)


def built(anchor: EWC) -> nn.Module:
    info = ModelInfo((), 3)
    return anchor.build(info, None, DataInfo(6, 3, 6))


def after_stages(anchor: EWC, *seeds: int) -> nn.Module:
    state = built(anchor)
    for seed in seeds:
        anchor.end_of_stage(network(seed), [batch(seed)], state)  # type: ignore[arg-type]
    return state


def inputs(student: nn.Module, reference: nn.Module) -> TermInputs:
    reference_weights = {name: tensor.detach() for name, tensor in reference.named_parameters()}
    student_weights = dict(student.named_parameters())
    return TermInputs(batch(0), TappedOutputs(), weights=student_weights, reference_weights=reference_weights)


def loss(anchor: EWC, state: nn.Module, student: nn.Module, reference: nn.Module) -> Tensor:
    return anchor.loss(inputs(student, reference), state)["ewc"]


def value(anchor: EWC, state: nn.Module, student: nn.Module, reference: nn.Module) -> float:
    return float(loss(anchor, state, student, reference).detach())


def by_hand(student: nn.Module, reference: nn.Module, fisher: dict[str, Tensor]) -> float:
    total = 0.0
    for (name, own), old in zip(student.named_parameters(), reference.parameters(), strict=True):
        triples = zip(*(tensor.flatten().tolist() for tensor in (own, old, fisher[name])), strict=True)
        total += sum(factor * (w - w_old) ** 2 for w, w_old, factor in triples)
    return total / 2


@pytest.mark.parametrize("fisher", ["exact", "sampled", "empirical", "batched"])
def test_equals_the_formula_with_the_information_of_the_last_stage(fisher: Any) -> None:
    anchor = EWC(fisher=fisher, samples=None)
    expected = by_hand(network(9), network(2), diagonal_fisher(network(2), [batch(2)], estimator=fisher))
    assert expected > 0
    assert value(anchor, after_stages(anchor, 1, 2), network(9), network(2)) == pytest.approx(expected, rel=1e-12)


def test_estimates_from_the_number_of_samples() -> None:
    anchor = EWC(samples=4)
    expected = by_hand(network(9), network(1), diagonal_fisher(network(1), [batch(1)], samples=4))
    assert value(anchor, after_stages(anchor, 1), network(9), network(1)) == pytest.approx(expected, rel=1e-12)


def test_online_the_information_of_earlier_stages_decays() -> None:
    anchor = EWC(decay=0.5)
    fishers = [diagonal_fisher(network(seed), [batch(seed)]) for seed in (1, 2, 3)]
    summed = {name: 0.25 * first + 0.5 * fishers[1][name] + fishers[2][name] for name, first in fishers[0].items()}
    expected = by_hand(network(9), network(3), summed)
    found = value(anchor, after_stages(anchor, 1, 2, 3), network(9), network(3))
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_gradient_is_the_information_times_the_difference() -> None:
    anchor, student, reference = EWC(), network(9), network(1)
    loss(anchor, after_stages(anchor, 1), student, reference).backward()
    fisher = diagonal_fisher(reference, [batch(1)])
    for (name, own), old in zip(student.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own.grad, fisher[name] * (own - old).detach(), rtol=1e-12, atol=1e-15)
        assert old.grad is None


def test_zero_at_the_reference() -> None:
    anchor = EWC()
    assert value(anchor, after_stages(anchor, 1), network(1), network(1)) == 0


def test_computes_in_float32_under_autocast() -> None:
    weights, old, fisher = ({"w": torch.full((3,), value)} for value in (1.0, 0.9, 2.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ewc_loss(weights, old, fisher)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(0.03, rel=1e-5)


class TestFreeParameters:
    def test_those_of_another_shape(self) -> None:
        anchor, student = EWC(), network(9, classes=5)
        loss(anchor, after_stages(anchor, 1), student, network(1)).backward()
        with_gradient = {name for name, parameter in student.named_parameters() if parameter.grad is not None}
        assert with_gradient == {"0.weight", "0.bias"}

    def test_not_all_of_them(self) -> None:
        anchor = EWC()
        with pytest.raises(UserError, match="ewc: no Fisher information of the student's parameters"):
            loss(anchor, built(anchor), network(9), network(1))
        with pytest.raises(UserError, match="ewc: no Fisher information of the student's parameters"):
            anchor.loss(TermInputs(batch(0), TappedOutputs(), weights={"w": torch.ones(2)}), after_stages(anchor, 1))


class TestState:
    def test_through_safetensors(self, tmp_path: Path) -> None:
        anchor = EWC(decay=0.5)
        state = after_stages(anchor, 1)
        save_file(state.state_dict(), tmp_path / "state.safetensors")
        loaded = built(anchor)
        loaded.load_state_dict(load_file(tmp_path / "state.safetensors"))
        for made in (state, loaded):
            anchor.end_of_stage(network(2), [batch(2)], made)  # type: ignore[arg-type]
        assert loaded.state_dict().keys() == state.state_dict().keys()
        assert torch.equal(*(loss(anchor, made, network(9), network(2)) for made in (state, loaded)))

    def test_within_a_module_list(self) -> None:
        """As the objective saves it, beside the states of the methods."""
        anchor = EWC()
        saved = nn.ModuleList([nn.Linear(2, 2), after_stages(anchor, 1)]).state_dict()
        loaded = nn.ModuleList([nn.Linear(2, 2), built(anchor)])
        loaded.load_state_dict(saved)
        assert torch.equal(
            loss(anchor, loaded[1], network(9), network(1)),
            loss(anchor, after_stages(anchor, 1), network(9), network(1)),
        )

    def test_empty_before_the_first_stage_ends(self) -> None:
        assert not built(EWC()).state_dict()
        built(EWC()).load_state_dict({})

    @pytest.mark.filterwarnings("ignore:for fisher/.*meta parameter")
    def test_loads_onto_the_device_of_the_module(self) -> None:
        loaded = built(EWC()).to("meta")
        loaded.load_state_dict(after_stages(EWC(), 1).state_dict())
        assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"meta"}

    def test_a_missing_tensor_is_an_error(self) -> None:
        state = after_stages(EWC(), 1)
        with pytest.raises(RuntimeError, match="Missing key"):
            state.load_state_dict({})

    def test_copied(self) -> None:
        anchor = EWC()
        state = after_stages(anchor, 1)
        copied = copy.deepcopy(state)
        anchor.end_of_stage(network(2), [batch(2)], state)  # type: ignore[arg-type]
        kept = loss(anchor, copied, network(9), network(1))
        assert torch.equal(kept, loss(anchor, after_stages(anchor, 1), network(9), network(1)))

    def test_changed_in_place_by_the_next_stage(self) -> None:
        anchor = EWC()
        state = after_stages(anchor, 1)
        before = {name: tensor.data_ptr() for name, tensor in state.named_buffers()}
        anchor.end_of_stage(network(2), [batch(2)], state)  # type: ignore[arg-type]
        assert {name: tensor.data_ptr() for name, tensor in state.named_buffers()} == before

    def test_another_student_replaces_it(self) -> None:
        anchor = EWC(decay=0.5)
        state = after_stages(anchor, 1)
        other = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double().eval()
        anchor.end_of_stage(other, [batch(1)], state)  # type: ignore[arg-type]
        assert [tuple(tensor.shape) for tensor in state.state_dict().values()] == [(3, 4), (3,)]

    def test_parameters_may_have_the_names_of_module_attributes(self) -> None:
        model = nn.Sequential(nn.Flatten())
        model.add_module("half/eval", nn.Linear(4, 3))
        model.double().eval()
        anchor, state = EWC(), built(EWC())
        anchor.end_of_stage(model, [batch(1)], state)  # type: ignore[arg-type]
        student = copy.deepcopy(model)
        with torch.no_grad():
            student[1].bias += 1
        fisher = diagonal_fisher(model, [batch(1)])["half/eval.bias"]
        assert value(anchor, state, student, model) == pytest.approx(float(fisher.sum()) / 2, rel=1e-9)


def test_reads_weights_alone_and_is_refused_in_the_first_stage() -> None:
    assert EWC().reads(FeatureLayout({"pooled": (2,)}, classes=3), None) == Reads(weights=True)
    assert not EWC.first_stage


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -1}, "weight must be 0 or more, not -1"),
        ({"weight": math.inf}, "weight must be 0 or more, not inf"),
        ({"decay": 1.5}, "decay must be between 0 and 1, not 1.5"),
        ({"samples": 0}, "samples must be a whole number of 1 or more, not 0"),
        ({"fisher": "sample"}, "unknown fisher 'sample'; did you mean 'sampled'"),
    ],
)
def test_refuses_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EWC(**values)
