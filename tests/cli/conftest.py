"""A trained teacher and finished runs of two stages with two seeds, which all tests of the program share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import TINY, fine


@pytest.fixture(scope="session", autouse=True)
def narrow() -> Iterator[None]:
    """80 columns and no terminal, wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    longer = ("data.subset.train=600", "training.epochs=4", "schedule.decay_at=[3]")  # better than guessing
    fine("train", "digits/teacher", *TINY, *longer, "student.name=resnet8", "--out", folder, "--quiet")
    return folder


@pytest.fixture(scope="session")
def taught(teacher: Path) -> tuple[str, ...]:
    """Overrides with which a recipe of the digits is tiny and has its teacher."""
    return (*TINY, "teacher.name=resnet8", f"teacher.weights={teacher}")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, taught: tuple[str, ...]) -> Path:
    """A folder with two runs of FitNets, then KD: ``seed0`` and ``seed1``."""
    folder = tmp_path_factory.mktemp("runs") / "fitnet-kd"
    fine("train", "digits/fitnet-kd", *taught, "--seeds", "0,1", "--out", folder, "--quiet")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
