"""Writes a new distillation method and its test."""

from dataclasses import dataclass
from pathlib import Path

from smskd.cli.scaffold import Scaffold, write_term
from smskd.registry import METHODS

METHOD = Scaffold(
    noun="method",
    folder="methods",
    registry=METHODS,
    imports="""from smskd.errors import require_positive
from smskd.interfaces.features import FeatureLayout, ModelInfo, Reads
from smskd.interfaces.terms import DataInfo, Kind, Method, TermInputs
from smskd.ops.layers import flat, linear_embedding
from smskd.ops.pairing import pooled_vectors
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean""",
    checks="CHECKS",
)


@dataclass(frozen=True)
class NewMethod:
    """The files of a new method.

    Attributes:
        method: the method.
        test: its test.
        recipe_name: name of the method in a recipe.
    """

    method: Path
    test: Path
    recipe_name: str


def write_new_method(name: str, folder: Path | None) -> NewMethod:
    """Writes the file of a method and its test; see :func:`smskd.cli.scaffold.write_term`.

    Args:
        name: of the file, and of the method in a checkout.
        folder: for both files; None: their places in a checkout, the working folder elsewhere.

    Raises:
        UserError: the name is not a valid module name, or it is taken.
    """
    written = write_term(METHOD, name, folder)
    return NewMethod(written.source, written.test, written.recipe_name)
