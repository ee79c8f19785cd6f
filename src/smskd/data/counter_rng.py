"""A counter-based random number generator: a hash of integers, one value or a tensor at a time.

The scrambler is the output function of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
Generators, OOPSLA 2014). A number that is a hash of (seed, epoch, sample) does not depend on the order in which samples
are visited, as it would with a stateful generator.
"""

from typing import Any

import torch
from torch import Tensor

_WORD = 2**64 - 1
_INCREMENT = 0x9E3779B97F4A7C15
_FIRST_FACTOR = 0xBF58476D1CE4E5B9
_SECOND_FACTOR = 0x94D049BB133111EB


def mix(*values: int) -> int:
    """A 63-bit hash of integers; their order matters.

    Args:
        *values: any integers, taken modulo 2**64.

    Returns:
        An integer from 0 to 2**63 - 1, a valid seed for every random generator of torch.
    """
    state = 0
    for value in values:
        state = _scramble(state ^ (value & _WORD))
    return state >> 1


def mix_tensor(*values: int | Tensor) -> Tensor:
    """:func:`mix` of every element: integer tensors and ints are broadcast against each other.

    Args:
        *values: ints and int64 tensors, all tensors on one device; at least one is a tensor.

    Returns:
        int64 tensor of the broadcast shape, on that device, with the values of :func:`mix`.

    Raises:
        ValueError: there is no tensor among the values.
    """
    state: int | Tensor = 0
    for value in values:
        if isinstance(state, int) and isinstance(value, int):
            state = _scramble(state ^ (value & _WORD))
        else:
            state = _scramble_tensor(_operand(state) ^ _operand(value))
    if isinstance(state, int):
        raise ValueError("mix_tensor needs a tensor; use mix for integers")
    return _shift_right(state, 1)


def _scramble(word: int) -> int:
    word = (word + _INCREMENT) & _WORD
    word = ((word ^ (word >> 30)) * _FIRST_FACTOR) & _WORD
    word = ((word ^ (word >> 27)) * _SECOND_FACTOR) & _WORD
    return word ^ (word >> 31)


def _scramble_tensor(word: Tensor) -> Tensor:
    # int64 addition and multiplication wrap around on every device, which is arithmetic modulo 2**64.
    word = word + _signed(_INCREMENT)
    word = (word ^ _shift_right(word, 30)) * _signed(_FIRST_FACTOR)
    word = (word ^ _shift_right(word, 27)) * _signed(_SECOND_FACTOR)
    return word ^ _shift_right(word, 31)


def _shift_right(word: Tensor, bits: int) -> Tensor:
    # >> of a signed integer copies the sign bit into the upper bits; the mask clears them.
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _operand(value: int | Tensor) -> Any:
    return value.to(torch.int64) if isinstance(value, Tensor) else _signed(value)


def _signed(word: int) -> int:
    word &= _WORD
    return word - 2**64 if word >= 2**63 else word
