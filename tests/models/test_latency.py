"""The latency of a model, measured without changing it."""

import pytest
import torch

from smskd.models.latency import latency
from tests.support import tiny


def test_latency_leaves_the_model_as_it_was() -> None:
    model = tiny.student().train()
    model.fc.eval()
    before, draws = tiny.bits(model), torch.get_rng_state()
    times = latency(model, tiny.EXAMPLE)
    assert set(times) == {"1", "64"}
    assert all(value is not None and value > 0 for value in times.values())
    assert model.training
    assert not model.fc.training
    assert tiny.same(before, tiny.bits(model))
    assert torch.equal(draws, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_batch_for_which_memory_is_too_small_has_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.student()
    forward = model.forward

    def small(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError
        return forward(x)

    monkeypatch.setattr(model, "forward", small)
    times = latency(model, tiny.EXAMPLE)
    assert times["1"] is not None
    assert times["64"] is None
