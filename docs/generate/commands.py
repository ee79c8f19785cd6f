"""The reference of the commands, from the signatures of their functions."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from smskd.cli.app import app

_MARKUP = re.compile(r"(?<!\\)\[/?[a-z]+\]")


@dataclass(frozen=True)
class _Parameter:
    label: str
    usage: str
    help: str
    is_option: bool


def commands() -> dict[str, Callable[..., Any]]:
    """The function of each command by its name, in the order of ``smskd --help``.

    The name of a command in a group has two words: ``bench step``.
    """
    groups = [group.typer_instance for group in app.registered_groups if group.typer_instance is not None]
    return {
        prefix + (command.name or command.callback.__name__.replace("_", "-")): command.callback
        for prefix, parent in [("", app), *((f"{group.info.name} ", group) for group in groups)]
        for command in parent.registered_commands
        if command.callback is not None
    }


def reference(name: str) -> str:
    """The usage line of a command and a table of its arguments and options."""
    parameters = _parameters(commands()[name])
    arguments = [item for item in parameters if not item.is_option]
    options = [item for item in parameters if item.is_option]
    usage = " ".join(["smskd", name, *(item.usage for item in arguments), *(["[OPTIONS]"] if options else [])])
    rows = [f"| {item.label} | {item.help} |" for item in [*arguments, *options]]
    return "\n".join(["```text", usage, "```", "", "| Argument or option | |", "| --- | --- |", *rows])


def _parameters(function: Callable[..., Any]) -> list[_Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [
        _parameter(name, parameter.default, *_parts(hints[name]))
        for name, parameter in inspect.signature(function).parameters.items()
    ]


def _parts(hint: Any) -> tuple[Any, ArgumentInfo | OptionInfo]:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"parameter without a help text: {hint}")
    kind, info = get_args(hint)[:2]
    return kind, info


def _parameter(name: str, default: Any, kind: Any, info: ArgumentInfo | OptionInfo) -> _Parameter:
    needed, words = default is inspect.Parameter.empty, _plain(info.help or "")
    if isinstance(info, ArgumentInfo):
        metavar = info.metavar or name.upper()
        usage = f"{metavar}..." if "list" in str(kind) else metavar
        return _Parameter(f"`{metavar}`", usage if needed else f"[{usage}]", words, False)
    flags = ", ".join(f"`{flag}`" for flag in _flags(name, info))
    if kind is not bool:
        flags += f" `{info.metavar or _value(kind)}`"
        if default is not None and not needed:
            words += f" \\[default: {_plain(str(default))}\\]"
    return _Parameter(flags, "", words, True)


def _flags(name: str, info: OptionInfo) -> list[str]:
    """The flags of an option. Within ``Annotated``, typer keeps the first one as the default."""
    given = [flag for flag in (info.default, *(info.param_decls or ())) if isinstance(flag, str)]
    return given or [f"--{name.replace('_', '-')}"]


def _value(kind: Any) -> str:
    names = {int: "NUMBER", float: "NUMBER", str: "TEXT"}
    return next((word for part, word in names.items() if part in (kind, *get_args(kind))), "PATH")


def _plain(words: str) -> str:
    """A help text as Markdown, without the markup of rich."""
    words = _MARKUP.sub("", words).replace("\\[", "[").replace("  ", " ")
    return re.sub(r"([*_\[\]|])", r"\\\1", words).replace("<", "&lt;")
