"""What `smskd export` prints."""

import json
from pathlib import Path
from typing import Any

import typer

from smskd.cli.printing import SafeConsole
from smskd.deployment.exporting import Exported, export


def export_student(run: Path, *, as_json: bool, **wanted: Any) -> None:
    """Exports a student and prints what was written.

    Args:
        run: see :func:`smskd.export`.
        as_json: print JSON, and nothing else.
        wanted: further arguments of :func:`smskd.export`.

    Raises:
        UserError: see :func:`smskd.export`.
    """
    found = export(run, **wanted)
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
        return
    console = SafeConsole()
    for line in _lines(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines(found: Exported) -> list[str]:
    lines = []
    if found.folder is not None:
        lines += [f"{found.folder}", *(f"  {load}" for load in found.loads)]
    for path, deviation in ((found.onnx, found.onnx_deviation), (found.torch_export, found.torch_export_deviation)):
        if path is not None:
            lines += [str(path), f"  {deviation}"]
    lines += [str(path) for path in (found.card, found.pushed) if path is not None]
    return [*lines, *(f"note: {note}" for note in found.notes)]


def _as_json(found: Exported) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in found.__dataclass_fields__}
    deviations = {
        name: None if value is None else {key: getattr(value, key) for key in value.__dataclass_fields__}
        for name, value in values.items()
        if name.endswith("_deviation")
    }
    paths = {name: str(value) for name, value in values.items() if isinstance(value, Path)}
    return {**values, **paths, **deviations}
