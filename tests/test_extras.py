"""What is not installed is named with the line that installs it; what is not needed is not imported."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from smskd.config.runtime import RuntimeConfig
from smskd.trackers.names import PACKAGES
from tests.support.deployed import plain_run

BLOCKED = """
import json, sys

for name in ("timm", "transformers", "datasets", "onnx", "onnxruntime", "onnxscript", "huggingface_hub"):
    sys.modules[name] = None  # its import fails, as if it were not installed

import smskd
from smskd.errors import UserError

run, found = sys.argv[1], {}


def attempt(name, act):
    try:
        act()
    except UserError as error:
        found[name] = str(error)


attempt("timm", lambda: smskd.models.create("timm/resnet18"))
attempt("transformers", lambda: smskd.models.create("transformers/somebody/vit"))
attempt("datasets", lambda: smskd.data.load("hf", dataset="somebody/images"))
attempt("onnx", lambda: smskd.export(run, onnx="student.onnx"))
attempt("hub", lambda: smskd.export(run, push="somebody/student"))
smskd.load(run)  # needs none of them
print(json.dumps(found))
"""

LIGHT = """
import json, sys
import smskd
first = sorted({name.partition(".")[0] for name in sys.modules})
from typer.testing import CliRunner
from smskd.cli.app import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print(json.dumps([first, sorted({name.partition(".")[0] for name in sys.modules})]))
"""

HEAVY = {
    *("torch", "torchvision", "timm", "transformers", "datasets", "onnx", "onnxruntime", "accelerate", "optuna"),
    *("tensorboard", "huggingface_hub", "sklearn", "scipy", "pyarrow", "altair", "pandas", "numpy"),
}


def output(program: str, *arguments: object) -> object:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_missing_is_named_with_the_line_that_installs_it() -> None:
    found = output(BLOCKED, plain_run())
    assert isinstance(found, dict)
    assert set(found) == {"timm", "transformers", "datasets", "onnx", "hub"}
    for extra, message in found.items():
        assert message.endswith(f"install it with: pip install 'smskd[{extra}]'"), message


def test_the_package_and_its_help_import_nothing_heavy() -> None:
    found = output(LIGHT)
    assert isinstance(found, list)
    package, with_help = map(set, found)
    assert package & HEAVY == set()
    assert with_help & HEAVY == set()


def test_every_extra_that_a_message_names_exists() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert {"timm", "transformers", "datasets", "onnx", "hub", "optuna", "postgres", *PACKAGES} <= set(extras)
    for name, package in PACKAGES.items():
        assert any(line.startswith(package) for line in extras[name])
    heavy = {"timm", "transformers", "datasets", "onnx", "onnxruntime", "optuna", *PACKAGES.values()}
    assert not [line for line in project["dependencies"] if line.partition(">")[0] in heavy]
    assert RuntimeConfig().track == ()
