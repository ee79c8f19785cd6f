"""The moving average against its recursion by hand."""

import torch
from torch import Tensor, nn

from smskd.training.ema import ExponentialMovingAverage


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)).double()


def disturbed(module: nn.Module, seed: int) -> None:
    """Other weights, other statistics of batch norm, its counter one further."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    module(torch.randn(4, 1, 5, 5, generator=generator, dtype=torch.float64))


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def test_equals_the_recursion_with_batch_norm_statistics() -> None:
    module = network()
    average = ExponentialMovingAverage(module, decay=0.35)
    expected = copied(module)
    for step in range(1, 8):
        disturbed(module, step)
        average.update(module)
        decay = min(0.35, (1 + step) / (10 + step))
        for name, now in module.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * now if now.is_floating_point() else now.clone()
    assert average.steps == 7
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} < average.tensors.keys()
    for name, value in expected.items():
        torch.testing.assert_close(average.tensors[name], value, rtol=1e-12, atol=1e-13, msg=name)
    assert average.tensors["1.num_batches_tracked"] == 7


def test_the_warmup_lasts_until_the_decay_is_reached() -> None:
    """With a decay of 0.35 it ends at step 4, (1 + 4) / (10 + 4) > 0.35; with 0.999 it lasts for thousands."""
    module = network()
    average = ExponentialMovingAverage(module, decay=0.999)
    start = copied(module)["0.weight"]
    disturbed(module, 1)
    average.update(module)
    expected = 2 / 11 * start + 9 / 11 * module.state_dict()["0.weight"]
    torch.testing.assert_close(average.tensors["0.weight"], expected, rtol=1e-12, atol=0.0)


def test_is_a_copy_and_leaves_the_module_alone() -> None:
    module = network()
    average = ExponentialMovingAverage(module, decay=0.9)
    before = copied(module)
    average.update(module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    disturbed(module, 1)
    assert torch.equal(average.tensors["0.weight"], before["0.weight"])


def test_goes_on_where_it_was_saved() -> None:
    module, other = network(), network()
    ours, again = ExponentialMovingAverage(module, 0.5), ExponentialMovingAverage(other, 0.5)
    for step in range(1, 4):
        disturbed(module, step)
        ours.update(module)
    again.load({name: tensor.clone() for name, tensor in ours.tensors.items()}, ours.steps)
    disturbed(module, 9)
    ours.update(module)
    again.update(module)
    assert all(torch.equal(value, again.tensors[name]) for name, value in ours.tensors.items())
