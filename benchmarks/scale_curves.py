"""What is measured over which size, and by which exponent it may grow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

TOLERANCE = 0.15
"""Of a fitted exponent: the noise of a machine that does other things too."""

Point = Mapping[str, float]
"""``size`` and the quantities that were measured at it."""


@dataclass(frozen=True)
class Quantity:
    """A quantity of a curve.

    Attributes:
        name: its key in a point.
        title: with its unit.
        expected: the exponent that the work explains.
        bound: ``most``: a larger exponent is a fault; ``least``: a smaller one is.
    """

    name: str
    title: str
    expected: float
    bound: Literal["most", "least"] = "most"

    @property
    def limit(self) -> str:
        """The exponent that is expected, in words."""
        return f"{'≤' if self.bound == 'most' else '≥'} {self.expected:g}"

    def holds(self, exponent: float) -> bool:
        """Whether an exponent is as expected, within :data:`TOLERANCE`."""
        excess = exponent - self.expected if self.bound == "most" else self.expected - exponent
        return excess <= TOLERANCE


@dataclass(frozen=True)
class Curve:
    """Quantities over a size.

    Attributes:
        name: of its part and its chart.
        title: of its chart.
        axis: name of the size.
        sizes: at which it is measured, ascending.
        quick: of the short form.
        quantities: that are measured.
        setting: what is the same at all sizes.
    """

    name: str
    title: str
    axis: str
    sizes: Sequence[int]
    quick: Sequence[int]
    quantities: Sequence[Quantity]
    setting: str


SPEED = Quantity("images_per_second", "Images/s", 0.0, "least")
STEP = Quantity("step_milliseconds", "Step, ms", 1.0)
START = Quantity("start_seconds", "Before the first step, s", 1.0)
HELD = Quantity("increase_mb", "Memory above PyTorch, MB", 1.0)
CONSTANT = Quantity("peak_mb", "Memory in all, MB", 0.0)

_SIZES = (5_000, 20_000, 80_000, 300_000, 1_000_000)
_QUICK = (100, 400)

CURVES = (
    Curve(
        "images-in-memory",
        "Training images in memory",
        "Training images",
        _SIZES,
        _QUICK,
        (SPEED, START, HELD),
        "KD, batches of 64 of 32x32",
    ),
    Curve(
        "images-streamed",
        "Streamed training images",
        "Training images",
        _SIZES,
        _QUICK,
        (SPEED, START, CONSTANT),
        "KD, batches of 64 of 32x32, from a map-style data set that lists its labels",
    ),
    Curve(
        "images-crd",
        "Training images with CRD",
        "Training images",
        _SIZES,
        (200, 800),
        (SPEED, START, HELD),
        "CRD with 4,096 negatives and 10 classes, batches of 64 of 8x8 in memory; the method keeps 1 KiB of each image",
    ),
    Curve(
        "classes",
        "Classes",
        "Classes",
        (10, 100, 1_000, 5_000, 20_000),
        (10, 40),
        (STEP, START, HELD),
        "KD, 40,000 images of 32x32 with a validation split, batches of 64",
    ),
    Curve(
        "stages",
        "Stages of a run",
        "Stages",
        (1, 2, 4, 6),
        (1, 2),
        (Quantity("run_seconds", "Run, s", 1.0), CONSTANT, Quantity("folder_mb", "Folder of the run, MB", 1.0)),
        "6 epochs of FitNet or KD, in turn, for each stage, on the digits; the folder keeps the student of each stage",
    ),
    Curve(
        "batch-size",
        "Images in a batch",
        "Batch size",
        (16, 64, 256, 1024),
        (8, 32),
        (SPEED, STEP, HELD),
        "KD, 20,000 images of 32x32",
    ),
    Curve(
        "negatives",
        "Negatives of CRD",
        "Negatives",
        (256, 2_048, 16_384, 65_536),
        (16, 64),
        (STEP, START, HELD),
        "CRD, 150,000 images of 8x8 in 100 classes, batches of 64",
    ),
    Curve(
        "runs",
        "Runs side by side",
        "Runs",
        (1, 2, 4),
        (1, 2),
        (Quantity("run_seconds", "All runs, s", 1.0), HELD),
        "seeds of plain training on the digits, 7 epochs each, in one process",
    ),
)


def exponent(points: Sequence[Point], name: str) -> float:
    """The slope of a quantity in log-log coordinates, by least squares.

    Args:
        points: at least two.
        name: of the quantity.
    """
    x = np.log([point["size"] for point in points])
    y = np.log([max(point[name], 1e-9) for point in points])
    return float(np.polyfit(x, y, 1)[0])


def last_exponent(points: Sequence[Point], name: str) -> float:
    """The slope between the two largest sizes, where a cost that grows faster than the others prevails."""
    return exponent(points[-2:], name)


def curve(name: str) -> Curve:
    """The curve of this name."""
    return next(found for found in CURVES if found.name == name)


def rounded(value: float) -> float:
    """Four significant digits."""
    return value if value == 0 else round(value, 3 - math.floor(math.log10(abs(value))))
