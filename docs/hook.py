"""What MkDocs calls while it builds: pages and tables from the code, formulas as MathML."""

import re
from typing import Any

from generate import commands, formulas, methods, recipe_keys
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_MARK = re.compile(r"^<!-- generated: (\S+)(?: (.+?))? -->$", re.MULTILINE)

TABLES = {
    "methods": lambda _word: methods.table(),
    "recipe-keys": recipe_keys.table,
    "command": commands.reference,
}
"""What a comment such as ``<!-- generated: recipe-keys stage -->`` is replaced with."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the methods' pages into the navigation."""
    for section in config.nav or []:
        if isinstance(section, dict) and "Methods" in section:
            index = [page for page in section["Methods"] if page == "methods/index.md"]
            section["Methods"] = index + [{name: f"methods/{name}.md"} for name in methods.method_names()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the methods' pages."""
    for path, content in methods.pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the tables in."""
    return _MARK.sub(lambda match: TABLES[match[1]](match[2]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Draws the formulas."""
    return formulas.drawn(html)
