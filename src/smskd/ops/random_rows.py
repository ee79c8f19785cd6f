"""Random rows without repetition, in a time that follows from their number rather than from that of all rows."""

import math

import torch
from torch import Tensor

_NEVER = math.log(1e20)
"""Of the inverse of the probability with which a bound fails."""

_WORTH = 0.8
"""Share of the rows that are certainly enough, below which a number that is almost certainly enough is taken."""

_FEW = 16
"""Times as many rows in all as are wanted, from which drawing costs less than shuffling all of them."""


def rows_for(count: int, largest: int, samples: int) -> int:
    """So many random rows that ``count`` of them lie outside of any given class.

    The number of rows of a class among random ones is hypergeometric, and Bernstein's inequality bounds it (W.
    Hoeffding: Probability inequalities for sums of bounded random variables, JASA 1963, section 6, carries such bounds
    over to draws without replacement). Where that spares a fifth of the rows that are certainly enough, the result is
    too small with a probability below 1e-20.

    Args:
        count: of the rows that are needed.
        largest: rows of the largest class.
        samples: all rows, more than ``count`` of them outside of the largest class.
    """
    inside = largest / samples
    outside = 1 - inside
    # The least m with  m * outside - sqrt(2 m inside outside t) - t / 3 >= count,  a quadratic in sqrt(m).
    linear = math.sqrt(2 * inside * outside * _NEVER)
    root = (linear + math.sqrt(linear**2 + 4 * outside * (count + _NEVER / 3))) / (2 * outside)
    certain, likely = min(samples, count + largest), math.ceil(root**2)
    return likely if likely < _WORTH * certain else certain


def distinct_rows(samples: int, wanted: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """A uniform random subset of the rows, in random order, int64 [wanted].

    Of many rows, more than are wanted are drawn with repetition, and those that have been drawn before are left out;
    with a probability below 1e-20 too few remain, and some occur twice. Nothing waits for the device.

    Args:
        samples: number of rows.
        wanted: number of those to be drawn, ``samples`` at most.
        generator: of the device.
        device: of the result.
    """
    if samples < _FEW * wanted:
        return torch.randperm(samples, generator=generator, device=device)[:wanted]
    drawn = torch.randint(samples, (_draws(samples, wanted),), generator=generator, device=device)
    values, places = drawn.sort(stable=True)
    again = torch.zeros_like(drawn, dtype=torch.bool)
    again[places[1:]] = values[1:] == values[:-1]
    first = again.to(torch.uint8).argsort(stable=True)[:wanted]
    return drawn[first]


def _draws(samples: int, wanted: int) -> int:
    """So many that ``wanted`` of them differ: each is a repetition with a probability of draws / samples at most."""
    draws = wanted
    for _ in range(8):  # it converges, since the rows are many more than the draws
        repetitions = draws**2 / samples
        draws = wanted + math.ceil(repetitions + math.sqrt(2 * repetitions * _NEVER) + _NEVER / 3)
    return draws
