"""The trackers by name. Nothing here imports one."""

from collections.abc import Iterable
from importlib.util import find_spec

from smskd.errors import UserError, not_installed

PACKAGES = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
    "aim": "aim",
    "comet": "comet_ml",
}
"""The package of each tracker."""


def check_trackers(names: Iterable[str]) -> None:
    """Refuses trackers whose packages are not installed.

    Raises:
        UserError: the first one that is missing, with the line that installs it.
    """
    for name in names:
        for package in (PACKAGES[name], "accelerate"):
            if find_spec(package) is None:
                missing = not_installed(package, name, ModuleNotFoundError(f"No module named '{package}'"))
                raise UserError(f"runtime.track: {missing}")
