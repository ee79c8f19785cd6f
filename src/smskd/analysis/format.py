"""Numbers as text, for the terminal and the page alike."""

from typing import Protocol

NONE = "–"
MINUS = "−"


class Spread(Protocol):
    """A mean and a sample standard deviation, as :class:`smskd.analysis.compare.Statistic` has them."""

    @property
    def mean(self) -> float: ...
    @property
    def deviation(self) -> float | None: ...


def percent(value: float | None) -> str:
    """A percentage with two decimals, without its sign: ``65.21``."""
    return NONE if value is None else f"{value:.2f}"


def difference(value: float | None) -> str:
    """A difference with its sign: ``+1.20``, ``−0.35``."""
    return NONE if value is None else f"{value:+.2f}".replace("-", MINUS)


def interval(value: tuple[float, float] | None) -> str:
    """Lower and upper end of an interval, with their signs: ``+0.31 to +2.04``."""
    return NONE if value is None else f"{difference(value[0])} to {difference(value[1])}"


def probability(value: float | None) -> str:
    """A p value with two significant digits: ``0.032``; ``< 0.001`` where it is smaller than that."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def spread(value: Spread | None) -> str:
    """Mean and, with several seeds, the sample standard deviation: ``65.21 ± 0.34``."""
    if value is None:
        return NONE
    return percent(value.mean) + ("" if value.deviation is None else f" ± {value.deviation:.2f}")


def count(value: float | None) -> str:
    """A number with three significant digits and a decimal prefix: ``78.0 k``, ``1.25 M``."""
    if value is None:
        return NONE
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # 999,999 is 1.00 M, not 1000 k.
        if value >= 0.9995 * size:
            return f"{_three_digits(value / size)} {unit}"
    return f"{value:g}"


def memory(value: float | None) -> str:
    """A size in bytes with a unit: ``23.4 MB``, ``1.25 GB``."""
    return NONE if value is None else f"{count(value)}B" if value >= 1000 else f"{value:g} B"


def milliseconds(value: float | None) -> str:
    """A time with three significant digits: ``1.25 ms``, ``340 ms``."""
    return NONE if value is None else f"{_three_digits(value)} ms"


def part_name(key: str) -> str:
    """The key of a part of a step as words: ``student forward``."""
    return key.replace("_", " ")


def ratio(teacher: float | None, student: float | None) -> str:
    """The factor by which the student is smaller: ``12.3×``."""
    return f"{_three_digits(teacher / student)}×" if teacher and student else NONE


def duration(seconds: float) -> str:
    """A duration: ``12.3 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
