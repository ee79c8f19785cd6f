"""The runs of several seeds that have been written down."""

import json
from pathlib import Path
from typing import Any

import pytest

from smskd.errors import UserError
from smskd.runs.checksums import with_checksum
from smskd.runs.file_names import SEEDS
from smskd.runs.seeds_file import all_begun, note_wanted, wanted_runs


def write(folder: Path, runs: Any) -> None:
    (folder / SEEDS).write_text(json.dumps(with_checksum({"runs": runs})), encoding="utf-8")


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert wanted_runs(tmp_path) == {}
    recipes = {"seed0": {"name": "a"}, "seed2147483647": {"name": "b"}}
    note_wanted(tmp_path, recipes)
    assert wanted_runs(tmp_path) == recipes
    with pytest.raises(UserError, match="holds runs that have not begun yet"):
        note_wanted(tmp_path, recipes)
    all_begun(tmp_path)
    assert wanted_runs(tmp_path) == {}


@pytest.mark.parametrize(
    "name", ["..", "", ".", "a/b", "/tmp/seed0", "seed", "seed-1", "seed0/..", "stages", "seed1\n"]
)
def test_only_folders_of_seeds_are_made(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: {}})
    with pytest.raises(UserError, match=r"seeds\.json is damaged \(.* is not the folder of a seed\); remove it"):
        wanted_runs(tmp_path)


@pytest.mark.parametrize("runs", [[1], "seed0", None, {"seed0": 1}])
def test_recipes_are_mappings(tmp_path: Path, runs: Any) -> None:
    write(tmp_path, runs)
    with pytest.raises(UserError, match="its runs are not recipes"):
        wanted_runs(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"runs": {}, "checksum": "0"}', "\x00"])
def test_damage_is_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / SEEDS).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"seeds\.json is damaged"):
        wanted_runs(tmp_path)
