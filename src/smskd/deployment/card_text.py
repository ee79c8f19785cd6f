"""The sections of a model card, as Markdown."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from smskd.analysis.format import count, percent
from smskd.deployment.student import Student
from smskd.recipe import to_yaml

_ABSOLUTE = re.compile(r"^(transformers/)?(?:/|~|[A-Za-z]:\\)")


def results_section(summary: Mapping[str, Any], stage: int | None) -> str:
    """The accuracies on the test part."""
    student, teacher, stages = summary["student"], summary["teacher"], summary["stages"]
    if stage is None:
        rows = [("this student", student["top1"], student["top5"])]
    else:
        rows = [(f"this student, at the end of stage {stage}", stages[stage - 1]["top1_carried"], None)]
    if teacher is not None:
        rows.append((f"its teacher, {plain(teacher['model'])}", teacher["top1_last"], teacher["top5_last"]))
    data = summary["data"]
    lines = [f"Accuracy on the {data['test_samples']:,} test samples of {plain(data['name'])}, in percent:", ""]
    lines += ["| | Top-1 | Top-5 |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {percent(top1)} | {percent(top5)} |" for name, top1, top5 in rows]
    lines += [
        "",
        "| Stage | Methods | Epochs | Top-1 | Forgotten test samples |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for each in stages:
        methods = ", ".join(map(plain, each["methods"])) or "none (labels alone)"
        first, last = each["epochs"]
        forgotten = "" if each["forgotten"] is None else str(each["forgotten"])
        lines.append(
            f"| {each['index']} | {methods} | {first} to {last} | {percent(each['top1_carried'])} | {forgotten} |"
        )
    lines += [
        "",
        f"One run, with seed {summary['seed']}: how much another seed changes these figures is not known from it.",
    ]
    return "\n".join(lines)


def network_section(summary: Mapping[str, Any], student: Student) -> str:
    """Name and size of the network."""
    own = summary["student"]
    macs = "" if own["macs"] is None else f", {count(own['macs'])} multiply-accumulates per sample"
    extra = ""
    if student.facts.heads:
        extra = " Its last layers are those that a distillation method has put there."
    if student.facts.folded:
        extra += " Its batch norms are folded into its convolutions."
    return f"{code(own['model'])}: {own['parameters']:,} parameters{macs}.{extra}"


def data_section(summary: Mapping[str, Any], student: Student) -> str:
    """The data and the preprocessing."""
    data = summary["data"]
    lines = [
        f"{plain(data['name'])}: {data['train_samples']:,} training and {data['test_samples']:,} test samples of "
        f"{data['classes']} classes."
    ]
    names = student.facts.class_names
    if names is not None and len(names) <= 100:
        lines += ["", "Classes, in the order of the logits: " + ", ".join(map(plain, names)) + "."]
    prepared = student.preprocessing
    if prepared is not None:
        resized = f"resized to {prepared.height}x{prepared.width}"
        if prepared.shorter_side is not None:
            resized = (
                f"resized to {prepared.shorter_side} pixels at the shorter side and cropped at the centre to "
                f"{prepared.height}x{prepared.width}"
            )
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (prepared.mean, prepared.std))
        kind = (
            "RGB" if prepared.channels == 3 else "gray" if prepared.channels == 1 else f"{prepared.channels} channels"
        )
        lines += [
            "",
            f"Images are decoded as {kind}, {resized} (bilinear, with antialiasing), scaled to 0..1 and normalised "
            f"with mean {mean} and standard deviation {std}.",
        ]
    return "\n".join(lines)


def recipe_section(recipe: Mapping[str, Any]) -> str:
    """The resolved recipe; of absolute paths only the last name is shown."""
    return f"<details><summary>The resolved recipe</summary>\n\n```yaml\n{to_yaml(_shortened(recipe))}```\n\n</details>"


def use_section(loads: Sequence[str]) -> str:
    """How the student is loaded."""
    modules = {load.partition(".")[0] for load in loads}
    lines = [*(f"import {module}" for module in sorted(modules)), "", *(f"model = {load}" for load in loads)]
    return "```python\n" + "\n".join(lines) + "\n```"


def plain(text: object) -> str:
    """A text in which nothing is Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(_shortened(text)).split()))


def code(text: object) -> str:
    """A text as code."""
    return f"`{' '.join(str(_shortened(text)).split()).replace('`', '')}`"


def _shortened(value: Any) -> Any:
    """The value without the folders of absolute paths, which tell about the machine."""
    if isinstance(value, Mapping):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(item) for item in value]
    if isinstance(value, str) and (found := _ABSOLUTE.match(value)):
        return f"{found[1] or ''}{PurePath(value.replace(chr(92), '/')).name}"
    return value
