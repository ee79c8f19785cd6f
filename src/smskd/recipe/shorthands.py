"""Shorthands of a recipe, expanded before it is validated."""

from collections.abc import Mapping
from typing import Any

from smskd.errors import UserError
from smskd.recipe.recipe import DEFAULT_ANCHOR


def expanded(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy in which names that stand alone are mappings with a ``name``.

    This concerns data, models, anchors and strategies; methods may also be a single one, or a list separated by commas.
    """
    result: dict[str, Any] = _copied(raw)
    if isinstance(result.get("data"), str):
        result["data"] = {"source": result["data"]}
    stages = result.get("stages")
    holders = [result, *(stages if isinstance(stages, list) else [])]
    for holder in (holder for holder in holders if isinstance(holder, dict)):
        for key in ("teacher", "student", "anchor", "strategy"):
            _expand_name(holder, key)
        if holder.get("methods") is not None:
            holder["methods"] = _methods(holder["methods"])
    _expand_name(result.get("data"), "source")
    return result


def normalised(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The expanded recipe, in which the anchor of each stage has all its keys.

    An anchor of a stage with the name of the recipe's anchor, or without a name, inherits the keys that it lacks.

    Raises:
        UserError: there are both methods and stages.
    """
    result = expanded(raw)
    if result.get("methods") is not None and result.get("stages") is not None:
        raise UserError("give either methods or stages, not both")
    common = result.get("anchor", {})
    stages = result.get("stages")
    if isinstance(common, dict):
        common.setdefault("name", DEFAULT_ANCHOR.name)
    for stage in stages if isinstance(stages, list) else []:
        anchor = stage.get("anchor") if isinstance(stage, dict) else None
        if isinstance(anchor, dict):
            same = isinstance(common, dict) and anchor.get("name", common["name"]) == common["name"]
            stage["anchor"] = {"name": DEFAULT_ANCHOR.name, **(common if same else {}), **anchor}
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _expand_name(holder: Any, key: str) -> None:
    if isinstance(holder, dict) and isinstance(holder.get(key), str):
        holder[key] = {"name": holder[key]}


def _methods(value: Any) -> Any:
    if value == "none":
        return []
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if isinstance(value, dict):
        value = [value]
    return [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
