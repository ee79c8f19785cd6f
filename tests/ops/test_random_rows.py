"""Random rows without repetition."""

import math

import pytest
import torch

from smskd.ops.random_rows import _FEW, distinct_rows, rows_for

CPU = torch.device("cpu")


def drawn(samples: int, wanted: int, seed: int = 0) -> torch.Tensor:
    return distinct_rows(samples, wanted, torch.Generator().manual_seed(seed), CPU)


@pytest.mark.parametrize(("samples", "wanted"), [(10, 10), (100, 40), (_FEW * 20, 20), (5_000, 300), (100_000, 4_000)])
def test_rows_are_different_and_in_range(samples: int, wanted: int) -> None:
    for seed in range(5):
        rows = drawn(samples, wanted, seed)
        assert rows.shape == (wanted,)
        assert len(set(rows.tolist())) == wanted
        assert int(rows.min()) >= 0
        assert int(rows.max()) < samples


def test_every_row_is_as_likely_in_every_place() -> None:
    """Chi squared of the first, the last and all places, with 319 degrees of freedom, is within six deviations."""
    samples, wanted, times = _FEW * 20, 20, 4_000
    rows = torch.stack([drawn(samples, wanted, seed) for seed in range(times)])
    for places in (rows[:, 0], rows[:, -1], rows.flatten()):
        counts = places.bincount(minlength=samples).double()
        mean = len(places) / samples
        chi = float(((counts - mean) ** 2 / mean).sum())
        assert abs(chi - (samples - 1)) < 6 * math.sqrt(2 * (samples - 1))


def test_the_number_of_draws_does_not_follow_from_the_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = []
    randperm = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda n, **options: shuffled.append(n) or randperm(n, **options))
    drawn(10**9, 100)
    assert not shuffled


@pytest.mark.parametrize(
    ("count", "largest", "samples"), [(100, 10, 1_000), (100, 500, 1_000), (4, 3, 8), (16_384, 100_000, 1_000_000)]
)
def test_enough_rows_lie_outside_of_the_largest_class(count: int, largest: int, samples: int) -> None:
    enough = rows_for(count, largest, samples)
    assert enough <= min(samples, count + largest)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        rows = torch.randperm(samples, generator=generator)[:enough]
        assert int((rows >= largest).sum()) >= count


def test_large_classes_do_not_need_as_many_rows_as_they_have() -> None:
    assert rows_for(16_384, 100_000, 1_000_000) < 1.2 * 16_384 / 0.9
    assert rows_for(16_384, 500, 50_000) == 16_384 + 500  # certainly enough, and hardly more
