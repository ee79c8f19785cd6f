"""A second dead worker of a loader, of which PyTorch tells while the program ends with the line about the first."""

from typing import Any, NoReturn

import pytest

from smskd.cli import program
from smskd.errors import UserError


@pytest.mark.parametrize("told", [True, False])
def test_there_is_one_line(told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def app(*_: Any, **__: Any) -> NoReturn:
        try:
            if told:
                raise UserError("a worker process of the data loader has ended before batch 1 of the epoch")
        finally:
            raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    monkeypatch.setattr(program, "app", app)
    with pytest.raises(SystemExit) as end:
        program.run_program()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("smskd: a worker process of the data loader has ended")
    assert ("before batch 1" in error) == told
    assert error.count("\n") == 1
