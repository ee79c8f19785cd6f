from functools import partial
from typing import Annotated, Literal

import pytest
from pydantic import Field

from smskd.config.data import SubsetConfig
from smskd.data.sources.options import checked_options, takes_subset, takes_track
from smskd.errors import UserError


def source(
    root: str,
    size: tuple[int, int] = (8, 8),
    mode: Literal["a", "b"] = "a",
    share: Annotated[float, Field(gt=0)] = 1.0,
    *,
    subset: SubsetConfig | None = None,
    track=None,
):
    return root, size, mode, share


class Source:
    """A class is a callable too."""

    def __init__(self, root: str, count: int = 1):
        self.root, self.count = root, count


def anything(**options):
    return options


def own_subset(subset: str, unknown_type: "NotImported" = 1):  # noqa: F821
    return subset


def foreign(model: pytest.MonkeyPatch):
    return model


def test_options_get_the_types_of_the_hints():
    options = {"root": "x", "size": [3, 4], "share": 1}
    assert checked_options(source, "mine", options) == {"root": "x", "size": (3, 4), "share": 1.0}
    assert checked_options(Source, "mine", {"root": "x", "count": "3"}) == {"root": "x", "count": 3}
    assert checked_options(anything, "mine", {"whatever": [1]}) == {"whatever": [1]}


def test_hints_that_cannot_be_checked_are_not():
    assert checked_options(own_subset, "mine", {"subset": "train", "unknown_type": "x"})["unknown_type"] == "x"
    assert checked_options(foreign, "mine", {"model": 3}) == {"model": 3}
    assert checked_options(partial(source, root="x"), "mine", {"mode": "z"}) == {"mode": "z"}


def test_parameters_that_are_passed():
    assert (takes_subset(source), takes_track(source)) == (True, True)
    assert (takes_subset(anything), takes_track(anything)) == (False, False)
    assert not takes_subset(own_subset)  # an option of its own that happens to have this name


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (source, {}, "^data.source.root: mine needs this option$"),
        (source, {"root": "x", "moed": "a"}, r"^data.source.moed: unknown option of mine; did you mean 'mode'\?$"),
        (
            source,
            {"root": "x", "subset": None},
            "^data.source.subset: unknown option of mine; choose from mode, root, s",
        ),
        (source, {"root": "x", "mode": "c"}, "^data.source.mode: must be 'a' or 'b', not 'c'$"),
        (source, {"root": "x", "share": 0}, "^data.source.share: must be greater than 0, not 0$"),
        (source, {"root": "x", "size": [1, "b"]}, "^data.source.size.1: must be a whole number, not 'b'$"),
        (Source, {"root": "x", "n": 1}, "^data.source.n: unknown option of mine; choose from count, root$"),
        (lambda: None, {"root": "x"}, "^data.source.root: unknown option of mine; it has none$"),
        (own_subset, {}, "^data.source.subset: mine needs this option$"),
    ],
)
def test_mistakes(factory, options, message):
    with pytest.raises(UserError, match=message):
        checked_options(factory, "mine", options)


def test_another_key_of_the_recipe():
    with pytest.raises(UserError, match=r"^validation.source.root: mine needs"):
        checked_options(source, "mine", {}, "validation.source")
