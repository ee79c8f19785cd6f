"""A student as a file of torch.export (.pt2)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smskd.deployment.deviation import Checked, Deviation, deviation
from smskd.deployment.graphs import IMAGES, Classifier
from smskd.errors import UserError
from smskd.runs.atomic_files import replacing


def program_of(classifier: Classifier, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """The program of a classifier, for any number of samples, and of tokens where it reads texts.

    Args:
        classifier: in eval mode.
        example: inputs of two samples.

    Raises:
        UserError: the network cannot be exported.
    """
    shapes: dict[str, Any] = {"inputs": tuple(_dynamic(tensor, classifier) for tensor in example)}
    try:
        with torch.no_grad():
            return torch.export.export(classifier, example, dynamic_shapes=shapes)
    except Exception as error:  # of torch.export: a network whose code it cannot follow
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the network cannot be exported: {reason}") from error


def _dynamic(tensor: Tensor, classifier: Classifier) -> dict[int, Any]:
    """The axes of an input whose sizes are free: samples, and tokens up to what the network takes."""
    batch = {0: torch.export.Dim("batch", min=1)}
    if classifier.names == (IMAGES,) or tensor.dim() < 2:
        return batch
    return {**batch, 1: torch.export.Dim.DYNAMIC}


def check_torch_program(path: Path) -> None:
    """Refuses a file with another ending.

    Raises:
        UserError: it does not end with .pt2.
    """
    if path.suffix != ".pt2":
        raise UserError(f"--torch-export: {path} must end with .pt2")


def write_torch_program(
    path: Path, program: torch.export.ExportedProgram, classifier: Classifier, checked: Checked
) -> Deviation:
    """Writes a program and compares what is read back with PyTorch.

    Args:
        path: the file; it ends with .pt2.
        program: to write.
        classifier: whose program it is.
        checked: samples to compare.

    Raises:
        UserError: the file cannot be written, or its logits differ by more than rounding.
    """
    with replacing(path) as temporary:
        named = temporary.with_suffix(".pt2")
        try:
            torch.export.save(program, named)
            module: nn.Module = torch.export.load(named).module()
            found = deviation(lambda rows: _logits(module, rows), classifier, checked, str(path))
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
    return found


def _logits(module: nn.Module, rows: tuple[Tensor, ...]) -> Tensor:
    logits: Tensor = module(*rows)
    return logits
