"""The objective of a stage: what its terms read, and their weighted sum.

``weighted_sum`` is the objective of SMSKD; ``bound_term`` binds a term to the models it reads; ``frozen_outputs`` owns
teacher and reference; ``student_head`` is a student whose last layers a method has replaced.
"""

from smskd.objective.build import build_objective

__all__ = ["build_objective"]
