"""The hooks of the MkDocs build: pages, tables and diagrams from the code, formulas as MathML."""

import re
from typing import Any

from generate import commands, formulas, methods, recipe_keys, run_diagrams
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_MARK = re.compile(r"^<!-- generated: (\S+)(?: (.+?))? -->$", re.MULTILINE)

TABLES = {
    "methods": lambda _word: methods.table(),
    "recipe-keys": recipe_keys.table,
    "command": commands.reference,
    "diagram": run_diagrams.figure,
}
"""Functions that give the replacement of a comment, ``<!-- generated: recipe-keys stage -->``, by its first word."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages of the methods to the navigation."""
    for section in config.nav or []:
        if isinstance(section, dict) and "Methods" in section:
            index = [page for page in section["Methods"] if page == "methods/index.md"]
            section["Methods"] = index + [{name: f"methods/{name}.md"} for name in methods.method_names()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the methods."""
    for path, content in methods.pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the comments by tables and diagrams."""
    return _MARK.sub(lambda match: TABLES[match[1]](match[2]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Converts the formulas to MathML."""
    return formulas.drawn(html)
