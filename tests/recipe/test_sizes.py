"""Sizes as people write them."""

import pytest

from smskd.config.sizes import in_bytes, in_words
from smskd.errors import UserError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16GB", 16 * 10**9),
        ("1.5 gb", 1_500_000_000),
        ("2GiB", 2 * 2**30),
        ("3k", 3000),
        ("7", 7),
        (12345, 12345),
        ("500 MB", 500 * 10**6),
        ("1e9", 10**9),
        ("64 KiB", 65536),
        ("20 bytes", None),
        ("-1GB", None),
        ("GB", None),
        ("", None),
        ("1 PB", None),
        ("1i", None),
    ],
)
def test_in_bytes(text: str | int, size: int | None) -> None:
    if size is None:
        with pytest.raises(UserError, match="must be a size in bytes, such as 500MB or 16GB"):
            in_bytes(text)
    else:
        assert in_bytes(text) == size


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1684800000, "1.68 GB"),
        (17280, "17.3 kB"),
        (2e12, "2 TB"),
        (3e15, "3e+03 TB"),
    ],
)
def test_in_words(size: float, words: str) -> None:
    assert in_words(size) == words
