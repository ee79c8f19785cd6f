"""The configuration of a network in the form of timm, whose ``local-dir:`` and ``hf-hub:`` read it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from smskd.deployment.preprocessing import Preprocessing
from smskd.deployment.student import Student
from smskd.errors import not_installed
from smskd.models.libraries.names import own_name
from smskd.runs.atomic_files import write_text

_CONFIG = "config.json"


def write_timm_configuration(path: Path, student: Student) -> None:
    """Writes ``config.json``.

    Args:
        path: the folder.
        student: a network of timm.

    Raises:
        UserError: timm is not installed, or the file cannot be written.
    """
    try:
        from timm.models import save_for_hf
    except ImportError as error:
        raise not_installed("timm", "timm", error) from None
    names = student.facts.class_names
    configuration: dict[str, Any] = {} if names is None else {"label_names": list(names)}
    if student.preprocessing is not None:
        configuration["pretrained_cfg"] = _preprocessing(student.preprocessing)
    with TemporaryDirectory() as temporary:
        save_for_hf(student.module, temporary, model_config=configuration, model_args=_arguments(student))
        write_text(path / _CONFIG, (Path(temporary) / _CONFIG).read_text(encoding="utf-8"))


def load_with_timm(path: Path) -> dict[str, Tensor] | None:
    """The state that timm itself loads from a folder; None where it cannot."""
    import timm

    try:
        found: dict[str, Tensor] = timm.create_model(f"local-dir:{path}", pretrained=True).state_dict()
    except Exception:  # of the library: a network that it cannot make from its own configuration
        return None
    return found


def _preprocessing(prepared: Preprocessing) -> dict[str, Any]:
    height, width, side = prepared.height, prepared.width, prepared.shorter_side
    whole = side is None
    return {
        "input_size": [prepared.channels, height, width],
        "mean": list(prepared.mean),
        "std": list(prepared.std),
        "interpolation": "bilinear",
        "crop_pct": 1.0 if side is None else min(height, width) / side,
        "crop_mode": "squash" if whole else "center",
    }


def _arguments(student: Student) -> dict[str, Any]:
    """Arguments of ``timm.create_model`` that make the network."""
    channels, height, width = student.facts.image_shape or (3, 224, 224)
    arguments = {"in_chans": channels, **student.facts.options}
    if "img_size" not in arguments and _takes_size(student, arguments, (height, width)):
        arguments["img_size"] = [height, width]
    return arguments


def _takes_size(student: Student, arguments: dict[str, Any], size: tuple[int, int]) -> bool:
    import timm

    name = own_name(student.facts.model or "")
    try:
        with torch.device("meta"):
            timm.create_model(name, num_classes=student.facts.classes, img_size=size, **arguments)
    except Exception:  # the network has no such argument
        return False
    return True
