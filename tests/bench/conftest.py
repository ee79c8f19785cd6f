"""The programs of benchmarks/ can be imported by the tests of this package."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
