"""Files of weights in the folders of runs, and the recipes that belong to them."""

from pathlib import Path

from smskd.builder.trust import check_names
from smskd.config.given import is_given
from smskd.errors import UserError
from smskd.recipe import Recipe, read
from smskd.runs.file_names import RECIPE, STUDENT


def weight_files(path: Path) -> list[Path]:
    """The files of weights of a run, of the runs below a folder, or the file itself.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such run or file")
    if (path / STUDENT).is_file():
        return [path / STUDENT]
    files = [file.parent / STUDENT for file in sorted(path.rglob(RECIPE)) if (file.parent / STUDENT).is_file()]
    if not files:
        raise UserError(f"{path} contains no finished run (no {STUDENT} in it)")
    return files


def recipe_of(weights: Path, overrides: list[str], *, trust: bool) -> Recipe:
    """The recipe in the folder of a run. Others may have written it: unless it is trusted, it names nothing foreign.

    Args:
        weights: a file below the folder of a run.
        overrides: changes to the recipe.
        trust: whether the recipe may name anything but what comes with the package.

    Raises:
        UserError: the file is not below the folder of a run, its recipe is not trusted, or its data are those of a
            program.
    """
    for folder in weights.resolve().parents:
        file = folder / RECIPE
        if file.is_file():
            recipe = read(file, overrides)
            if not trust:
                check_names(recipe, str(file), overrides)
            if is_given(recipe.data.source.name):
                raise UserError(
                    f"{weights}: the run was made in Python on data that only its program has; give a recipe with the "
                    "data: --recipe RECIPE"
                )
            return recipe
    raise UserError(
        f"{weights} is not in the folder of a run; give the recipe with its data and student: --recipe RECIPE"
    )
