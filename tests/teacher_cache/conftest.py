from collections.abc import Collection

import pytest
from torch import Tensor

from smskd import session
from smskd.models.frozen import Frozen
from smskd.report.page import Page
from tests.support.cached import Calls


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    extract = Frozen.extract

    def counted(self: Frozen, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        found.networks.append(self)
        found.images.append(len(x))
        return extract(self, x, names)

    monkeypatch.setattr(Frozen, "extract", counted)
    return found


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts of the page take more time than the runs."""
    monkeypatch.setattr(session, "write_run_report", Page)
