"""The student of a run, or of an exported folder, with what is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from smskd import models
from smskd.builder.run_folders import weight_files
from smskd.builder.saved import network_of
from smskd.data.sources.tokenized import MAX_LENGTH
from smskd.data.sources.tokenizers import Tokenizer
from smskd.deployment.preprocessing import PREPROCESSING, Preprocessing
from smskd.errors import UserError
from smskd.interfaces.features import FeatureModel
from smskd.interfaces.inputs import Inputs
from smskd.models.metadata import Facts
from smskd.models.weights import EXPORTED_WEIGHTS, read_weights
from smskd.recipe import Recipe, read
from smskd.runs.file_names import RECIPE
from smskd.training.globals import preserved_globals

_OF_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, eq=False)
class Student:
    """A trained student.

    Attributes:
        weights: its file.
        model: in eval mode, on the CPU.
        facts: of the network.
        preprocessing: of images; None: of texts, or where only the data set's own transforms know it.
        tokenizer: folder or id, of a network of texts; None where it is not known.
        recipe: of its run; None: of an exported folder, or where the run's folder has none.
        run: the folder of the run; None likewise.
    """

    weights: Path
    model: FeatureModel
    facts: Facts
    preprocessing: Preprocessing | None
    tokenizer: str | None
    recipe: Recipe | None
    run: Path | None

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return self.model.wrapped

    @property
    def reads_texts(self) -> bool:
        """Whether it classifies texts."""
        return self.facts.fields is not None

    @property
    def example(self) -> Inputs:
        """Samples of the form that it takes."""
        return example_of(self.facts)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the logits; numbers where the data had no names."""
        return self.facts.class_names or tuple(map(str, range(self.facts.classes or 0)))


def example_of(facts: Facts) -> Inputs:
    """Samples of the form that a network learned from, whose values mean nothing.

    Raises:
        UserError: its form is not known.
    """
    if facts.image_shape is not None:
        return torch.zeros(2, *facts.image_shape)
    if facts.example is None:
        raise UserError("the weights do not tell the form of the images that they learned from: export a run's student")
    return facts.example


def longest_text(student: Student, tokenizer: Tokenizer) -> int:
    """The number of tokens to which texts are cut off, as those of the run were."""
    if student.recipe is not None:
        return int(student.recipe.data.source.options.get("max_length", MAX_LENGTH))
    return min(int(tokenizer.tokenizer.model_max_length), 2**20)


def open_student(
    path: str | Path, *, model: nn.Module | None = None, overrides: Sequence[str] = (), trust: bool = False
) -> Student:
    """The student of a run, or of an exported folder.

    Args:
        path: the folder of a run, a file of weights in it, or an exported folder.
        model: the network, where a program has made it; it is not copied.
        overrides: changes to the recipe, ``key.path=value``.
        trust: whether Python objects that the files name are imported.

    Raises:
        UserError: there is no student, or it cannot be made.
    """
    weights = _weights(Path(path))
    saved = read_weights(weights)
    facts = saved.facts
    with preserved_globals():
        module = network_of(saved, model, trust=trust).eval()
        features = None if isinstance(module, FeatureModel) else facts.features
        adapted = models.adapt(module, example_of(facts), features)
    described = weights.parent / PREPROCESSING
    if described.is_file():
        prepared: Preprocessing | None = Preprocessing.read(described)
        return Student(weights, adapted, facts, prepared, _tokenizer(weights.parent, None), None, None)
    recipe, run = _recipe(weights, overrides)
    prepared = Preprocessing.of(facts, None if recipe is None else recipe.data)
    return Student(weights, adapted, facts, prepared, _tokenizer(weights.parent, recipe), recipe, run)


def _weights(path: Path) -> Path:
    if path.is_dir() and (path / EXPORTED_WEIGHTS).is_file():
        return path / EXPORTED_WEIGHTS
    found = weight_files(path)
    if len(found) > 1:
        names = ", ".join(str(file.parent) for file in found[:3])
        raise UserError(
            f"{path} holds {len(found)} runs ({names}{', ...' if len(found) > 3 else ''}); name one of them"
        )
    return found[0]


def _recipe(weights: Path, overrides: Sequence[str]) -> tuple[Recipe | None, Path | None]:
    """The recipe of a run, of which nothing is looked up yet, and the run's folder."""
    run = next((folder for folder in weights.absolute().parents if (folder / RECIPE).is_file()), None)
    if run is None:
        return None, None
    return read(run / RECIPE, list(overrides)), run


def _tokenizer(folder: Path, recipe: Recipe | None) -> str | None:
    if any((folder / name).is_file() for name in _OF_TOKENIZERS):
        return str(folder)
    named = None if recipe is None else recipe.data.source.options.get("tokenizer")
    return None if named is None else str(named)
