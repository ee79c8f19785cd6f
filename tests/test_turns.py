"""Threads that take turns with what a process has only once."""

import random
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from smskd import turns
from smskd.data.seeded import seeded
from smskd.models.dry_run import preserved_random_state
from smskd.turns import DrewOutOfTurnError, Turn, Turns

Work = Callable[[Turn], None]


def threads_of(shared: Turns, *works: Work, alone: bool = False) -> list[BaseException | None]:
    """Runs each in a thread with a turn of its own; their exceptions."""
    errors: list[BaseException | None] = [None] * len(works)

    def run(place: int, work: Work) -> None:
        try:
            with shared.turn(alone=alone) as turn:
                work(turn)
        except BaseException as error:
            errors[place] = error

    started = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()
    return errors


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def test_each_goes_on_with_its_own_random_numbers() -> None:
    expected = []
    for value in (1, 2):
        seed(value)
        expected.append([draws(), draws()])
    found: list[list[tuple[float, float, float]]] = [[], []]
    both = threading.Barrier(2, timeout=10)

    def work(place: int) -> Work:
        def own(turn: Turn) -> None:
            seed(place + 1)
            found[place].append(draws())
            with turns.opened():
                both.wait()
            found[place].append(draws())

        return own

    assert threads_of(Turns(), work(0), work(1)) == [None, None]
    assert found == expected


def test_steps_that_draw_keep_the_turn() -> None:
    kept: list[bool] = []

    def work(draw: bool) -> Work:
        def own(turn: Turn) -> None:
            with turns.steps() as steps:
                for _ in range(4):
                    if draw:
                        torch.rand(())
                    steps.step_done()
                kept.append(turn.held)
            assert turn.held

        return own

    for draw in (True, False):
        assert threads_of(Turns(), work(draw)) == [None]
    assert kept == [True, False]


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(())])
def test_a_draw_without_the_turn_is_found(draw: Callable[[], object]) -> None:
    both = threading.Barrier(2, timeout=10)

    def drawing(turn: Turn) -> None:
        with turns.opened():
            both.wait()
            draw()
            both.wait()

    def beside(turn: Turn) -> None:
        with turns.opened():
            both.wait()
            both.wait()

    def later(turn: Turn) -> None:
        with turns.opened():
            pass

    shared = Turns()
    errors = threads_of(shared, drawing, beside)
    assert [type(error) for error in errors] == [DrewOutOfTurnError, DrewOutOfTurnError]
    assert threads_of(shared, later) == [None]


def test_what_draws_takes_the_turn() -> None:
    """Seeding within an open part is no draw, since nobody else has the turn meanwhile."""
    held: list[bool] = []
    model = torch.nn.Linear(1, 1)

    def work(turn: Turn) -> None:
        with turns.opened():
            with seeded(3):
                held.append(turn.held)
                torch.rand(())
            with preserved_random_state(model):
                held.append(turn.held)
                torch.rand(())
            assert not turn.held

    assert threads_of(Turns(), work) == [None]
    assert held == [True, True]


def test_waiting_gives_even_a_kept_turn_up() -> None:
    came = threading.Event()

    def first(turn: Turn) -> None:
        with turns.opened():
            assert turn.held
        with turns.waiting():
            assert came.wait(10)

    assert threads_of(Turns(), first, lambda turn: came.set(), alone=True) == [None, None]


def test_a_thread_without_a_turn_is_not_affected() -> None:
    before = turns.drawn_so_far()
    with turns.steps() as steps, turns.opened(), turns.waiting(), turns.held():
        steps.step_done()
    assert turns.drawn_so_far() == before
    assert turns.current() is None
