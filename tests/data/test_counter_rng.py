import pytest
import torch

from smskd.data.counter_rng import mix, mix_tensor


def test_known_value_of_splitmix64():
    # The first output of SplitMix64 seeded with 0, as published with the generator, is e220a8397b1dcdaf.
    assert mix(0) == 0xE220A8397B1DCDAF >> 1


def test_range_and_order():
    values = {mix(a, b) for a in range(-3, 30) for b in range(30)}
    assert len(values) == 33 * 30
    assert all(0 <= value < 2**63 for value in values)
    assert mix(1, 2) != mix(2, 1)
    torch.Generator().manual_seed(max(values))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_tensor_agrees_with_ints(position):
    others = [5, -7]
    elements = torch.tensor([[0, 1, 2, -1], [2**62, -(2**63), 2**63 - 1, 12345]])
    arguments = [*others[:position], elements, *others[position:]]
    expected = [mix(*others[:position], value, *others[position:]) for value in elements.flatten().tolist()]
    assert mix_tensor(*arguments).flatten().tolist() == expected


def test_tensors_are_broadcast():
    grid = mix_tensor(torch.arange(3)[:, None], torch.arange(4))
    assert grid.tolist() == [[mix(a, b) for b in range(4)] for a in range(3)]


def test_huge_ints_count_modulo_a_word():
    assert mix(2**64 + 3) == mix(3)
    assert mix_tensor(2**64 + 3, torch.tensor([1]), 2**63).tolist() == [mix(3, 1, 2**63)]


def test_needs_a_tensor():
    with pytest.raises(ValueError, match="needs a tensor"):
        mix_tensor(1, 2)
