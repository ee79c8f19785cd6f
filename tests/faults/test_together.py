"""Two processes on the folder of one run: the second is kept out, and the first is not disturbed."""

import signal

from tests.support.fault_folders import result
from tests.support.fault_hooks import Fault
from tests.support.fault_laboratory import Laboratory
from tests.support.fault_processes import Command, Started, run
from tests.support.fault_trainings import OUT, TRAININGS
from tests.support.program import everything_in

NAME = "two stages"


def test_the_second_is_kept_out(laboratory: Laboratory) -> None:
    training = TRAININGS[NAME]
    here = laboratory.place(training)
    first = Started(Command(here, training.words, Fault("stopped", 50)))
    first.wait_until_stopped()
    before = everything_in(here)
    resumed, begun = (run(Command(here, words)) for words in (("resume", OUT, "-q"), training.words))
    assert resumed.is_one_line
    assert resumed.message == f"smskd: {OUT} is in use: another process trains this run; wait for it, or stop it\n"
    assert begun.is_one_line
    assert begun.message.startswith(f"smskd: {OUT} holds another run; ")
    after = everything_in(here)
    assert {name: after[name] for name in before} == before

    first.signal(signal.SIGCONT)
    assert first.end().code == 0
    assert result(here, training.folders) == laboratory.reference(NAME)
