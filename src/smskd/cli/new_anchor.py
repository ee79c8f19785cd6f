"""Writes a new anchor and its test."""

from dataclasses import dataclass
from pathlib import Path

from smskd.cli.scaffold import Scaffold, write_term
from smskd.registry import ANCHORS

ANCHOR = Scaffold(
    noun="anchor",
    folder="anchors",
    registry=ANCHORS,
    imports="""from smskd.errors import require_between, require_positive
from smskd.interfaces.features import LOGITS, FeatureLayout, Reads
from smskd.interfaces.terms import Anchor, TermInputs
from smskd.ops.precision import full_precision
from smskd.ops.reduction import Reduction, reduced, sample_mean""",
    checks="ANCHOR_CHECKS",
)


@dataclass(frozen=True)
class NewAnchor:
    """The files of a new anchor.

    Attributes:
        anchor: the anchor.
        test: its test.
        recipe_name: name of the anchor in a recipe.
    """

    anchor: Path
    test: Path
    recipe_name: str


def write_new_anchor(name: str, folder: Path | None) -> NewAnchor:
    """Writes the file of an anchor and its test; see :func:`smskd.cli.scaffold.write_term`.

    Args:
        name: of the file, and of the anchor in a checkout.
        folder: for both files; None: their places in a checkout, the working folder elsewhere.

    Raises:
        UserError: the name is not a valid module name, or it is taken.
    """
    written = write_term(ANCHOR, name, folder)
    return NewAnchor(written.source, written.test, written.recipe_name)
