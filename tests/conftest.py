"""One thread: the tests share a small machine, and sums come out alike everywhere."""

import sys

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """All students are compiled from one function, of which torch.compile keeps eight programs in a process."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
