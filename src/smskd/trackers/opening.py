"""Opening a tracker of accelerate for a run."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smskd.trackers.names import PACKAGES


def open_tracker(name: str, folder: Path, title: str, epoch: int) -> Any:
    """A tracker that has been started. Everything it writes is local, unless the environment variable of the user says
    otherwise: ``WANDB_MODE``, ``MLFLOW_TRACKING_URI``, ``COMET_START_ONLINE``.

    Args:
        name: of the tracker.
        folder: of the run, in which files are written; a run that goes on finds its own again.
        title: of the run.
        epoch: the first that will be logged, from 1.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    arguments = _ARGUMENTS[name](folder, title, epoch)
    with accelerate_state():
        tracker = LOGGER_TYPE_TO_CLASS[PACKAGES[name]](**arguments)
        if hasattr(tracker, "start"):
            tracker.start()
    return tracker


@contextmanager
def accelerate_state() -> Iterator[None]:
    """accelerate's own state, which its trackers ask for; where there was none, there is none afterwards."""
    from accelerate.state import PartialState

    if PartialState._shared_state:
        yield
        return
    PartialState(cpu=True)
    try:
        yield
    finally:
        PartialState._reset_state()


def _tensorboard(folder: Path, title: str, epoch: int) -> dict[str, Any]:
    # Epochs that were logged and are trained again are hidden.
    return {"run_name": "", "logging_dir": str(folder / "tensorboard"), "purge_step": epoch}


def _wandb(folder: Path, title: str, epoch: int) -> dict[str, Any]:
    mode = os.environ.get("WANDB_MODE", "offline")
    return {
        "run_name": "smskd",
        "name": title,
        "dir": str(folder),
        "id": _lasting_id(folder),
        "resume": "allow",
        "mode": mode,
    }


def _mlflow(folder: Path, title: str, epoch: int) -> dict[str, Any]:
    return {"experiment_name": "smskd", "run_name": title}  # mlflow itself knows where: ./mlruns by default


def _trackio(folder: Path, title: str, epoch: int) -> dict[str, Any]:
    return {"run_name": "smskd", "name": f"{title}-{_lasting_id(folder)}", "resume": "allow"}


def _aim(folder: Path, title: str, epoch: int) -> dict[str, Any]:
    return {"run_name": title, "logging_dir": str(folder)}


def _comet(folder: Path, title: str, epoch: int) -> dict[str, Any]:
    online = os.environ.get("COMET_START_ONLINE", "").lower() in ("1", "true", "yes")
    return {"run_name": "smskd", "online": online}


def _lasting_id(folder: Path) -> str:
    """The same for the same folder, so that a run that goes on is the same one to the tracker."""
    return hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]


_ARGUMENTS = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
    "aim": _aim,
    "comet": _comet,
}
