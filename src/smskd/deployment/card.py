"""A model card: README.md with the front matter that the Hugging Face hub reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from smskd.config.given import is_given
from smskd.deployment.card_text import (
    code,
    data_section,
    network_section,
    plain,
    recipe_section,
    results_section,
    use_section,
)
from smskd.deployment.student import Student
from smskd.errors import UserError
from smskd.models.libraries.names import library_of
from smskd.runs.atomic_files import write_text
from smskd.runs.file_names import STAGES
from smskd.runs.reader import Run, load_run

CARD = "README.md"

_MARK = "<!-- written by smskd export -->"
_NO_LICENCE = "unknown"


def check_card(folder: Path | None, student: Student) -> None:
    """Refuses to replace a file that is not a card of ours, and a student without a run.

    Args:
        folder: in which the card will be; None: a new one.
        student: of which it tells.

    Raises:
        UserError: there is another README.md, or nothing is known of the run.
    """
    if student.run is None:
        raise UserError(f"--card: {student.weights} is not in the folder of a run, whose results a card tells")
    load_run(student.run)
    if folder is None:
        return
    file = folder / CARD
    try:
        if file.exists() and _MARK not in file.read_text(encoding="utf-8", errors="replace"):
            raise UserError(f"--card: {file} was not written by smskd export; move it away")
    except OSError as error:
        raise UserError(f"--card: {file} cannot be read: {error.strerror or error}") from None


def write_card(folder: Path, student: Student, loads: Sequence[str], licence: str | None) -> Path:
    """Writes the card.

    Args:
        folder: in which it is written.
        student: of a finished run.
        loads: Python expressions that load it.
        licence: identifier of the hub, such as ``apache-2.0``; None: it is not stated.

    Raises:
        UserError: see :func:`check_card`; or the file cannot be written.
    """
    check_card(folder, student)
    assert student.run is not None
    run = load_run(student.run)
    stage = _stage(student.weights)
    front = yaml.safe_dump(_front_matter(run, student, stage, licence), sort_keys=False, allow_unicode=True)
    path = folder / CARD
    write_text(path, f"---\n{front}---\n{_MARK}\n\n{_body(run, student, stage, loads, licence)}\n")
    return path


def _front_matter(run: Run, student: Student, stage: int | None, licence: str | None) -> dict[str, Any]:
    task = "text-classification" if student.reads_texts else "image-classification"
    library = None if student.facts.model is None else library_of(student.facts.model)
    of_library = library in ("timm", "transformers") and not (student.facts.heads or student.facts.folded)
    source = run.recipe.get("data", {}).get("source", {})
    name = str(run.summary["data"]["name"])
    known = _on_the_hub(source)
    found = {
        "license": licence or _NO_LICENCE,
        "library_name": library if of_library else "smskd",
        "pipeline_tag": task,
        "tags": ["knowledge-distillation", "smskd"],
    }
    if known is not None:
        found["datasets"] = [known]
    top1 = run.summary["student"]["top1"] if stage is None else run.stages[stage - 1]["top1_carried"]
    result = {
        "task": {"type": task},
        "dataset": {"name": name, "type": known or name, "split": "test"},
        "metrics": [{"type": "accuracy", "value": round(top1 / 100, 6), "name": "top-1 accuracy"}],
    }
    return {**found, "model-index": [{"name": run.name, "results": [result]}]}


def _on_the_hub(source: Any) -> str | None:
    """The id of a data set on the hub, where the recipe names one that is no folder here."""
    if not isinstance(source, dict) or source.get("name") != "hf" or is_given(str(source.get("name"))):
        return None
    name = str(source.get("options", source).get("dataset", ""))
    return name if name and not Path(name).exists() and not name.startswith(("/", ".", "~")) else None


def _body(run: Run, student: Student, stage: int | None, loads: Sequence[str], licence: str | None) -> str:
    methods = " → ".join(" + ".join(map(plain, each["methods"])) or "labels alone" for each in run.stages)
    teacher = run.summary["teacher"]
    taught = f"from {plain(teacher['model'])} " if teacher is not None else ""
    sections = [
        f"# {plain(run.name)}",
        f"{code(run.summary['student']['model'])}, trained {taught}by [smskd](https://arxiv.org/abs/2601.15657): "
        f"{methods}.",
        "## Results",
        results_section(run.summary, stage),
        "## Use",
        use_section(loads),
        "## Network",
        network_section(run.summary, student),
        "## Data",
        data_section(run.summary, student),
        "## Training",
        recipe_section(run.recipe),
        "## Licence",
        f"These weights: {plain(licence)}."
        if licence
        else "Of these weights, not stated: state it before you share them.",
        "The licences of the training data and of the teacher's weights may limit the use too; smskd knows neither.",
    ]
    return "\n\n".join(sections)


def _stage(weights: Path) -> int | None:
    folder = weights.parent
    return int(folder.name) if folder.parent.name == STAGES and folder.name.isdecimal() else None
