"""A place where trainings are hurt, which all tests of faults share."""

import multiprocessing
from pathlib import Path

import pytest

from smskd.models import save_weights
from tests.support import tiny
from tests.support.fault_laboratory import Laboratory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The processes are forked."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip("there is no fork on this system"))


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_weights(tiny.teacher(), file)
    return file


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Laboratory:
    return Laboratory(tmp_path_factory.mktemp("faults"), teacher)
