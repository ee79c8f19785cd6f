"""A teacher's weights, which all tests of runs share."""

from pathlib import Path

import pytest

from smskd.models import save_weights
from tests.support import tiny


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the weights of a resnet8_w4."""
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_weights(tiny.teacher(), file)
    return file
