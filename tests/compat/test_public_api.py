"""Programs of users stay right: no public name, and no parameter of one, goes away unnoticed."""

import pytest

from tests.support.public_api import described, listed, parameters, public_names, shrunk


@pytest.mark.parametrize("name", listed())
def test_a_listed_name_can_be_used_as_before(name: str) -> None:
    assert shrunk(listed()[name], parameters(name)) == []


def test_every_public_name_is_listed() -> None:
    lines = {f"{name}({', '.join(inside)})" for name, inside in listed().items()}
    missing = [described(name) for name in public_names() if described(name) not in lines]
    assert missing == [], "add them: python -m tests.support.public_api"


@pytest.mark.parametrize(
    ("then", "now", "reasons"),
    [
        (["a", "b="], ["a", "b=", "c="], []),
        (["a"], ["a=", "*", "b="], []),
        (["a", "b="], ["a"], ["b=", "the order of positional parameters"]),
        (["a"], ["a", "b"], ["b"]),
        (["*", "a="], ["*", "a"], ["a"]),
        (["a", "b"], ["b", "a"], ["the order of positional parameters"]),
        (["a"], ["*", "a"], ["the order of positional parameters"]),
    ],
)
def test_shrunk(then: list[str], now: list[str], reasons: list[str]) -> None:
    assert shrunk(then, now) == reasons
