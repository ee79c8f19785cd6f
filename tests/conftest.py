"""One thread: the tests share a small machine, and sums come out alike everywhere. The user's caches are left alone."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def caches_of_the_tests(shared_folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMSKD_CACHE", str(shared_folder / "caches"))
        yield


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """All students are compiled from one function, of which torch.compile keeps eight programs in a process."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
