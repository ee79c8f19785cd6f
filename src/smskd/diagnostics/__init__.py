"""What the stages of a finished run did to its student.

``analyse`` puts a run together from its folder; each of the other modules has one measure, as a function of tensors.
"""

from smskd.diagnostics.analyse import analyse
from smskd.diagnostics.ceilings import ceilings_over_runs
from smskd.diagnostics.result import PartAnalysis, RunAnalysis, StageAnalysis

__all__ = ["PartAnalysis", "RunAnalysis", "StageAnalysis", "analyse", "ceilings_over_runs"]
