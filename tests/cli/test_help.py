"""Help, version and completion, all without torch."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from smskd.recipe import shipped
from tests.support.program import PROCESS, fine, smskd

COMMANDS = (
    "train",
    "resume",
    "eval",
    "compare",
    "report",
    "methods",
    "anchors",
    "strategies",
    "new-method",
    "new-anchor",
    "models",
    "data",
    "store",
    "recipe",
    "demo",
    "sweep",
    "bench",
)
OF_BENCH = ("bench step", "bench run")

WITHOUT_TORCH = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "sklearn", "altair", "pyarrow"):
            raise AssertionError("imports " + name)
sys.meta_path.insert(0, Refused())
from smskd.cli import main
main()
"""


def without_torch(*words: str, **environment: str) -> str:
    command = [sys.executable, "-c", WITHOUT_TORCH, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert "AssertionError" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


def completed(*words: str) -> list[str]:
    """The words with which bash completes the last one."""
    environment = {
        "_SMSKD_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["smskd", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return without_torch(**environment).split()


@pytest.mark.parametrize("command", [*COMMANDS, *OF_BENCH])
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = fine(*command.split(), "--help")
    assert f"Usage: smskd {command}" in text
    assert f"Example: smskd {command}" in text
    assert "[default: runs/<name>]" in text or command != "train"
    assert max(map(len, text.splitlines())) <= 80
    assert fine(*command.split(), "-h") == text


def test_help_lists_all_commands() -> None:
    text = fine("--help")
    for command in COMMANDS:
        assert f"│ {command} " in text
    assert "smskd demo" in text
    assert fine() == text


def test_version() -> None:
    assert fine("--version") == metadata.version("smskd") + "\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["bench", "step", "--help"], ["--version"], ["recipe"]]
)
def test_answers_without_importing_torch(words: list[str]) -> None:
    assert without_torch(*words)


def test_the_hook_of_these_tests_refuses_torch() -> None:
    with pytest.raises(AssertionError):
        without_torch("eval", "nosuch")


def test_completion_of_commands() -> None:
    assert {"train", "resume", "report"} <= set(completed(""))
    assert completed("mod") == ["models"]


def test_completion_of_recipes(here: Path) -> None:
    (here / "digits").mkdir()
    (here / "mine.yaml").touch()
    (here / "digits" / "own.yml").touch()
    (here / "mine.txt").touch()
    assert completed("train", "digits/fitnet") == [
        "digits/fitnet-kd-no-reference.yaml",
        "digits/fitnet-kd.yaml",
        "digits/fitnet.yaml",
    ]
    assert completed("train", "recipes/digits/k") == ["recipes/digits/kd.yaml"]
    assert completed("recipe", "mi") == ["mine.yaml"]
    assert completed("train", "digits/o") == ["digits/own.yml"]
    assert set(completed("train", "")) == {*shipped.names(), "mine.yaml"}
    assert completed("eval", "x", "--recipe", "digits/pl") == ["digits/plain.yaml"]


def test_completion_of_methods_models_and_anchors() -> None:
    assert completed("methods", "fit") == ["fitnet"]
    assert {"kd", "rkd", "crd"} <= set(completed("methods", ""))
    assert completed("models", "wrn_40") == ["wrn_40_1", "wrn_40_2"]
    assert completed("anchors", "l2") == ["l2_sp"]


def test_a_completed_recipe_can_be_read() -> None:
    for name in completed("recipe", "digits/"):
        assert fine("recipe", name)


def test_list_of_recipes() -> None:
    assert fine("recipe").splitlines() == shipped.names()


TORCHLESS = """
import sys
from smskd.cli import main
for words, code in CASES:
    sys.argv = ["smskd", *words]
    try:
        main()
    except SystemExit as end:
        assert (end.code or 0) == code, (words, end.code)
    loaded = {"torch", "torchvision", "sklearn", "altair", "pyarrow"} & sys.modules.keys()
    assert not loaded, (words, loaded)
"""


def test_lists_and_mistakes_in_recipes_do_not_wait_for_torch(here: Path) -> None:
    (here / "broken.yaml").write_text("a: [1\n")
    mistakes = ("nosuch.yaml", "broken.yaml", "digits/kd epohcs=3", "digits/kd epochs", "digits/kd methods=kdd")
    lists = ("methods", "methods kd", "anchors", "anchors ewc", "strategies", "models", "models resnet20", "recipe")
    cases = [(words.split(), 0) for words in lists]
    cases += [(["train", *words.split()], 2) for words in mistakes]
    cases += [(["data", "nosuch.yaml"], 2), (["data", "."], 2)]
    cases += [(["methods", "kdd"], 2), (["models", "resnet21"], 2), (["train", "digits/kd", "--seeds", "a"], 2)]
    done = subprocess.run(
        [sys.executable, "-c", TORCHLESS.replace("CASES", repr(cases))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == len(mistakes) + 5, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'? (see: smskd --help)"),
        (["train"], "Missing argument 'RECIPE'. (see: smskd train --help)"),
        (["compare"], "Missing argument 'RUN...'. (see: smskd compare --help)"),
        (["train", "digits/kd", "--outt", "x"], "No such option: --outt "),
        (["demo", "--epochs", "1"], "Invalid value for '--epochs': "),
        (["demo", "--epochs", "x"], "Invalid value for '--epochs': "),
    ],
)
def test_wrong_arguments_give_one_line(words: list[str], message: str) -> None:
    outcome = smskd(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert message.split("'RUN")[0] in outcome.err
    assert "--help)" in outcome.err


def test_a_reader_that_goes_away() -> None:
    process = subprocess.Popen([*PROCESS, "recipe"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()
